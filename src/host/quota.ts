/**
 * Project quotas of XFS and ext4: which project a directory belongs to, what a project may use, and what it uses. All
 * of it goes through descriptors that follow no symbolic link, and needs no device path. Must not decide which ids are
 * used; and a limit that was set is not always in force (see `state`), so callers read back what statfs says.
 */
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import { isKind, TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { type ProjectSample, sampleProjects } from "./project-sample.ts";
import { quotaStructureBytes } from "./syscall/quota.ts";
import type { Syscalls } from "./syscall.ts";

/** The project that an inode counts for. */
export interface Project {
  /** 0 is nobody's. */
  readonly id: number;
  /** Whether what is made in the directory gets the same project, and statfs in it shows the project's limits. */
  readonly inherit: boolean;
}

/** Hard limits; 0 is none. */
export interface ProjectLimits {
  readonly bytes: number;
  readonly inodes: number;
}

/** Limits, and what the project's inodes hold, the directories among them included. */
export interface ProjectQuotaReading extends ProjectLimits {
  readonly usedBytes: number;
  readonly usedInodes: number;
}

/** What the file system does with project quotas at present. */
export interface ProjectQuotaState {
  readonly accounting: boolean;
  /** ext4 mounted without `prjquota` takes limits, counts, and lets everybody write on: then this is false. */
  readonly enforced: boolean;
}

/** Quotas of the file system that a path lies on. Every path is an existing directory and no symbolic link. */
export interface ProjectQuota {
  /** `unsupported` where the file system has no projects. */
  project(path: string): Promise<Project>;
  /** What is in the directory already keeps its project. */
  setProject(path: string, project: Project): Promise<void>;
  /** A project that nobody ever used reads as zeros. `not-found` where quotas are off. */
  read(path: string, id: number): Promise<ProjectQuotaReading>;
  /** `bytes` is rounded up to the kernel's unit of 1 KiB. `not-found` where quotas are off. */
  setLimits(path: string, id: number, limits: ProjectLimits): Promise<void>;
  /** `unsupported` where the kernel or the file system knows no quotas. */
  state(path: string): Promise<ProjectQuotaState>;
  /** Looks at no more than `most` inodes below the directory, wherever chance leads. */
  sample(path: string, most: number): Promise<ProjectSample>;
}

// linux/fs.h: struct fsxattr is 28 bytes, its first field the flags and its fourth the project.
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FSXATTR_BYTES = 28;
const XFLAGS_AT = 0;
const PROJECT_AT = 12;
const FS_XFLAG_PROJINHERIT = 0x200;
// linux/quota.h: struct if_dqblk is eight 64-bit numbers and the mask of those that are meant.
const LIMITS_VALID = 0b101;
const VALID_AT = 64;
const BLOCK_BYTES = 1024;
// linux/dqblk_xfs.h: struct fs_quota_statv.
const STATV_VERSION = 1;
const STATV_FLAGS_AT = 2;
const FS_QUOTA_PDQ_ACCT = 1 << 4;
const FS_QUOTA_PDQ_ENFD = 1 << 5;

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

type QuotaSyscalls = Pick<Syscalls, "ioctl" | "quotactl">;

/** The real ones. */
export function createProjectQuota(syscalls: QuotaSyscalls): ProjectQuota {
  const attributes = async (fd: number): Promise<DataView> => {
    const view = new DataView(new ArrayBuffer(FSXATTR_BYTES));
    await syscalls.ioctl(fd, FS_IOC_FSGETXATTR, bytesOf(view));
    return view;
  };
  const projectOf = async (fd: number) => toProject(await attributes(fd));
  const stateOf = async (fd: number): Promise<ProjectQuotaState> => {
    const view = structure("state");
    view.setInt8(0, STATV_VERSION);
    await syscalls.quotactl(fd, "state", 0, bytesOf(view));
    const flags = view.getUint16(STATV_FLAGS_AT, little);
    return { accounting: (flags & FS_QUOTA_PDQ_ACCT) !== 0, enforced: (flags & FS_QUOTA_PDQ_ENFD) !== 0 };
  };
  return {
    project: (path) => onDirectory("quota.project", path, projectOf),
    setProject: (path, { id, inherit }) =>
      onDirectory("quota.assign", path, async (fd) => {
        const view = await attributes(fd);
        const flags = view.getUint32(XFLAGS_AT, little);
        view.setUint32(PROJECT_AT, requireProject(id), little);
        view.setUint32(
          XFLAGS_AT,
          inherit ? flags | FS_XFLAG_PROJINHERIT : flags & ~FS_XFLAG_PROJINHERIT,
          little,
        );
        await syscalls.ioctl(fd, FS_IOC_FSSETXATTR, bytesOf(view));
      }),
    read: (path, id) =>
      onDirectory("quota.read", path, async (fd) => {
        const view = structure("get");
        try {
          await syscalls.quotactl(fd, "get", requireProject(id), bytesOf(view));
        } catch (error) {
          // XFS has nothing to read for a project that was never used, and says so as if it had no quotas.
          if (!isKind(error, "not-found") || !(await stateOf(fd)).accounting) throw error;
        }
        return toReading(view);
      }),
    setLimits: (path, id, limits) =>
      onDirectory("quota.limit", path, async (fd) => {
        await syscalls.quotactl(fd, "set", requireProject(id), bytesOf(fromLimits(limits)));
      }),
    state: (path) => onDirectory("quota.state", path, stateOf),
    sample: (path, most) => onDirectory("quota.sample", path, (fd) => sampleProjects(fd, most, projectOf)),
  };
}

/** Both processors that we run on are little endian. */
const little = true;

function structure(command: "get" | "set" | "state"): DataView {
  return new DataView(new ArrayBuffer(quotaStructureBytes(command)));
}

function bytesOf({ buffer }: DataView): Uint8Array {
  return new Uint8Array(buffer);
}

function toProject(view: DataView): Project {
  return {
    id: view.getUint32(PROJECT_AT, little),
    inherit: (view.getUint32(XFLAGS_AT, little) & FS_XFLAG_PROJINHERIT) !== 0,
  };
}

function toReading(view: DataView): ProjectQuotaReading {
  const number = (index: number) => Number(view.getBigUint64(index * 8, little));
  return { bytes: number(0) * BLOCK_BYTES, usedBytes: number(2), inodes: number(3), usedInodes: number(5) };
}

function fromLimits({ bytes, inodes }: ProjectLimits): DataView {
  for (const value of [bytes, inodes]) {
    if (!Number.isSafeInteger(value) || value < 0)
      throw bug("quota.limit", `${bytes} bytes, ${inodes} inodes`);
  }
  const view = structure("set");
  view.setBigUint64(0, BigInt(Math.ceil(bytes / BLOCK_BYTES)), little);
  view.setBigUint64(24, BigInt(inodes), little);
  view.setUint32(VALID_AT, LIMITS_VALID, little);
  return view;
}

/** The highest number stands for "no project" in the kernel. */
function requireProject(id: number): number {
  if (Number.isInteger(id) && id >= 0 && id < 0xffff_ffff) return id;
  throw bug("quota", `project ${id}`);
}

function bug(op: string, what: string): TrivetError {
  return new TrivetError({ kind: "bug", op, subject: what, message: `${op}: ${what} cannot be meant` });
}

/** Runs `use` on the open directory; every failure names the path in place of the descriptor. */
async function onDirectory<T>(op: string, path: string, use: (fd: number) => Promise<T>): Promise<T> {
  let handle: fs.FileHandle | undefined;
  try {
    handle = await fs.open(path, DIRECTORY);
    return await use(handle.fd);
  } catch (error) {
    const known = fromNodeError(error, op, path);
    if (known.kind === "bug") throw known;
    const message = `${op} failed on ${path}: ${known.message.split(": ").at(-1)}`;
    throw new TrivetError({ kind: known.kind, op, subject: path, message, cause: known });
  } finally {
    await handle?.close();
  }
}
