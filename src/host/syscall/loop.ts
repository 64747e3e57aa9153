/** The ioctls of loop devices (linux/loop.h), on open descriptors. What is attached to what is decided in `host/loop.ts`. */
import type { LibraryHandle } from "koffi";
import { asynchronous, requireInteger } from "./call.ts";

/** What a bound loop device shows, by LOOP_GET_STATUS64. */
export interface LoopStatus {
  /** The file by device and inode, as stat(2) gives them: a path may have been renamed since. */
  readonly dev: bigint;
  readonly ino: bigint;
  readonly offset: bigint;
  readonly sizeLimit: bigint;
  /** `LO_FLAGS_*`. */
  readonly flags: number;
}

/** All of them can wait for the disk, or for the lock of all loop devices, so they run on koffi's pool. */
export interface LoopCalls {
  /** LOOP_CTL_GET_FREE on /dev/loop-control: the number of a device that was free a moment ago. */
  freeLoop(controlFd: number): Promise<number>;
  /** LOOP_CTL_REMOVE: the device goes with all its settings; `precondition` while it is bound or open. */
  removeLoop(controlFd: number, number: number): Promise<void>;
  /** LOOP_CONFIGURE (Linux 5.8): everything in one step. `precondition` if somebody else took the device. */
  configureLoop(fd: number, backingFd: number, blockSize: number, flags: number): Promise<void>;
  /** LOOP_GET_STATUS64; `not-found` for a device that is not bound. */
  loopStatus(fd: number): Promise<LoopStatus>;
  /** LOOP_SET_STATUS64 with these flags and everything else as it is; only LO_FLAGS_AUTOCLEAR can change. */
  setLoopFlags(fd: number, flags: number): Promise<void>;
  /** LOOP_SET_CAPACITY: the device gets the present size of its file. */
  setLoopCapacity(fd: number): Promise<void>;
  /** LOOP_CLR_FD: the file is let go when the last descriptor of the device is closed. */
  clearLoop(fd: number): Promise<void>;
  /** mknod(2) of the block device 7:`minor`, for a /dev that has no node of it. */
  makeLoopNode(path: string, minor: number): Promise<void>;
}

/** LO_FLAGS_*. */
export const loopFlags = { readOnly: 1, autoClear: 4, directIo: 16 } as const;

const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_SET_CAPACITY = 0x4c07;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_REMOVE = 0x4c81;
const LOOP_CTL_GET_FREE = 0x4c82;
/** sizeof(struct loop_info64) and where its fields are. */
const INFO_BYTES = 232;
const INFO_FLAGS = 52;
/** sizeof(struct loop_config): two 32-bit numbers, a loop_info64, eight reserved 64-bit numbers. */
const CONFIG_BYTES = 304;
const LOOP_MAJOR = 7;
const S_IFBLK = 0o060000;
const NODE_MODE = S_IFBLK | 0o660;

/** Binds the calls. */
export function createLoopCalls(libc: LibraryHandle): LoopCalls {
  const ioctl = asynchronous(libc.func("ioctl", "int", ["int", "ulong", "_Inout_ uint8_t *"]), "loop ioctl");
  const control = asynchronous(libc.func("ioctl", "int", ["int", "ulong", "long"]), "loop control");
  const mknod = asynchronous(libc.func("int mknod(const char *path, uint mode, ulong dev)"), "mknod");
  const onLoop = (fd: number, request: number, buffer: Uint8Array | null) => {
    requireInteger("loop ioctl", { fd });
    return ioctl(`fd ${fd}`, fd, request, buffer);
  };
  const info = async (fd: number): Promise<Buffer> => {
    const buffer = Buffer.alloc(INFO_BYTES);
    await onLoop(fd, LOOP_GET_STATUS64, buffer);
    return buffer;
  };
  return {
    async freeLoop(controlFd) {
      requireInteger("loop control", { controlFd });
      return control("/dev/loop-control", controlFd, LOOP_CTL_GET_FREE, 0);
    },
    async removeLoop(controlFd, number) {
      requireInteger("loop control", { controlFd, number });
      await control(`loop${number}`, controlFd, LOOP_CTL_REMOVE, number);
    },
    async configureLoop(fd, backingFd, blockSize, flags) {
      requireInteger("loop ioctl", { backingFd, blockSize, flags });
      const config = Buffer.alloc(CONFIG_BYTES);
      new Uint32Array(config.buffer, config.byteOffset, 2).set([backingFd, blockSize]);
      new Uint32Array(config.buffer, config.byteOffset + 8 + INFO_FLAGS, 1).set([flags]);
      await onLoop(fd, LOOP_CONFIGURE, config);
    },
    async loopStatus(fd) {
      const buffer = await info(fd);
      const [dev = 0n, ino = 0n, , offset = 0n, sizeLimit = 0n] = new BigUint64Array(
        buffer.buffer,
        buffer.byteOffset,
        5,
      );
      const [flags = 0] = new Uint32Array(buffer.buffer, buffer.byteOffset + INFO_FLAGS, 1);
      return { dev, ino, offset, sizeLimit, flags };
    },
    async setLoopFlags(fd, flags) {
      requireInteger("loop ioctl", { flags });
      const buffer = await info(fd);
      new Uint32Array(buffer.buffer, buffer.byteOffset + INFO_FLAGS, 1).set([flags]);
      await onLoop(fd, LOOP_SET_STATUS64, buffer);
    },
    async setLoopCapacity(fd) {
      await onLoop(fd, LOOP_SET_CAPACITY, null);
    },
    async clearLoop(fd) {
      await onLoop(fd, LOOP_CLR_FD, null);
    },
    async makeLoopNode(path, minor) {
      requireInteger("mknod", { minor });
      // makedev(3): the low byte of the minor number, the major number, the rest of the minor number.
      const dev = (minor & 0xff) | (LOOP_MAJOR << 8) | ((minor & 0xfff00) << 12);
      await mknod(path, path, NODE_MODE, BigInt(dev >>> 0));
    },
  };
}
