/**
 * Subvolumes, snapshots and quota groups of btrfs, by ioctl on descriptors that follow no symbolic link. Must not decide
 * what is limited. Every subvolume has a quota group of its own while quotas are on; the group's id is the subvolume's.
 */
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isKind, TrivetError } from "../errors.ts";
import * as wire from "./btrfs-wire.ts";
import { errnoError, fromNodeError } from "./errno.ts";
import type { Syscalls } from "./syscall.ts";

/** What quotas of the file system do. */
export interface BtrfsQuotaState {
  /** `simple` groups (Linux 6.7) charge data to whoever wrote it, as long as any snapshot keeps it. */
  readonly mode: "off" | "full" | "simple";
  /** False while the numbers cannot be trusted: the kernel has stopped counting, and limits are not in force. */
  readonly consistent: boolean;
  /** A rescan is running: it makes the numbers right again. */
  readonly rescanning: boolean;
}

/** A quota group. */
export interface Qgroup {
  /** All data that the subvolume shows, whoever shares it; as of the last commit of the file system. */
  readonly referencedBytes: number;
  /** What no other subvolume shares. */
  readonly exclusiveBytes: number;
  /** The limit of `referencedBytes`; undefined where there is none. */
  readonly maxReferencedBytes: number | undefined;
}

/** Effects on the btrfs that a path lies on. Paths are existing directories unless they are said to be new. */
export interface Btrfs {
  /** A new, empty subvolume of root's at `path`; `conflict` if the name is taken. */
  createSubvolume(path: string): Promise<void>;
  /** A new subvolume at `path` that has what `source`, the root of a subvolume, has at this moment. */
  snapshot(source: string, path: string, readOnly: boolean): Promise<void>;
  /** The id of the subvolume whose root `path` is, undefined for any other directory. */
  subvolume(path: string): Promise<number | undefined>;
  /** The ids of all subvolumes that lie in the subvolume `id`, at any depth, the deepest first. */
  nested(path: string, id: number): Promise<readonly number[]>;
  /** Removes the subvolume from sight, with all its files; one that holds another is `conflict`. */
  destroySubvolume(path: string, id: number): Promise<void>;
  /** Whether the kernel still has to give back the space of a subvolume that was removed from sight. */
  exists(path: string, id: number): Promise<boolean>;
  quotaState(path: string): Promise<BtrfsQuotaState>;
  /** Turns full quotas on for the whole file system. */
  enableQuota(path: string): Promise<void>;
  /** Begins to count anew; `busy` or `precondition` where that goes on already. */
  rescan(path: string): Promise<void>;
  /** The group of the subvolume, undefined where there is none. */
  qgroup(path: string, id: number): Promise<Qgroup | undefined>;
  /** `undefined` takes the limit away. */
  limit(path: string, id: number, maxReferencedBytes: number | undefined): Promise<void>;
  /** `precondition` while the subvolume is there; `not-found` where there is no such group. */
  removeQgroup(path: string, id: number): Promise<void>;
  /** Makes what was done so far survive a power cut, and writes no data of files. */
  commit(path: string): Promise<void>;
}

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** The root of every subvolume has this inode number. */
const ROOT_INODE = 256n;
const NAME_MAX = 255;
const EVERYTHING = 0xffff_ffff_ffff_ffffn;
const QUOTA_ENABLE = 1n;
const STATUS = { on: 1n, rescan: 2n, inconsistent: 4n, simple: 8n };

/** Sizes of struct btrfs_ioctl_get_subvol_info_args and struct btrfs_ioctl_quota_rescan_args. */
const SUBVOLUME_INFO_BYTES = 504;
const RESCAN_BYTES = 64;

type BtrfsSyscalls = Pick<Syscalls, "ioctl">;
type Ioctl = Syscalls["ioctl"];
type Wanted = Omit<wire.SearchKey, "offsets"> & Partial<Pick<wire.SearchKey, "offsets">>;

/** The real ones. */
export function createBtrfs({ ioctl }: BtrfsSyscalls): Btrfs {
  return { ...createSubvolumes(ioctl), ...createQuotas(ioctl) };
}

type Subvolumes = Pick<
  Btrfs,
  "createSubvolume" | "snapshot" | "subvolume" | "nested" | "destroySubvolume" | "exists" | "commit"
>;

function createSubvolumes(ioctl: Ioctl): Subvolumes {
  const { createSubvolume, snapshot, subvolumeInfo, destroySubvolume, startSync, waitSync } = wire.request;
  return {
    createSubvolume: (path) =>
      onDirectory("btrfs.create", dirname(path), path, (fd) =>
        ioctl(fd, createSubvolume, wire.volumeArguments(nameOf(path))),
      ),
    snapshot: (source, path, readOnly) =>
      onDirectory("btrfs.snapshot", source, path, (from) =>
        onDirectory("btrfs.snapshot", dirname(path), path, (fd) =>
          ioctl(fd, snapshot, wire.volumeArguments(nameOf(path), from, readOnly)),
        ),
      ),
    subvolume: (path) =>
      onDirectory("btrfs.subvolume", path, path, async (fd, handle) => {
        if ((await handle.stat({ bigint: true })).ino !== ROOT_INODE) return undefined;
        const bytes = new Uint8Array(SUBVOLUME_INFO_BYTES);
        await ioctl(fd, subvolumeInfo, bytes);
        return Number(wire.readNumber(bytes));
      }),
    nested: (path, id) =>
      onDirectory("btrfs.nested", path, path, async (fd) =>
        (await descendants(ioctl, fd, BigInt(id))).map(Number),
      ),
    destroySubvolume: (path, id) =>
      onDirectory("btrfs.destroy", path, path, (fd) =>
        ioctl(fd, destroySubvolume, wire.destroyArguments(BigInt(id))),
      ),
    exists: (path, id) =>
      onDirectory("btrfs.exists", path, path, async (fd) => {
        const key = { tree: wire.tree.roots, object: BigInt(id), type: wire.item.rootItem };
        return (await search(ioctl, fd, key)).length > 0;
      }),
    commit: (path) =>
      onDirectory("btrfs.commit", path, path, async (fd) => {
        const transaction = new Uint8Array(8);
        await ioctl(fd, startSync, transaction);
        await ioctl(fd, waitSync, transaction);
      }),
  };
}

