/** What `Copier` promises of files and directories, as cases for the fake and for real file systems. */
import { expect } from "vitest";
import type { Copier } from "../../src/host/copy-tree.ts";
import type { Files } from "../../src/host/files.ts";
import type { ContractCase } from "./files.ts";

/** An empty directory to work in, on the file system that is copied. */
export interface CopierUnderTest {
  readonly copier: Copier;
  readonly files: Files;
  readonly root: string;
}

const options = { signal: new AbortController().signal };

async function fill({ files, root }: CopierUnderTest): Promise<void> {
  await files.mkdir(`${root}/source`, 0o751);
  await files.mkdir(`${root}/source/inner`, 0o700);
  await files.create(`${root}/source/inner/file`, Buffer.from("content"), 0o640);
  await files.create(`${root}/source/empty`, Buffer.alloc(0), 0o444);
  await files.setOwner(`${root}/source/inner/file`, 12, 34);
}

export const copierContract: readonly ContractCase<CopierUnderTest>[] = [
  {
    title: "a tree is copied with contents, owners and modes, and counted",
    async run(subject) {
      const { copier, files, root } = subject;
      await fill(subject);
      const report = await copier.tree(`${root}/source`, `${root}/target`, options);
      expect(report).toEqual({
        ...{ copiedBytes: 7, skippedDevices: 0, skippedMounts: 0, vanished: 0 },
        entries: expect.any(Number),
      });
      expect(String(await files.read(`${root}/target/inner/file`))).toBe("content");
      expect(await files.stat(`${root}/target`)).toMatchObject({ kind: "directory", mode: 0o751 });
      expect(await files.stat(`${root}/target/inner`)).toMatchObject({ mode: 0o700 });
      expect(await files.stat(`${root}/target/inner/file`)).toMatchObject({ mode: 0o640, uid: 12, gid: 34 });
      expect(await files.stat(`${root}/target/empty`)).toMatchObject({ mode: 0o444, sizeBytes: 0 });
      expect((await files.list(root)).map(({ name }) => name).sort()).toEqual(["source", "target"]);
    },
  },
  {
    title: "a tree is copied to no name that is taken, and what is there stays",
    async run(subject) {
      const { copier, files, root } = subject;
      await fill(subject);
      await files.mkdir(`${root}/target`, 0o700);
      await files.create(`${root}/target/mine`, Buffer.from("mine"), 0o600);
      const copying = copier.tree(`${root}/source`, `${root}/target`, options);
      await expect(copying).rejects.toMatchObject({ kind: "conflict" });
      expect((await files.list(`${root}/target`)).map(({ name }) => name)).toEqual(["mine"]);
    },
  },
  {
    title: "nothing is no tree, and a file is none",
    async run(subject) {
      const { copier, root } = subject;
      await fill(subject);
      const copy = (name: string) => copier.tree(`${root}/${name}`, `${root}/target`, options);
      await expect(copy("none")).rejects.toMatchObject({ kind: "not-found" });
      await expect(copy("source/empty")).rejects.toMatchObject({ kind: "io" });
    },
  },
  {
    title: "a copy that was given up before it began changes nothing",
    async run(subject) {
      const { copier, files, root } = subject;
      await fill(subject);
      const copying = copier.tree(`${root}/source`, `${root}/target`, { signal: AbortSignal.abort() });
      await expect(copying).rejects.toMatchObject({ kind: "cancelled" });
      expect((await files.list(root)).map(({ name }) => name)).toEqual(["source"]);
    },
  },
  {
    title: "progress is told, and grows",
    async run(subject) {
      const { copier, root } = subject;
      await fill(subject);
      const seen: number[] = [];
      await copier.tree(`${root}/source`, `${root}/target`, {
        ...options,
        onProgress: ({ copiedBytes, entries }) => seen.push(copiedBytes + entries),
      });
      expect(seen.length).toBeGreaterThan(0);
      expect(seen).toEqual([...seen].sort((one, other) => one - other));
    },
  },
  {
    title: "a file is copied with its content alone, for its owner only",
    async run(subject) {
      const { copier, files, root } = subject;
      await fill(subject);
      await copier.file(`${root}/source/inner/file`, `${root}/copy`, options);
      expect(String(await files.read(`${root}/copy`))).toBe("content");
      expect(await files.stat(`${root}/copy`)).toMatchObject({ mode: 0o600 });
      const again = copier.file(`${root}/source/empty`, `${root}/copy`, options);
      await expect(again).rejects.toMatchObject({ kind: "conflict" });
      expect(String(await files.read(`${root}/copy`))).toBe("content");
    },
  },
];
