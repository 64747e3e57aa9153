/** Whatever is no directory: files, links, pipes, sockets and device nodes. */
import type { BigIntStats } from "node:fs";
import { constants } from "node:fs";
import { fromNodeError } from "../errno.ts";
import { resolveFlags, showName } from "../syscall/openat.ts";
import { copyAttributes, copyXattrs } from "./attributes.ts";
import { copyContent } from "./content.ts";
import {
  below,
  chmod,
  close,
  errnoOf,
  fstat,
  lchown,
  MAKE_FILE,
  O_PATH,
  open,
  own,
  PRIVATE_FILE,
  READ_FILE,
  symlink,
  unless,
} from "./descriptor.ts";
import type { HardLinks } from "./hard-links.ts";
import type { CopyJob } from "./job.ts";

/** Every step of a tenant's tree: below the open directory, through no link, into no other mount. */
export const RESOLVE = Object.values(resolveFlags).reduce((all: number, flag) => all | flag, 0);
const NODE_BITS = BigInt(constants.S_IFMT) | 0o7777n;

/** Where an entry is, and where its copy goes. */
export interface Place {
  /** The open directory of the source. */
  readonly source: number;
  /** The open directory of the copy, which nobody else can reach. */
  readonly target: number;
  readonly name: Buffer;
}

/** A copy and what its entries share. */
export interface EntryContext {
  readonly job: CopyJob;
  readonly links: HardLinks;
}

/** Copies one entry; `directory` where it is one, which is left to the caller. */
export async function copyEntry(context: EntryContext, place: Place): Promise<"copied" | "directory"> {
  const { job } = context;
  job.check();
  try {
    const fd = await openEntry(job, place);
    if (fd === undefined) return "copied";
    try {
      const stat = await fstat(fd);
      if (stat.isDirectory()) return "directory";
      if (isDevice(stat) && !job.options.devices) {
        job.report.skippedDevices += 1;
        return "copied";
      }
      const path = below(place.target, place.name);
      const make = () => makeEntry(job, { ...place, fd, stat, path });
      // A name that is there already was seen twice: a file that was replaced while its directory was read.
      const made = stat.nlink > 1n ? context.links.place(stat, path, make) : make();
      await unless(["EEXIST"], made);
      job.progress({ entries: 1 });
      return "copied";
    } finally {
      await close(fd);
    }
  } catch (error) {
    throw fromNodeError(error, "copy.tree", showName(place.name));
  }
}

/** A descriptor that only names the entry: to open a device or a pipe by surprise would have effects. */
async function openEntry(
  { syscalls, report }: CopyJob,
  { source, name }: Place,
): Promise<number | undefined> {
  try {
    return await syscalls.openBelow(source, name, O_PATH | constants.O_NOFOLLOW, RESOLVE);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT") report.vanished += 1;
    else if (errno === "EXDEV") report.skippedMounts += 1;
    else throw error;
    return undefined;
  }
}

interface OpenEntry extends Place {
  readonly fd: number;
  readonly stat: BigIntStats;
  readonly path: Buffer;
}

async function makeEntry(job: CopyJob, entry: OpenEntry): Promise<void> {
  const { stat } = entry;
  if (stat.isFile()) return makeFile(job, entry);
  if (stat.isSymbolicLink()) {
    await symlink(await job.syscalls.readLinkOf(entry.fd), entry.path);
    return setAttributesBelow(job, entry);
  }
  await job.syscalls.makeNode(entry.target, entry.name, Number(stat.mode & NODE_BITS), stat.rdev);
  await setAttributesBelow(job, entry);
}

/** 0:0 is none: overlay file systems mark with it that a name was removed. */
function isDevice(stat: BigIntStats): boolean {
  return (stat.isCharacterDevice() && stat.rdev !== 0n) || stat.isBlockDevice();
}

async function makeFile(job: CopyJob, { fd, stat, path }: OpenEntry): Promise<void> {
  const from = await open(own(fd), READ_FILE);
  try {
    const to = await open(path, MAKE_FILE, PRIVATE_FILE);
    try {
      await copyContent(job, from, to, stat);
      await copyAttributes(job, from, to, stat);
    } catch (error) {
      await close(to);
      throw error;
    }
    await job.sync.add(to);
  } finally {
    await close(from);
  }
}

/** For what cannot be opened: it reaches the disk with its directory. */
async function setAttributesBelow(job: CopyJob, entry: OpenEntry): Promise<void> {
  const { stat, path, target, name, fd } = entry;
  await lchown(path, Number(stat.uid), Number(stat.gid));
  // After mknod(2), which obeys the umask. Nobody else can have put a link there: the copy's directory is private. Both
  // calls would follow one, so a link's own attributes are left out: no user can set any.
  if (!stat.isSymbolicLink()) {
    await chmod(path, Number(stat.mode & 0o7777n));
    await copyXattrs(job, own(fd), path);
  }
  await job.syscalls.setTimesBelow(target, name, { atimeNs: stat.atimeNs, mtimeNs: stat.mtimeNs });
}
