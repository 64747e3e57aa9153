import { beforeEach, describe, expect, test } from "vitest";
import { createFakeCsiEffects } from "../../../test/fakes/csi-effects.ts";
import { createFakeFiles, type FakeFiles } from "../../../test/fakes/files.ts";
import { silentLog } from "../../observe/log.ts";
import { createOpenBackends } from "../backend/open.ts";
import { createVolume } from "../volume/create.ts";
import { volumeIdFor } from "../volume/id.ts";
import type { PoolWish } from "./choose.ts";
import { type PoolChoice, parsePoolFlag } from "./config.ts";
import { createPools, type Pools } from "./pools.ts";

let files: FakeFiles;
beforeEach(() => {
  files = createFakeFiles({ directories: ["/mnt/a", "/mnt/b", "/mnt/c", "/state"] });
});

function node(choice: PoolChoice, ...flags: string[]): Pools {
  const effects = createFakeCsiEffects(files);
  const openBackends = createOpenBackends(effects);
  const deps = { ...effects, openBackends, choice, log: silentLog, stateDir: "/state", isBusy: () => false };
  return createPools(
    deps,
    flags.map((flag) => parsePoolFlag(`${flag},backend=directory,requireMount=false`)),
  );
}

const chosen = async (pools: Pools, wish: Partial<PoolWish> = {}) =>
  (await pools.choose({ access: "mount", ...wish })).map(({ name }) => name);

async function fill(pools: Pools, name: string, sizeBytes: number): Promise<void> {
  const [pool] = await pools.choose({ access: "mount", pools: [name] });
  if (!pool) throw new Error(`no pool ${name}`);
  const id = volumeIdFor({ nodeId: "n", pool: name, name: `${sizeBytes}` });
  await createVolume(files, pool, { id, name: "x", pool: name, sizeBytes, created: "2026-01-01T00:00:00Z" });
}

describe("a class that names no pool", () => {
  test("gets the default pool, or the only one", async () => {
    expect(await chosen(node("default", "only=/mnt/a"))).toEqual(["only"]);
    expect(await chosen(node("default", "a=/mnt/b", "default=/mnt/c"))).toEqual(["default"]);
  });

  test("is told which pools there are where none is the default", async () => {
    await expect(chosen(node("default", "a=/mnt/a", "b=/mnt/b"))).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("this node has a, b"),
    });
  });

  test("gets no pool that is kept for classes that name it", async () => {
    const pools = node("most-free", "a=/mnt/a,onlyNamed=true", "b=/mnt/b");
    expect(await chosen(pools)).toEqual(["b"]);
    expect(await chosen(pools, { pools: ["a"] })).toEqual(["a"]);
  });
});

describe("among several pools", () => {
  const flags = ["a=/mnt/a,budget=100", "b=/mnt/b,budget=1000", "c=/mnt/c,budget=500"];

  test("most-free takes what has the most left, and least-used what is the emptiest", async () => {
    const pools = node("most-free", ...flags);
    await fill(pools, "b", 700);
    expect(await chosen(pools)).toEqual(["c", "b", "a"]);
    await pools.stop();
    expect(await chosen(node("least-used", ...flags), { pools: ["a", "b"] })).toEqual(["a", "b"]);
  });

  test("round-robin takes them in turn", async () => {
    const pools = node("round-robin", ...flags);
    const firsts = [];
    for (let count = 0; count < 4; count++) firsts.push((await chosen(pools))[0]);
    expect(firsts).toEqual(["a", "b", "c", "a"]);
  });

  test("a pool that is drained gets nothing, and one that is away is left out", async () => {
    const pools = node("most-free", "a=/mnt/a,drain=true", "b=/mnt/none/../b", "c=/mnt/c");
    expect((await chosen(pools)).sort()).toEqual(["b", "c"]);
    await expect(chosen(pools, { pools: ["a"] })).rejects.toMatchObject({ kind: "exhausted" });
  });
});

test.each<[string, Partial<PoolWish>, string]>([
  ["pools that are elsewhere", { pools: ["nosuch"] }, "exhausted"],
  ["another backend", { backend: "image" }, "invalid"],
  ["a block device of directories", { access: "block" }, "invalid"],
  ["a file system of directories", { fsType: "xfs" }, "invalid"],
  ["a limit of inodes where nothing is limited", { inodes: 5 }, "invalid"],
])("a class that asks for %s is refused as %s", async (_, wish, kind) => {
  await expect(chosen(node("default", "default=/mnt/a"), wish)).rejects.toMatchObject({ kind });
});
