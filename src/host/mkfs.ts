/**
 * File systems within images: made, checked, opened where nobody sees them, made larger. Making and checking are done by
 * the tools of each file system, growing by one ioctl on the mounted one.
 */
import { constants, open } from "node:fs/promises";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { type Exec, execOrThrow } from "./exec.ts";
import type { ImageFsType } from "./image-content.ts";
import type { Syscalls } from "./syscall.ts";

/** What a new file system is to be. */
export interface MakeOptions {
  readonly fsType: ImageFsType;
  /** How many inodes there are to be; only ext4 has a fixed number. */
  readonly inodes?: number;
}

/** A file system that is mounted nowhere. It goes with `close`, and with the process. */
export interface OpenedFileSystem {
  /** Its root directory, for as long as it is open. */
  readonly path: string;
  close(): Promise<void>;
}

/** The tools and calls for file systems within images. Nothing that was made is on the disk before its image is synced. */
export interface ImageFileSystems {
  /** In a file that holds only zeroes; leaves what was reserved reserved. `not-found` where the tool is not installed. */
  make(image: string, options: MakeOptions): Promise<void>;
  /** Repairs what can be repaired without asking; `precondition`, with what to do, where that is not enough. */
  repair(image: string, fsType: ImageFsType): Promise<void>;
  /** Gives it an identity of its own: it was copied with that of another. It must be clean and not mounted. */
  renew(image: string, fsType: ImageFsType): Promise<void>;
  open(device: string, fsType: ImageFsType): Promise<OpenedFileSystem>;
  /**
   * Makes it as large as its device, of `sizeBytes`; `mountPoint` is any directory of it. Repeatable. `precondition` where
   * the kernel does that only for a file system that is not mounted.
   */
  grow(mountPoint: string, fsType: ImageFsType, sizeBytes: number): Promise<void>;
  /** The same for an image that is attached nowhere, by checking all of it first. Only ext4 needs it, and has it. */
  growUnmounted(image: string): Promise<void>;
}

/** What the tools make is the same on every pool and every kernel: nothing is left to a local configuration. */
const BLOCK_BYTES = 4096;
const MAKE_TIMEOUT_MS = 60_000;
/** A check reads all metadata. It goes on when the kubelet has given up waiting, which asks again. */
const REPAIR_TIMEOUT_MS = 15 * 60_000;
// _IOW('f', 16, __u64), _IOR('X', 126, struct xfs_fsop_geom), _IOW('X', 110, struct xfs_growfs_data),
// _IOW(0x94, 3, struct btrfs_ioctl_vol_args)
const EXT4_IOC_RESIZE_FS = 0x4008_6610;
const XFS_IOC_FSGEOMETRY = 0x8100_587e;
const XFS_IOC_FSGROWFSDATA = 0x4010_586e;
const BTRFS_IOC_RESIZE = 0x5000_9403;

type MkfsSyscalls = Pick<Syscalls, "mountDetached" | "closeDetached" | "ioctl">;

/** The real ones. */
export function createImageFileSystems(exec: Exec, syscalls: MkfsSyscalls): ImageFileSystems {
  return {
    async make(image, options) {
      await execOrThrow(exec, makeCommand(image, options), { timeoutMs: MAKE_TIMEOUT_MS });
    },
    async repair(image, fsType) {
      // XFS and btrfs replay their journals when they are mounted, and need nothing before.
      if (fsType === "ext4") await repairExt4(exec, image);
    },
    async renew(image, fsType) {
      await execOrThrow(exec, renewCommand(image, fsType), { timeoutMs: MAKE_TIMEOUT_MS });
    },
    async open(device, fsType) {
      const fd = await syscalls.mountDetached(fsType, device, mountFlags[fsType]);
      // With a dot: some calls would take the link itself, and not the directory that it leads to.
      return { path: `/proc/self/fd/${fd}/.`, close: () => syscalls.closeDetached(fd) };
    },
    grow: (mountPoint, fsType, sizeBytes) =>
      withDirectory(mountPoint, (fd) => growers[fsType](syscalls, fd, Math.floor(sizeBytes / BLOCK_BYTES))),
    async growUnmounted(image) {
      await repairExt4(exec, image, ["-f"]);
      await execOrThrow(exec, ["resize2fs", image], { timeoutMs: REPAIR_TIMEOUT_MS });
    },
  };
}

