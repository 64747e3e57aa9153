import { expect, test } from "vitest";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { silentLog } from "../../observe/log.ts";
import { volumeIdFor } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import { linkByName, sweepByName, unlinkByName } from "./by-name.ts";
import { poolLayout } from "./layout.ts";

const layout = poolLayout("/pool");

function record(name: string, browse: string): VolumeRecord {
  const id = volumeIdFor({ nodeId: "n", pool: "p", name });
  return { id, name, pool: "p", sizeBytes: 1, created: "2026-01-01T00:00:00Z", browse };
}

const [one, two] = [record("one", "prod/data"), record("two", "prod/data")];

function pool() {
  const files = createFakeFiles({ directories: [`/pool/volumes/${one.id}`, `/pool/volumes/${two.id}`] });
  return { files, log: silentLog };
}

test("a link leads to its volume, and goes with it and the directories that were made for it", async () => {
  const deps = pool();
  await linkByName(deps, layout, one);
  expect(await deps.files.realPath("/pool/by-name/prod/data")).toBe(`/pool/volumes/${one.id}`);
  await linkByName(deps, layout, one);
  await unlinkByName(deps, layout, one);
  await expect(deps.files.stat("/pool/by-name/prod")).rejects.toMatchObject({ kind: "not-found" });
});

test("a name stays with the volume that has it", async () => {
  const deps = pool();
  await linkByName(deps, layout, one);
  await linkByName(deps, layout, two);
  await unlinkByName(deps, layout, two);
  expect(await deps.files.realPath("/pool/by-name/prod/data")).toBe(`/pool/volumes/${one.id}`);
});

test("a sweep takes links to volumes that are gone, and nothing that is not the driver's", async () => {
  const deps = pool();
  await linkByName(deps, layout, one);
  await linkByName(deps, layout, record("two", "prod/other"));
  await deps.files.symlink("/etc/passwd", "/pool/by-name/prod/mine");
  await deps.files.create("/pool/by-name/notes", Buffer.from("x"), 0o600);
  await deps.files.rmdir(`/pool/volumes/${two.id}`);
  await sweepByName(deps, layout);
  const names = deps.files.paths("/pool/by-name").map((path) => path.split(" ")[0]);
  expect(names).toEqual([
    ...["/pool/by-name/notes", "/pool/by-name/prod", "/pool/by-name/prod/data", "/pool/by-name/prod/mine"],
  ]);
});

test("a file where a link should be stops nobody", async () => {
  const deps = pool();
  await deps.files.mkdir("/pool/by-name", 0o700);
  await deps.files.create("/pool/by-name/prod", Buffer.from("x"), 0o600);
  await linkByName(deps, layout, one);
  await unlinkByName(deps, layout, one);
  expect(String(await deps.files.read("/pool/by-name/prod"))).toBe("x");
});

test("nothing is taken from a volume whose link is on the way", async () => {
  const deps = pool();
  await linkByName(deps, layout, record("one", "team"));
  const inner = record("two", "team/data/two");
  await deps.files.mkdir(`/pool/volumes/${one.id}/data`, 0o777);
  await deps.files.symlink(`../../../volumes/${two.id}`, `/pool/volumes/${one.id}/data/two`);
  await unlinkByName(deps, layout, inner);
  expect((await deps.files.list(`/pool/volumes/${one.id}/data`)).map(({ name }) => name)).toEqual(["two"]);
});
