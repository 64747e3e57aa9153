/** Mounting a file system where nobody sees it: fsopen(2), fsconfig(2) and fsmount(2), Linux 5.2. */
import type { LibraryHandle } from "koffi";
import { asynchronous, checked, requireInteger, requireText } from "./call.ts";

/** All of it may block on the disk. */
export interface DetachedMountCalls {
  /**
   * Mounts the file system of a block device nowhere, with options that have no value: the descriptor is its root
   * directory. Closing it unmounts, and so does the end of the process, however that comes.
   */
  mountDetached(fsType: string, device: string, options: readonly string[]): Promise<number>;
  /** close(2) of such a descriptor, which waits until all is written. */
  closeDetached(fd: number): Promise<void>;
}

// Numbers of calls that came after 5.1 are the same on every processor; glibc wraps them only from 2.36 on.
const SYS_FSOPEN = 430;
const SYS_FSCONFIG = 431;
const SYS_FSMOUNT = 432;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MOUNT_ATTR_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8;

/** Binds the calls. */
export function createDetachedMountCalls(libc: LibraryHandle): DetachedMountCalls {
  const fsopen = asynchronous(libc.func("syscall", "long", ["long", "const char *", "uint"]), "fsopen");
  const fsconfig = asynchronous(
    libc.func("syscall", "long", ["long", "int", "uint", "const char *", "const char *", "int"]),
    "fsconfig",
  );
  const fsmount = asynchronous(libc.func("syscall", "long", ["long", "int", "uint", "uint"]), "fsmount");
  const closeSync = libc.func("int close(int fd)");
  const close = asynchronous(closeSync, "close");
  return {
    async mountDetached(fsType, device, options) {
      requireText("fsopen", { fsType, device, options: options.join(",") });
      const context = await fsopen(device, SYS_FSOPEN, fsType, FSOPEN_CLOEXEC);
      try {
        await fsconfig(device, SYS_FSCONFIG, context, FSCONFIG_SET_STRING, "source", device, 0);
        for (const option of options) {
          await fsconfig(device, SYS_FSCONFIG, context, FSCONFIG_SET_FLAG, option, null, 0);
        }
        await fsconfig(device, SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, null, null, 0);
        return await fsmount(device, SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID_NODEV_NOEXEC);
      } finally {
        checked("close", `fd ${context}`, closeSync(context)); // the context; a mount that came of it stays
      }
    },
    async closeDetached(fd) {
      requireInteger("close", { fd });
      await close(`fd ${fd}`, fd);
    },
  };
}
