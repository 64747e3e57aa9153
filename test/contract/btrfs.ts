/** What `Btrfs` promises, as cases for the fake and for a real btrfs with quotas on. Asserts with Node's own means. */
import assert from "node:assert/strict";
import type { Btrfs } from "../../src/host/btrfs.ts";
import type { Files } from "../../src/host/files.ts";
import type { ContractCase } from "./files.ts";

/** An empty directory on a btrfs whose quotas are on, and numbers that are right. */
export interface BtrfsUnderTest {
  readonly btrfs: Btrfs;
  readonly files: Files;
  readonly root: string;
}

const MIB = 1_048_576;
const kindOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "success",
    (error: { kind?: string }) => error.kind,
  );

async function subvolume(
  { btrfs, root }: BtrfsUnderTest,
  name: string,
): Promise<{ path: string; id: number }> {
  const path = `${root}/${name}`;
  await btrfs.createSubvolume(path);
  const id = await btrfs.subvolume(path);
  if (id === undefined) throw new Error(`${path} is no subvolume`);
  return { path, id };
}

async function untilGone({ btrfs, root }: BtrfsUnderTest, id: number): Promise<void> {
  for (let turn = 0; await btrfs.exists(root, id); turn++) {
    if (turn > 200) throw new Error(`subvolume ${id} is still there`);
    await btrfs.commit(root);
    await new Promise((resolve) => setTimeout(resolve, turn < 2 ? 0 : 50));
  }
}