/** A copy has the id of its original, which may be mounted, until it gets its own. */
const mountFlags: Readonly<Record<ImageFsType, readonly string[]>> = { ext4: [], xfs: ["nouuid"], btrfs: [] };

type Command = readonly [string, ...string[]];

function makeCommand(image: string, { fsType, inodes }: MakeOptions): Command {
  if (fsType === "ext4") {
    // The image reads as zero already: neither the tool nor, for minutes after the first mount, the kernel is to write
    // that again. A seed of its own for the checksums lets a copy get another id without being written anew.
    const extended = "nodiscard,assume_storage_prezeroed=1,lazy_itable_init=0,lazy_journal_init=0";
    const count = inodes === undefined ? [] : ["-N", String(inodes)];
    const how = ["-q", "-F", "-b", String(BLOCK_BYTES), "-m", "0", "-e", "remount-ro"];
    return ["mkfs.ext4", ...how, "-O", "metadata_csum_seed", "-E", extended, ...count, image];
  }
  if (fsType === "xfs") return ["mkfs.xfs", "-q", "-f", "-K", "-s", `size=${BLOCK_BYTES}`, image];
  // Two copies of its metadata on one image would protect from nothing, and take space.
  return ["mkfs.btrfs", "-q", "-f", "-K", "-s", String(BLOCK_BYTES), "-m", "single", "-d", "single", image];
}

function renewCommand(image: string, fsType: ImageFsType): Command {
  if (fsType === "ext4") return ["tune2fs", "-f", "-U", "random", image];
  if (fsType === "xfs") return ["xfs_db", "-x", "-f", "-c", "uuid generate", image];
  return ["btrfstune", "-f", "-m", image];
}

/** e2fsck(8): 1 and 2 say that everything is repaired; 4 and more, that it is not. */
async function repairExt4(exec: Exec, image: string, more: readonly string[] = []): Promise<void> {
  const command: Command = ["e2fsck", "-p", ...more, image];
  const { exitCode, stdout, stderr } = await exec(command, { timeoutMs: REPAIR_TIMEOUT_MS });
  if (exitCode < 4) return;
  const said = (stderr || stdout).trim().split("\n").at(-1) ?? "";
  throw new TrivetError({
    ...{ kind: "precondition", op: "fs.repair", subject: image },
    message: `the file system in ${image} is damaged: run "e2fsck ${image}" on the node (e2fsck ended with ${exitCode}: ${said})`,
  });
}

type Grow = (syscalls: MkfsSyscalls, fd: number, blocks: number) => Promise<void>;

const growers: Readonly<Record<ImageFsType, Grow>> = {
  async ext4(syscalls, fd, blocks) {
    const request = Buffer.alloc(8);
    request.writeBigUInt64LE(BigInt(blocks));
    await syscalls.ioctl(fd, EXT4_IOC_RESIZE_FS, request).catch((error) => {
      throw error instanceof TrivetError && error.message.endsWith(": EPERM") ? notMounted(error) : error;
    });
  },
  async xfs(syscalls, fd, blocks) {
    const geometry = Buffer.alloc(256);
    await syscalls.ioctl(fd, XFS_IOC_FSGEOMETRY, geometry);
    if (geometry.readBigUInt64LE(32) >= BigInt(blocks)) return; // the same size is an error to it
    const request = Buffer.alloc(16);
    request.writeBigUInt64LE(BigInt(blocks));
    request.writeUInt32LE(geometry.readUInt32LE(28), 8); // the share that inodes may have stays
    await syscalls.ioctl(fd, XFS_IOC_FSGROWFSDATA, request);
  },
  async btrfs(syscalls, fd) {
    const request = Buffer.alloc(4096);
    request.write("1:max", 8);
    await syscalls.ioctl(fd, BTRFS_IOC_RESIZE, request);
  },
};

function notMounted(cause: TrivetError): TrivetError {
  const message =
    "ext4 grows while it is mounted only for a process with CAP_SYS_RESOURCE, and without errors: it will grow when it is unmounted and attached again";
  return new TrivetError({ kind: "precondition", op: "fs.grow", subject: "ext4", message, cause });
}

async function withDirectory(path: string, act: (fd: number) => Promise<void>): Promise<void> {
  try {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await act(directory.fd);
    } finally {
      await directory.close();
    }
  } catch (error) {
    throw fromNodeError(error, "fs", path);
  }
}
