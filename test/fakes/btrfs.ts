/**
 * Subvolumes and quota groups in memory, over the fake files. Writers are not stopped: that only a kernel can show. The
 * space of a subvolume is given back one look after it was destroyed. The contract is `test/contract/btrfs.ts`.
 */
import { posix } from "node:path";
import { TrivetError } from "../../src/errors.ts";
import type { Btrfs, BtrfsQuotaState } from "../../src/host/btrfs.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { FakeFiles } from "./files.ts";

/** The hook gets the same names as errors have. */
export type BtrfsOp = `btrfs.${
  | ("create" | "snapshot" | "subvolume" | "nested" | "destroy" | "exists" | "state" | "enable")
  | ("rescan" | "qgroup" | "limit" | "ungroup" | "commit")}`;

export interface FakeBtrfs extends Btrfs {
  onEffect: ((op: BtrfsOp, path: string, when: "before" | "after") => void) | undefined;
  /** `none`: the file system is no btrfs. */
  state: BtrfsQuotaState | "none";
  /** Every limit that is set, by the id of the subvolume; undefined for a group without. */
  groups(): ReadonlyMap<number, number | undefined>;
  /** From now on every effect fails: the process was killed. */
  halt(): void;
  /** The same disk for a new process. */
  restart(files: FakeFiles): FakeBtrfs;
}

interface Disk {
  /** Inode of the root of each subvolume to its id. */
  readonly roots: Map<bigint, number>;
  readonly groups: Map<number, number | undefined>;
  /** Destroyed, and not given back yet. */
  readonly dying: Set<number>;
  nextId: number;
}

/** The whole of `files` is one file system, the top of which is subvolume 5. */
export function createFakeBtrfs(files: FakeFiles): FakeBtrfs {
  const disk: Disk = { roots: new Map([[2n, 5]]), groups: new Map(), dying: new Set(), nextId: 256 };
  return createOn(files, disk, { mode: "full", consistent: true, rescanning: false });
}

const METADATA_BYTES = 16_384;

function createOn(files: FakeFiles, disk: Disk, state: FakeBtrfs["state"]): FakeBtrfs {
  let halted = false;
  const refuse = (op: BtrfsOp, subject: string) => {
    if (!halted) return;
    throw new TrivetError({ kind: "cancelled", op, subject, message: "the process of this host was killed" });
  };
  const on = async <T>(op: BtrfsOp, at: string, subject: string, act: () => T | Promise<T>): Promise<T> => {
    refuse(op, subject);
    fake.onEffect?.(op, subject, "before");
    refuse(op, subject);
    const kind = files.peek(at)?.kind;
    if (kind === undefined) throw errnoError("ENOENT", op, subject);
    if (kind !== "directory") throw errnoError("ENOTDIR", op, subject);
    if (fake.state === "none" && op !== "btrfs.subvolume") throw errnoError("EOPNOTSUPP", op, subject);
    const result = await act();
    fake.onEffect?.(op, subject, "after");
    refuse(op, subject);
    return result;
  };
  const add = async (op: BtrfsOp, path: string): Promise<void> => {
    if (files.peek(path)) throw errnoError("EEXIST", op, path);
    await files.mkdir(path, 0o755);
    const id = disk.nextId++;
    disk.roots.set(inodeOf(files, path), id);
    if (quotasOn(fake)) disk.groups.set(id, undefined);
  };
  const requireQuota = (op: BtrfsOp, path: string) => {
    if (!quotasOn(fake)) throw errnoError("ENOTCONN", op, path);
  };
  const fake: FakeBtrfs = {
    ...{ onEffect: undefined, state },
    groups: () => disk.groups,
    halt() {
      halted = true;
    },
    restart(next) {
      halted = true;
      return createOn(next, disk, fake.state);
    },
    createSubvolume: (path) => on("btrfs.create", posix.dirname(path), path, () => add("btrfs.create", path)),
    snapshot: (source, path) =>
      on("btrfs.snapshot", source, path, async () => {
        if (idOf(files, disk, source) === undefined) throw errnoError("EINVAL", "btrfs.snapshot", path);
        await add("btrfs.snapshot", path);
        await copyInto(files, disk, source, path);
      }),
    subvolume: (path) => on("btrfs.subvolume", path, path, () => idOf(files, disk, path)),
    nested: (path, id) =>
      on("btrfs.nested", path, path, () =>
        nestedIn(files, disk, pathOf(files, disk, id)).map((at) => idOf(files, disk, at) ?? 0),
      ),
    destroySubvolume: (path, id) =>
      on("btrfs.destroy", path, path, async () => {
        const root = pathOf(files, disk, id);
        if (root === undefined) throw errnoError("ENOENT", "btrfs.destroy", path);
        if (nestedIn(files, disk, root).length > 0) throw errnoError("ENOTEMPTY", "btrfs.destroy", path);
        disk.roots.delete(inodeOf(files, root));
        disk.dying.add(id);
        await files.removeTree(root);
      }),
    exists: (path, id) =>
      on("btrfs.exists", path, path, () => disk.dying.delete(id) || pathOf(files, disk, id) !== undefined),
    quotaState: (path) => on("btrfs.state", path, path, () => fake.state as BtrfsQuotaState),
    enableQuota: (path) =>
      on("btrfs.enable", path, path, () => {
        fake.state = { mode: "full", consistent: true, rescanning: false };
        for (const id of disk.roots.values()) disk.groups.set(id, undefined);
      }),
    rescan: (path) =>
      on("btrfs.rescan", path, path, () => {
        requireQuota("btrfs.rescan", path);
        fake.state = { mode: "full", consistent: true, rescanning: false };
      }),
    qgroup: (path, id) =>
      on("btrfs.qgroup", path, path, () => {
        if (!disk.groups.has(id)) return undefined;
        const bytes = METADATA_BYTES + sizeOf(files, disk, pathOf(files, disk, id));
        return { referencedBytes: bytes, exclusiveBytes: bytes, maxReferencedBytes: disk.groups.get(id) };
      }),
    limit: (path, id, bytes) =>
      on("btrfs.limit", path, path, () => {
        requireQuota("btrfs.limit", path);
        if (!disk.groups.has(id)) throw errnoError("ENOENT", "btrfs.limit", path);
        disk.groups.set(id, bytes);
      }),
    removeQgroup: (path, id) =>
      on("btrfs.ungroup", path, path, () => {
        requireQuota("btrfs.ungroup", path);
        if (!disk.groups.has(id)) throw errnoError("ENOENT", "btrfs.ungroup", path);
        if (pathOf(files, disk, id) !== undefined) throw errnoError("EBUSY", "btrfs.ungroup", path);
        disk.groups.delete(id);
      }),
    commit: (path) => on("btrfs.commit", path, path, () => files.settle()),
  };
  return fake;
}