function createQuotas(ioctl: Ioctl): Omit<Btrfs, keyof Subvolumes> {
  const { quotaControl, rescan, limitQgroup, changeQgroup } = wire.request;
  const quotaItem = async (fd: number, type: number, offset: bigint) =>
    (await search(ioctl, fd, { tree: wire.tree.quota, object: 0n, type, offsets: [offset, offset] }))[0];
  return {
    quotaState: (path) =>
      onDirectory("btrfs.state", path, path, async (fd) => {
        try {
          return toState(await quotaItem(fd, wire.item.qgroupStatus, 0n));
        } catch (error) {
          if (isKind(error, "not-found")) return toState(undefined); // no tree of quotas
          throw error;
        }
      }),
    enableQuota: (path) =>
      onDirectory("btrfs.enable", path, path, (fd) => ioctl(fd, quotaControl, wire.pair(QUOTA_ENABLE, 0n))),
    rescan: (path) =>
      onDirectory("btrfs.rescan", path, path, (fd) => ioctl(fd, rescan, new Uint8Array(RESCAN_BYTES))),
    qgroup: (path, id) =>
      onDirectory("btrfs.qgroup", path, path, async (fd) => {
        const info = await quotaItem(fd, wire.item.qgroupInfo, BigInt(id));
        const limit = await quotaItem(fd, wire.item.qgroupLimit, BigInt(id));
        return info && toQgroup(info.data, limit?.data);
      }),
    limit: (path, id, bytes) =>
      onDirectory("btrfs.limit", path, path, (fd) => {
        const max = bytes === undefined ? undefined : BigInt(bytes);
        return ioctl(fd, limitQgroup, wire.limitArguments(BigInt(id), max));
      }),
    removeQgroup: (path, id) =>
      onDirectory("btrfs.ungroup", path, path, (fd) => ioctl(fd, changeQgroup, wire.pair(0n, BigInt(id)))),
  };
}

/** One object's items of one type; an answer holds about 4 KiB, so the next begins after its last item. */
async function search(
  ioctl: Ioctl,
  fd: number,
  { tree, object, type, offsets = [0n, EVERYTHING] }: Wanted,
): Promise<wire.TreeItem[]> {
  const found: wire.TreeItem[] = [];
  for (let least = offsets[0]; ; ) {
    const bytes = wire.searchArguments({ tree, object, type, offsets: [least, offsets[1]] });
    await ioctl(fd, wire.request.treeSearch, bytes);
    const items = wire.readItems(bytes);
    found.push(...items);
    const last = items.at(-1);
    if (!last || last.offset >= offsets[1]) return found;
    least = last.offset + 1n;
  }
}

async function descendants(ioctl: Ioctl, fd: number, id: bigint): Promise<bigint[]> {
  const children = await search(ioctl, fd, { tree: wire.tree.roots, object: id, type: wire.item.rootRef });
  const all: bigint[] = [];
  for (const { offset } of children) all.push(...(await descendants(ioctl, fd, offset)), offset);
  return all;
}

function toState(status: wire.TreeItem | undefined): BtrfsQuotaState {
  const flags = status?.data.getBigUint64(16, true) ?? 0n;
  const has = (flag: bigint) => (flags & flag) !== 0n;
  if (!has(STATUS.on)) return { mode: "off", consistent: false, rescanning: false };
  return {
    mode: has(STATUS.simple) ? "simple" : "full",
    consistent: !has(STATUS.inconsistent),
    rescanning: has(STATUS.rescan),
  };
}

/** struct btrfs_qgroup_info_item and struct btrfs_qgroup_limit_item. */
function toQgroup(info: DataView, limit: DataView | undefined): Qgroup {
  const isLimited = limit !== undefined && (limit.getBigUint64(0, true) & 1n) !== 0n;
  return {
    referencedBytes: Number(info.getBigUint64(8, true)),
    exclusiveBytes: Number(info.getBigUint64(24, true)),
    maxReferencedBytes: isLimited ? Number(limit.getBigUint64(8, true)) : undefined,
  };
}

/** The last part of a path, for a structure that has room for so much. */
function nameOf(path: string): string {
  const name = basename(path);
  if (Buffer.byteLength(name) > NAME_MAX) throw errnoError("ENAMETOOLONG", "btrfs", path);
  return name;
}

/** Runs `use` on the open directory; every failure is about `subject`, not about a descriptor. */
async function onDirectory<T>(
  op: string,
  path: string,
  subject: string,
  use: (fd: number, handle: fs.FileHandle) => Promise<T>,
): Promise<T> {
  let handle: fs.FileHandle | undefined;
  try {
    handle = await fs.open(path, DIRECTORY);
    return await use(handle.fd, handle);
  } catch (error) {
    const known = fromNodeError(error, op, subject);
    if (known.kind === "bug" || known.op === op) throw known;
    const kind = known.message.endsWith("ENOTTY") ? "unsupported" : known.kind;
    const message = `${op} failed on ${subject}: ${known.message.split(": ").at(-1)}`;
    throw new TrivetError({ kind, op, subject, message, cause: known });
  } finally {
    await handle?.close();
  }
}
