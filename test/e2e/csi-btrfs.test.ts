/** Volumes on a real btrfs: what its quota groups do, and what they do not. Needs root and mkfs.btrfs. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PlacedVolume } from "../../src/csi/backend/backend.ts";
import { createBtrfsBackend } from "../../src/csi/backend/btrfs.ts";
import { probeBackend } from "../../src/csi/backend/probe.ts";
import { createProjectIds } from "../../src/csi/backend/quota-ids.ts";
import { poolLayout } from "../../src/csi/pool/layout.ts";
import { createBtrfs } from "../../src/host/btrfs.ts";
import { createClock } from "../../src/host/clock.ts";
import { createCopier } from "../../src/host/copy-tree.ts";
import { createFiles } from "../../src/host/files.ts";
import { createMounts } from "../../src/host/mount.ts";
import { createProjectQuota } from "../../src/host/quota.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { recordOf } from "../fakes/placed-volume.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";
import { writeAsNobody } from "./support/writer.ts";

const MIB = 1_048_576;
const EDQUOT = 122;
const syscalls = createSyscalls();
const [files, btrfs, quota] = [createFiles(syscalls), createBtrfs(syscalls), createProjectQuota(syscalls)];
const backend = createBtrfsBackend({ files, btrfs, copier: createCopier(syscalls), clock: createClock() });
const options = { signal: new AbortController().signal, onProgress: () => undefined };
let disk: LoopDisk;

beforeAll(() => {
  disk = createLoopDisk("btrfs", 1024, ["-q"]);
});
afterAll(() => disk.remove());

const dataOf = ({ wrapper }: PlacedVolume) => join(wrapper, "data");

/** A wrapper of its own; nobody may walk through it only for the sake of the writer. */
async function build(name: string, mebibytes: number, from?: PlacedVolume): Promise<PlacedVolume> {
  const wrapper = await mkdtemp(join(disk.path, `${name}-`));
  execFileSync("chmod", ["755", dirname(disk.path), disk.path, wrapper]);
  const volume = { wrapper, record: recordOf(name, { sizeBytes: mebibytes * MIB }) };
  if (from) await backend.copy(volume, from, options);
  else await backend.build(volume);
  return volume;
}

test("a pool on btrfs gets quota groups when quotas are on, and the command that turns them on until then", async () => {
  const layout = poolLayout(join(disk.path, "probed"));
  for (const path of [layout.root, layout.own, layout.staging]) await mkdir(path, { recursive: true });
  const deps = {
    ...{ files, btrfs, quota, mounts: createMounts(syscalls), ids: createProjectIds(quota) },
    randomUuid: () => crypto.randomUUID(),
  };
  const probe = () => probeBackend(deps, { name: "p", layout, wanted: "quota" });
  await expect(probe()).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining(`btrfs quota enable ${disk.path}`),
  });
  await btrfs.enableQuota(disk.path);
  while (!(await btrfs.quotaState(disk.path)).consistent) await new Promise((done) => setTimeout(done, 20));
  expect(await probe()).toEqual({ backend: "btrfs", how: "btrfs subvolumes with quota groups" });
  expect(await readdir(layout.staging)).toEqual([]);
});