function quotasOn({ state }: FakeBtrfs): boolean {
  return state !== "none" && state.mode !== "off";
}

function inodeOf(files: FakeFiles, path: string): bigint {
  return files.peek(path)?.ino ?? 0n;
}

function idOf(files: FakeFiles, disk: Disk, path: string): number | undefined {
  return disk.roots.get(inodeOf(files, path));
}

function below(files: FakeFiles, path: string): string[] {
  return files.paths(path).map((line) => line.replace(/ \w+ [0-7]+$/, ""));
}

function pathOf(files: FakeFiles, disk: Disk, id: number): string | undefined {
  return ["/", ...below(files, "/")].find((path) => idOf(files, disk, path) === id);
}

/** Roots of the subvolumes below, the deepest first. */
function nestedIn(files: FakeFiles, disk: Disk, path: string | undefined): string[] {
  if (path === undefined) return [];
  const depth = (at: string) => at.split("/").length;
  return below(files, path)
    .filter((at) => idOf(files, disk, at) !== undefined)
    .sort((a, b) => depth(b) - depth(a));
}

function sizeOf(files: FakeFiles, disk: Disk, path: string | undefined): number {
  if (path === undefined) return 0;
  const others = nestedIn(files, disk, path);
  return below(files, path)
    .filter((at) => !others.some((other) => at.startsWith(`${other}/`)))
    .reduce((sum, at) => sum + (files.peek(at)?.kind === "file" ? (files.peek(at)?.sizeBytes ?? 0) : 0), 0);
}

/** A subvolume within the source is an empty directory in the snapshot. */
async function copyInto(files: FakeFiles, disk: Disk, source: string, target: string): Promise<void> {
  const others = nestedIn(files, disk, source);
  for (const path of below(files, source)) {
    if (others.some((other) => path.startsWith(`${other}/`))) continue;
    const to = posix.join(target, posix.relative(source, path));
    const stat = files.peek(path);
    if (stat?.kind === "directory") await files.mkdir(to, stat.mode);
    if (stat?.kind === "file") await files.create(to, await files.read(path), stat.mode);
  }
}
