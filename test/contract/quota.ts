/**
 * What `ProjectQuota` promises, as cases for the fake and for XFS and ext4 alike. The real ones run in a guest, which has
 * no test framework: so these cases assert with Node's own means.
 */
import assert from "node:assert/strict";
import type { Files } from "../../src/host/files.ts";
import type { ProjectQuota } from "../../src/host/quota.ts";
import type { ContractCase } from "./files.ts";

/** An empty directory on a file system that enforces project quotas, and ids that nobody used there. */
export interface QuotaUnderTest {
  readonly quota: ProjectQuota;
  readonly files: Files;
  readonly root: string;
  readonly id: number;
  symlink(target: string, path: string): Promise<void>;
}

const MIB = 1_048_576;
const kindOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "success",
    (error: { kind?: string }) => error.kind,
  );

/** Its directory in the project `id`, which is limited to 8 MiB and 100 inodes. */
async function limited({ quota, files, root, id }: QuotaUnderTest): Promise<string> {
  const path = `${root}/limited`;
  await files.mkdir(path, 0o777);
  await quota.setProject(path, { id, inherit: true });
  await quota.setLimits(path, id, { bytes: 8 * MIB, inodes: 100 });
  return path;
}

export const quotaContract: readonly ContractCase<QuotaUnderTest>[] = [
  {
    title: "project quotas are accounted for and enforced",
    async run({ quota, root }) {
      assert.deepEqual(await quota.state(root), { accounting: true, enforced: true });
    },
  },
  {
    title: "a new directory is in no project",
    async run({ quota, files, root }) {
      await files.mkdir(`${root}/d`, 0o755);
      assert.deepEqual(await quota.project(`${root}/d`), { id: 0, inherit: false });
    },
  },
  {
    title: "what is made in a directory of a project is in the project, what was there is not",
    async run({ quota, files, root, id }) {
      await files.mkdir(`${root}/d`, 0o755);
      await files.mkdir(`${root}/d/before`, 0o755);
      await quota.setProject(`${root}/d`, { id, inherit: true });
      await files.mkdir(`${root}/d/after`, 0o755);
      assert.deepEqual(await quota.project(`${root}/d`), { id, inherit: true });
      assert.deepEqual(await quota.project(`${root}/d/before`), { id: 0, inherit: false });
      assert.deepEqual(await quota.project(`${root}/d/after`), { id, inherit: true });
    },
  },
  {
    title: "a directory that does not pass its project on has children of none",
    async run({ quota, files, root, id }) {
      await files.mkdir(`${root}/d`, 0o755);
      await quota.setProject(`${root}/d`, { id, inherit: false });
      await files.mkdir(`${root}/d/child`, 0o755);
      assert.deepEqual(await quota.project(`${root}/d/child`), { id: 0, inherit: false });
    },
  },
  {
    title: "a project can be taken away again",
    async run({ quota, files, root, id }) {
      await files.mkdir(`${root}/d`, 0o755);
      await quota.setProject(`${root}/d`, { id, inherit: true });
      await quota.setProject(`${root}/d`, { id: 0, inherit: false });
      assert.deepEqual(await quota.project(`${root}/d`), { id: 0, inherit: false });
    },
  },
  {
    title: "a project that nobody used reads as zeros",
    async run({ quota, root, id }) {
      assert.deepEqual(await quota.read(root, id), { bytes: 0, inodes: 0, usedBytes: 0, usedInodes: 0 });
    },
  },
  {
    title: "limits read back as they were set, and usage counts the directory itself",
    async run(under) {
      const path = await limited(under);
      const { usedBytes, ...rest } = await under.quota.read(path, under.id);
      assert.deepEqual(rest, { bytes: 8 * MIB, inodes: 100, usedInodes: 1 });
      assert.ok(usedBytes <= 65_536, `an empty directory holds ${usedBytes} bytes`);
    },
  },
  {
    title: "limits can be raised, lowered below what is used, and taken away",
    async run(under) {
      const path = await limited(under);
      const { quota, files, id } = under;
      await files.create(`${path}/file`, Buffer.alloc(2 * MIB, 1), 0o600);
      await files.sync(`${path}/file`);
      for (const limits of [
        { bytes: 16 * MIB, inodes: 200 },
        { bytes: MIB, inodes: 1 },
        { bytes: 0, inodes: 0 },
      ]) {
        await quota.setLimits(path, id, limits);
        const { bytes, inodes } = await quota.read(path, id);
        assert.deepEqual({ bytes, inodes }, limits);
      }
    },
  },
  {
    title: "statfs in the directory shows the limits, and next to it the whole disk",
    async run(under) {
      const path = await limited(under);
      const { files, root } = under;
      const { totalBytes, totalInodes, availableBytes } = await files.space(path);
      assert.deepEqual({ totalBytes, totalInodes }, { totalBytes: 8 * MIB, totalInodes: 100 });
      assert.ok(availableBytes <= totalBytes);
      assert.ok((await files.space(root)).totalBytes > 64 * MIB);
    },
  },
  {
    title: "usage follows what is written and what is removed",
    async run(under) {
      const path = await limited(under);
      const { quota, files, id } = under;
      await files.create(`${path}/file`, Buffer.alloc(4 * MIB, 1), 0o600);
      await files.sync(`${path}/file`);
      const full = await quota.read(path, id);
      assert.ok(full.usedBytes >= 4 * MIB && full.usedBytes < 5 * MIB, String(full.usedBytes));
      assert.equal(full.usedInodes, 2);
      await files.unlink(`${path}/file`);
      await files.sync(path);
      // XFS gives the space of an unlinked file back a moment later.
      let empty = await quota.read(path, id);
      for (let turn = 0; turn < 200 && empty.usedBytes > MIB; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        empty = await quota.read(path, id);
      }
      assert.ok(empty.usedBytes < MIB, String(empty.usedBytes));
    },
  },
  {
    title: "a directory keeps its project and its content when it is renamed between directories of none",
    async run(under) {
      const { quota, files, root, id } = under;
      await files.mkdir(`${root}/from`, 0o700);
      await files.mkdir(`${root}/from/wrapper`, 0o700);
      const path = `${root}/from/wrapper`;
      await files.mkdir(`${path}/data`, 0o777);
      await quota.setProject(`${path}/data`, { id, inherit: true });
      const { ino } = await files.stat(`${path}/data`);
      await files.rename(path, `${root}/to`);
      assert.equal((await files.stat(`${root}/to/data`)).ino, ino);
      assert.deepEqual(await quota.project(`${root}/to/data`), { id, inherit: true });
    },
  },
  {
    title: "a sample finds files of another project, and looks at no more than it is told to",
    async run(under) {
      const path = await limited(under);
      const { quota, files, id, root } = under;
      for (const name of ["a", "b", "c"]) await files.create(`${path}/${name}`, Buffer.from("x"), 0o600);
      assert.deepEqual(await quota.sample(path, 50), { looked: 4, projects: new Set([id]) });
      assert.equal((await quota.sample(path, 2)).looked, 2);
      await files.mkdir(`${path}/inner`, 0o755);
      await quota.setProject(`${path}/inner`, { id: 0, inherit: false });
      assert.deepEqual((await quota.sample(path, 50)).projects, new Set([id, 0]));
      await under.symlink(root, `${path}/link`);
      assert.equal((await quota.sample(path, 50)).looked, 6);
    },
  },
  {
    title: "what is no directory is refused: nothing, a file, a link to a directory",
    async run(under) {
      const { quota, files, root, id } = under;
      await files.create(`${root}/file`, Buffer.from("x"), 0o600);
      await files.mkdir(`${root}/d`, 0o755);
      await under.symlink(`${root}/d`, `${root}/link`);
      const kinds = async (path: string) => [
        await kindOf(quota.project(path)),
        await kindOf(quota.setProject(path, { id, inherit: true })),
        await kindOf(quota.setLimits(path, id, { bytes: MIB, inodes: 0 })),
        await kindOf(quota.read(path, id)),
      ];
      assert.deepEqual(await kinds(`${root}/none`), Array(4).fill("not-found"));
      assert.deepEqual(await kinds(`${root}/file`), Array(4).fill("io"));
      assert.deepEqual(await kinds(`${root}/link`), Array(4).fill("io"));
      assert.deepEqual(await quota.project(`${root}/d`), { id: 0, inherit: false });
    },
  },
  {
    title: "numbers that cannot be meant are refused and change nothing",
    async run(under) {
      const path = await limited(under);
      const { quota, id } = under;
      for (const bytes of [-1, 0.5 * Number.MAX_VALUE, Number.NaN]) {
        assert.equal(await kindOf(quota.setLimits(path, id, { bytes, inodes: 0 })), "bug");
      }
      for (const wrong of [-1, 1.5, 2 ** 32 - 1]) {
        assert.equal(await kindOf(quota.setProject(path, { id: wrong, inherit: true })), "bug");
      }
      assert.equal((await quota.read(path, id)).bytes, 8 * MIB);
      assert.deepEqual(await quota.project(path), { id, inherit: true });
    },
  },
];