export const btrfsContract: readonly ContractCase<BtrfsUnderTest>[] = [
  {
    title: "quotas are on and their numbers are right",
    async run({ btrfs, root }) {
      const { mode, consistent } = await btrfs.quotaState(root);
      assert.deepEqual({ mode, consistent }, { mode: "full", consistent: true });
    },
  },
  {
    title: "a new subvolume is an empty directory with an id of its own",
    async run(under) {
      const [a, b] = [await subvolume(under, "a"), await subvolume(under, "b")];
      assert.notEqual(a.id, b.id);
      assert.deepEqual(await under.files.list(a.path), []);
      assert.equal((await under.files.stat(a.path)).mode, 0o755);
    },
  },
  {
    title: "a directory is no subvolume, and neither is one in a subvolume",
    async run(under) {
      const { path } = await subvolume(under, "a");
      await under.files.mkdir(`${path}/d`, 0o755);
      assert.equal(await under.btrfs.subvolume(`${path}/d`), undefined);
    },
  },
  {
    title: "a name that is taken is not taken again",
    async run(under) {
      const { path } = await subvolume(under, "a");
      assert.equal(await kindOf(under.btrfs.createSubvolume(path)), "conflict");
      assert.equal(await kindOf(under.btrfs.snapshot(path, path, false)), "conflict");
    },
  },
  {
    title: "a snapshot has what its source had, and what is written later is not shared",
    async run(under) {
      const { btrfs, files, root } = under;
      const { path } = await subvolume(under, "a");
      await files.create(`${path}/before`, Buffer.from("before"), 0o600);
      await btrfs.snapshot(path, `${root}/s`, false);
      await files.create(`${path}/after`, Buffer.from("after"), 0o600);
      await files.create(`${root}/s/own`, Buffer.from("own"), 0o600);
      assert.equal(String(await files.read(`${root}/s/before`)), "before");
      assert.deepEqual((await files.list(`${root}/s`)).map(({ name }) => name).sort(), ["before", "own"]);
      assert.deepEqual((await files.list(path)).map(({ name }) => name).sort(), ["after", "before"]);
    },
  },
  {
    title: "nothing but the root of a subvolume can be snapshot",
    async run(under) {
      const { btrfs, files, root } = under;
      await files.mkdir(`${root}/d`, 0o755);
      assert.equal(await kindOf(btrfs.snapshot(`${root}/d`, `${root}/s`, false)), "io");
      assert.equal(await kindOf(btrfs.snapshot(`${root}/none`, `${root}/s`, false)), "not-found");
    },
  },
  {
    title: "subvolumes within are found at every depth, the deepest first, and left out of a snapshot",
    async run(under) {
      const { btrfs, files, root } = under;
      const { path, id } = await subvolume(under, "a");
      const inner = await subvolume(under, "a/inner");
      await files.mkdir(`${inner.path}/d`, 0o755);
      const deep = await subvolume(under, "a/inner/d/deep");
      assert.deepEqual(await btrfs.nested(root, id), [deep.id, inner.id]);
      await btrfs.snapshot(path, `${root}/s`, false);
      assert.deepEqual(await files.list(`${root}/s/inner`), []);
    },
  },
  {
    title:
      "a subvolume goes with its files, but not with a subvolume within, and its space is given back later",
    async run(under) {
      const { btrfs, files, root } = under;
      const { path, id } = await subvolume(under, "a");
      const inner = await subvolume(under, "a/inner");
      await files.create(`${path}/file`, Buffer.alloc(MIB), 0o600);
      assert.equal(await kindOf(btrfs.destroySubvolume(root, id)), "conflict");
      await btrfs.destroySubvolume(root, inner.id);
      await btrfs.destroySubvolume(root, id);
      assert.equal(await kindOf(files.stat(path)), "not-found");
      await untilGone(under, id);
      assert.equal(await kindOf(btrfs.destroySubvolume(root, id)), "not-found");
    },
  },
  {
    title: "the group of a subvolume counts its content, and keeps the limit that it is given",
    async run(under) {
      const { btrfs, files, root } = under;
      const { path, id } = await subvolume(under, "a");
      assert.equal((await btrfs.qgroup(root, id))?.maxReferencedBytes, undefined);
      await btrfs.limit(root, id, 8 * MIB);
      await files.create(`${path}/file`, Buffer.alloc(2 * MIB, 1), 0o600);
      await files.sync(`${path}/file`);
      await btrfs.commit(root);
      const group = await btrfs.qgroup(root, id);
      assert.equal(group?.maxReferencedBytes, 8 * MIB);
      const used = group?.referencedBytes ?? 0;
      assert.ok(used >= 2 * MIB && used < 3 * MIB, String(used));
      await btrfs.limit(root, id, MIB);
      assert.equal((await btrfs.qgroup(root, id))?.maxReferencedBytes, MIB);
      await btrfs.limit(root, id, undefined);
      assert.equal((await btrfs.qgroup(root, id))?.maxReferencedBytes, undefined);
    },
  },
  {
    title:
      "a group cannot be removed while its subvolume is there, and a group that is not there has no limit",
    async run(under) {
      const { btrfs, root } = under;
      const { id } = await subvolume(under, "a");
      assert.equal(await kindOf(btrfs.removeQgroup(root, id)), "precondition");
      await btrfs.destroySubvolume(root, id);
      await untilGone(under, id);
      await btrfs.removeQgroup(root, id).catch((error: { kind?: string }) => {
        assert.equal(error.kind, "not-found"); // newer kernels remove it themselves
      });
      assert.equal(await btrfs.qgroup(root, id), undefined);
      assert.equal(await kindOf(btrfs.removeQgroup(root, id)), "not-found");
      assert.equal(await kindOf(btrfs.limit(root, id, MIB)), "not-found");
    },
  },
  {
    title: "what is no directory is refused",
    async run({ btrfs, files, root }) {
      await files.create(`${root}/file`, Buffer.from("x"), 0o600);
      for (const [path, kind] of [
        [`${root}/file`, "io"],
        [`${root}/none`, "not-found"],
      ] as const) {
        assert.equal(await kindOf(btrfs.subvolume(path)), kind);
        assert.equal(await kindOf(btrfs.quotaState(path)), kind);
        assert.equal(await kindOf(btrfs.createSubvolume(`${path}/x`)), kind);
      }
    },
  },
];
