/** Copies of trees on real file systems, and of trees whose owner does not want them to be copied well. Needs root. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rename } from "node:fs/promises";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createCopier } from "../../src/host/copy-tree.ts";
import { createFiles } from "../../src/host/files.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { copierContract } from "../contract/copier.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";
import { fillTree } from "./support/rich-tree.ts";
import { treeManifest } from "./support/tree-manifest.ts";

const MIB = 2 ** 20;
const syscalls = createSyscalls();
const copier = createCopier(syscalls);
const files = createFiles(syscalls);
const options = { signal: new AbortController().signal };
const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: "pipe" });

beforeAll(() => {
  if (process.getuid?.() !== 0) throw new Error("these tests mount: run them as root");
});

const kinds = [
  ["ext4", () => createLoopDisk("ext4", 512, ["-q"])],
  ["btrfs, which shares content", () => createLoopDisk("btrfs", 512, ["-q"])],
  ["xfs, which shares content", () => createLoopDisk("xfs", 512, ["-q"])],
  ["tmpfs", createTmpfs],
] as const;

function createTmpfs(): LoopDisk {
  const path = `/tmp/trivet-tmpfs-${process.pid}`;
  mkdirSync(path);
  run("mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", path);
  return {
    path,
    remove() {
      run("umount", path);
      rmSync(path, { recursive: true });
    },
  };
}

describe.each(kinds)("on %s", (kind, createDisk) => {
  let disk: LoopDisk;
  let root: string;
  let count = 0;
  beforeAll(() => {
    disk = createDisk();
  });
  beforeEach(() => {
    root = `${disk.path}/${count++}`;
    mkdirSync(root);
  });
  afterAll(() => disk.remove());

  test.each(copierContract)("$title", ({ run }) => run({ copier, files, root }));

  test("a copy has all that the tree has but its devices, and the tree is as it was", async () => {
    const source = `${root}/source`;
    mkdirSync(source);
    await fillTree(syscalls, source);
    const before = await treeManifest(syscalls, source);
    run("sync", "-f", root); // what is written is not allocated at once
    const freeBefore = (await files.space(root)).freeBytes;
    const atime = statSync(`${source}/plain`, { bigint: true }).atimeNs;
    const report = await copier.tree(source, `${root}/target`, options);
    expect(statSync(`${source}/plain`, { bigint: true }).atimeNs).toBe(atime);
    const copy = await treeManifest(syscalls, `${root}/target`);
    const { "./null": device, ...expected } = before;
    expect(device).toBeDefined();
    expect(copy).toEqual(expected);
    expect(report).toMatchObject({ skippedDevices: 1, skippedMounts: 0, vanished: 0 });
    expect(report.entries).toBe(Object.keys(expected).length - 1);
    const sparse = statSync(`${root}/target/sparse`);
    expect(sparse.blocks * 512).toBeLessThan(2 * MIB);
    expect(await treeManifest(syscalls, source)).toEqual(before);
    const used = freeBefore - (await files.space(root)).freeBytes;
    if (kind.includes("shares")) expect(used).toBeLessThan(4 * MIB);
    expect(readdirSync(root).sort()).toEqual(["source", "target"]);
  });

  test("devices are copied where that is asked for", async () => {
    mkdirSync(`${root}/source`);
    run("mknod", `${root}/source/null`, "c", "1", "3");
    const report = await copier.tree(`${root}/source`, `${root}/target`, { ...options, devices: true });
    expect(report.skippedDevices).toBe(0);
    expect(lstatSync(`${root}/target/null`, { bigint: true }).rdev).toBe(
      lstatSync(`${root}/source/null`, { bigint: true }).rdev,
    );
  });

  test("a tree deeper than the longest path is copied, whatever lies on the way", async () => {
    const name = "d".repeat(200);
    // Made inside out, since no path reaches the innermost.
    mkdirSync(`${root}/source`);
    for (let level = 0; level < 90; level++) {
      writeFileSync(`${root}/source/a`, `${level}`);
      mkdirSync(`${root}/source/e`);
      writeFileSync(`${root}/source/z`, `${level}`);
      mkdirSync(`${root}/outer`);
      renameSync(`${root}/source`, `${root}/outer/${name}`);
      renameSync(`${root}/outer`, `${root}/source`);
    }
    const report = await copier.tree(`${root}/source`, `${root}/target`, options);
    expect(report).toMatchObject({ entries: 90 * 4, vanished: 0 });
    for (let level = 89; level >= 0; level--) {
      renameSync(`${root}/target/${name}`, `${root}/inner`);
      expect(readdirSync(`${root}/target`)).toEqual([]);
      rmSync(`${root}/target`, { recursive: true });
      renameSync(`${root}/inner`, `${root}/target`);
      expect(readFileSync(`${root}/target/z`, "utf8")).toBe(`${level}`);
      for (const left of ["a", "e", "z"]) rmSync(`${root}/target/${left}`, { recursive: true });
    }
    await files.removeTree(`${root}/source`);
  });

  test("a full disk is an error, and the copy can be removed", async () => {
    mkdirSync(`${root}/source`);
    const { availableBytes } = await files.space(root);
    run("fallocate", "-l", String(Math.floor(availableBytes * 0.7)), `${root}/ballast`);
    // Not shared: a second disk would have to be full for that.
    const [source, other] = [`/dev/shm/trivet-full-${process.pid}`, `${root}/target`];
    mkdirSync(source);
    try {
      writeFileSync(`${source}/a`, "small");
      writeFileSync(`${source}/huge`, Buffer.alloc(Math.ceil(availableBytes * 0.4), "x"));
      await expect(copier.tree(source, other, options)).rejects.toMatchObject({ kind: "exhausted" });
      await files.removeTree(other);
    } finally {
      rmSync(source, { recursive: true });
      rmSync(`${root}/ballast`);
    }
  });
});

describe("a tree that its owner changes meanwhile", () => {
  let disk: LoopDisk;
  let root: string;
  let count = 0;
  beforeAll(() => {
    disk = createLoopDisk("ext4", 512, ["-q"]);
  });
  beforeEach(() => {
    root = `${disk.path}/${count++}`;
    mkdirSync(`${root}/source`, { recursive: true });
  });
  afterAll(() => disk.remove());

  test("a directory or a file that is swapped for a link, again and again, leads nobody out of the tree", async () => {
    mkdirSync(`${root}/victim/secret`, { recursive: true });
    writeFileSync(`${root}/victim/secret/key`, "SECRET");
    writeFileSync(`${root}/victim/file`, "SECRET");
    const source = `${root}/source`;
    mkdirSync(`${source}/a`);
    writeFileSync(`${source}/b`, "harmless");
    symlinkSync(`${root}/victim`, `${source}/to-directory`);
    symlinkSync(`${root}/victim/file`, `${source}/to-file`);
    let going = true;
    const attack = async () => {
      while (going) {
        await Promise.all([rename(`${source}/a`, `${source}/x`), rename(`${source}/b`, `${source}/y`)]);
        await Promise.all([
          rename(`${source}/to-directory`, `${source}/a`),
          rename(`${source}/to-file`, `${source}/b`),
        ]);
        await Promise.all([
          rename(`${source}/a`, `${source}/to-directory`),
          rename(`${source}/b`, `${source}/to-file`),
        ]);
        await Promise.all([rename(`${source}/x`, `${source}/a`), rename(`${source}/y`, `${source}/b`)]);
      }
    };
    const attacking = attack();
    let links = 0;
    for (let round = 0; round < 100; round++) {
      const target = `${root}/target${round}`;
      await copier.tree(source, target, options);
      for (const name of readdirSync(target)) {
        const stat = lstatSync(`${target}/${name}`);
        if (stat.isSymbolicLink()) links += 1;
        else if (stat.isDirectory()) expect(readdirSync(`${target}/${name}`)).toEqual([]);
        else expect(readFileSync(`${target}/${name}`, "utf8")).toBe("harmless");
      }
    }
    going = false;
    await attacking;
    expect(links).toBeGreaterThan(0);
  });

  test("a mount in the tree is not entered, and reported", async () => {
    const source = `${root}/source`;
    mkdirSync(`${root}/outside`);
    writeFileSync(`${root}/outside/secret`, "SECRET");
    mkdirSync(`${source}/guest`);
    writeFileSync(`${source}/file`, "");
    run("mount", "--bind", `${root}/outside`, `${source}/guest`);
    run("mount", "--bind", `${root}/outside/secret`, `${source}/file`);
    try {
      const report = await copier.tree(source, `${root}/target`, options);
      expect(report.skippedMounts).toBe(2);
      expect(readdirSync(`${root}/target`)).toEqual(["guest"]);
      expect(readdirSync(`${root}/target/guest`)).toEqual([]);
    } finally {
      run("umount", `${source}/guest`);
      run("umount", `${source}/file`);
    }
  });

  test("a directory that is moved up while it is read in the deep leads nobody astray", async () => {
    // Deeper than the levels that stay open, and moved while the innermost is being copied.
    const path = `${root}/source/${Array.from({ length: 80 }, (_, level) => `l${level}`).join("/")}`;
    mkdirSync(`${path}/last`, { recursive: true });
    writeFileSync(`${path}/zz`, "deep");
    for (let n = 0; n < 200; n++) writeFileSync(`${path}/last/f${n}`, "x");
    const moved = `${root}/source/l0/l1`;
    let done = false;
    const report = await copier.tree(`${root}/source`, `${root}/target`, {
      ...options,
      onProgress({ entries }) {
        if (done || entries < 150) return;
        done = true;
        renameSync(moved, `${root}/moved`);
      },
    });
    expect(done).toBe(true);
    // Its levels lie one below the other still: all of them are found again, and the file behind them is copied.
    expect(report.entries).toBeGreaterThanOrEqual(280);
    expect(existsSync(`${root}/target/l0/l1/l2`)).toBe(true);
  });

  test("what vanishes is left out, and what grows is copied as it was", async () => {
    const source = `${root}/source`;
    for (let n = 0; n < 500; n++) writeFileSync(`${source}/f${n}`, "x".repeat(100));
    let seen = 0;
    const report = await copier.tree(source, `${root}/target`, {
      ...options,
      onProgress() {
        const name = `${source}/f${seen++}`;
        if (seen % 3 === 0) rmSync(name, { force: true });
        else if (existsSync(name)) appendFileSync(name, "more");
      },
    });
    const left = readdirSync(`${root}/target`);
    expect(left.length).toBe(report.entries);
    for (const name of left) {
      const content = readFileSync(`${root}/target/${name}`, "utf8");
      expect(content).toMatch(/^x{100}(more)*$/);
    }
  });
});

describe("a large tree", () => {
  let disk: LoopDisk;
  beforeAll(() => {
    disk = createLoopDisk("ext4", 1024, ["-q"]);
  });
  afterAll(() => disk.remove());

  test("is given up within a second, and leaves the event loop free", async () => {
    mkdirSync(`${disk.path}/source`);
    const block = Buffer.alloc(8 * MIB, "y");
    for (let n = 0; n < 40; n++) writeFileSync(`${disk.path}/source/large${n}`, block);
    for (let n = 0; n < 2_000; n++) writeFileSync(`${disk.path}/source/small${n}`, "z");
    const end = new AbortController();
    let givenUpMs = 0;
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const copying = copier.tree(`${disk.path}/source`, `${disk.path}/target`, {
      signal: end.signal,
      onProgress({ copiedBytes }) {
        if (copiedBytes < 64 * MIB || end.signal.aborted) return;
        givenUpMs = Date.now();
        end.abort();
      },
    });
    await expect(copying).rejects.toMatchObject({ kind: "cancelled" });
    delay.disable();
    // Generous: the machine may be busy. What is meant is one chunk, and no whole copy.
    expect(Date.now() - givenUpMs).toBeLessThan(5_000);
    expect(delay.percentile(50) / 1e6).toBeLessThan(5);
    await files.removeTree(`${disk.path}/target`);
    const hash = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
    await copier.file(`${disk.path}/source/large1`, `${disk.path}/copy`, options);
    expect(hash(`${disk.path}/copy`)).toBe(hash(`${disk.path}/source/large1`));
  });

  test("closes every descriptor that it opened", async () => {
    const openNow = () => readdirSync("/proc/self/fd").length;
    mkdirSync(`${disk.path}/some/a/b/c`, { recursive: true });
    for (let n = 0; n < 300; n++) writeFileSync(`${disk.path}/some/a/f${n}`, "z");
    const before = openNow();
    await copier.tree(`${disk.path}/some`, `${disk.path}/some-copy`, options);
    for (const entries of [0, 1, 50, 250]) {
      const end = new AbortController();
      const copying = copier.tree(`${disk.path}/some`, `${disk.path}/given-up-${entries}`, {
        signal: end.signal,
        onProgress: (progress) => void (progress.entries >= entries && end.abort()),
      });
      await expect(copying).rejects.toMatchObject({ kind: "cancelled" });
    }
    expect(openNow()).toBe(before);
  });

  test("closes them also when it is given up while it looks for a directory that was moved", async () => {
    const openNow = () => readdirSync("/proc/self/fd").length;
    const [moved, elsewhere] = [`${disk.path}/deep${"/d".repeat(68)}`, `${disk.path}/elsewhere`];
    mkdirSync(`${moved}${"/d".repeat(4)}`, { recursive: true });
    const way = 2 * 72; // each level is opened in the tree and in its copy
    const before = openNow();
    for (let calls = way + 1; calls < way + 20; calls++) {
      const end = new AbortController();
      let count = 0;
      const openBelow: typeof syscalls.openBelow = (...args) => {
        count += 1;
        if (count === way) renameSync(moved, elsewhere);
        if (count === calls) end.abort();
        return syscalls.openBelow(...args);
      };
      const copying = createCopier({ ...syscalls, openBelow }).tree(
        `${disk.path}/deep`,
        `${disk.path}/deep-copy-${calls}`,
        { signal: end.signal },
      );
      await copying.catch((error) => expect(error).toMatchObject({ kind: "cancelled" })); // or it was over by then
      renameSync(elsewhere, moved);
      expect(openNow()).toBe(before);
    }
  });
});