describe("a volume", () => {
  test("stops its writer with EDQUOT at its size, and lets it go on when it grows, without a remount", async () => {
    const volume = await build("full", 64);
    const first = await writeAsNobody(`${dataOf(volume)}/file`, 128 * MIB);
    expect(first.errno).toBe(EDQUOT);
    expect(first.bytes).toBeGreaterThan(60 * MIB);
    expect(first.bytes).toBeLessThanOrEqual(64 * MIB);
    await backend.grow({ ...volume, record: { ...volume.record, sizeBytes: 96 * MIB } }, undefined);
    const second = await writeAsNobody(`${dataOf(volume)}/file`, 128 * MIB);
    expect(second.errno).toBe(EDQUOT);
    expect(first.bytes + second.bytes).toBeGreaterThan(92 * MIB);
    expect((await stat(`${dataOf(volume)}/file`)).size).toBeLessThanOrEqual(96 * MIB);
  });

  test("of the smallest size can be used", async () => {
    const volume = await build("small", backend.minimumBytes / MIB);
    const { bytes } = await writeAsNobody(`${dataOf(volume)}/file`, 12 * MIB);
    expect(bytes).toBe(12 * MIB);
    for (let index = 0; index < 20; index++) await writeFile(`${dataOf(volume)}/${index}`, "x");
  });

  test("reports its own size and use, which statfs in it does not", async () => {
    const volume = await build("reported", 64);
    await writeAsNobody(`${dataOf(volume)}/file`, 16 * MIB);
    await btrfs.commit(disk.path);
    const { bytes } = await backend.usage(volume, undefined);
    expect(bytes.total).toBe(64 * MIB);
    expect(bytes.used).toBeGreaterThanOrEqual(16 * MIB);
    expect(bytes.used).toBeLessThan(17 * MIB);
    expect(bytes.available).toBe(bytes.total - bytes.used);
    // This is why `df` in a pod shows the pool's disk: should a kernel learn it, this test says so.
    expect((await files.space(dataOf(volume))).totalBytes).toBe(1024 * MIB);
  });

  test("keeps its limit when it has a snapshot, and the snapshot has the content of its moment", async () => {
    const volume = await build("origin", 64);
    await writeAsNobody(`${dataOf(volume)}/file`, 40 * MIB);
    const copy = await build("copy", 64, volume);
    await writeFile(`${dataOf(volume)}/later`, "later");
    expect(await readdir(dataOf(copy))).toEqual(["file"]);
    expect((await readFile(`${dataOf(copy)}/file`)).equals(await readFile(`${dataOf(volume)}/file`))).toBe(
      true,
    );
    const more = await writeAsNobody(`${dataOf(volume)}/file`, 64 * MIB);
    expect(more.errno).toBe(EDQUOT);
    expect(more.bytes).toBeLessThanOrEqual(24 * MIB);
  });

  test("cannot be left by way of subvolumes for longer than until the next look", async () => {
    const volume = await build("holey", 64);
    const inner = `${dataOf(volume)}/inner`;
    execFileSync("setpriv", [
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "btrfs",
      "subvolume",
      "create",
      inner,
    ]);
    // No limit reaches it yet: that is the hole.
    expect(await writeAsNobody(`${inner}/file`, 32 * MIB)).toEqual({ bytes: 32 * MIB, errno: 0 });
    await btrfs.commit(disk.path);
    expect(await backend.problem(volume)).toBeUndefined();
    expect((await writeAsNobody(`${inner}/file`, 64 * MIB)).errno).toBe(EDQUOT);
    const rest = await writeAsNobody(`${dataOf(volume)}/file`, 64 * MIB);
    expect(rest.errno).toBe(EDQUOT);
    expect(rest.bytes).toBeLessThanOrEqual(32 * MIB);
    await expect(build("copy-of-holey", 64, volume)).rejects.toMatchObject({ kind: "precondition" });
  });

  test("gives its space back when it is taken apart, with the subvolumes in it", async () => {
    const before = (await files.space(disk.path)).availableBytes;
    const volume = await build("gone", 256);
    await writeAsNobody(`${dataOf(volume)}/file`, 100 * MIB);
    await btrfs.createSubvolume(`${dataOf(volume)}/inner`);
    const id = await btrfs.subvolume(dataOf(volume));
    await backend.dismantle(volume.wrapper);
    expect(await readdir(volume.wrapper)).toEqual([]);
    expect(await btrfs.qgroup(disk.path, id ?? 0)).toBeUndefined();
    expect((await files.space(disk.path)).availableBytes).toBeGreaterThan(before - 16 * MIB);
    await backend.dismantle(volume.wrapper);
  });
});
