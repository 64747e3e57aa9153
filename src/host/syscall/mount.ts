/** Mounting: mount(2) and umount2(2), and the calls of Linux 5.12 that attach a mount with all its flags at once. */
import type { LibraryHandle } from "koffi";
import { asynchronous, requireInteger, requireText } from "./call.ts";

/** All of them may block on a slow disk, so they run on koffi's pool. */
export interface MountCalls {
  /** mount(2). May block on a slow disk, so it runs on koffi's pool. */
  mount(source: string, target: string, fsType: string, flags: number, data: string): Promise<void>;
  /**
   * open_tree(2) with OPEN_TREE_CLONE: a copy of the mount of `path`, attached nowhere yet; a final symbolic link is
   * refused by the caller's later steps, never followed. Gives a descriptor, which closing drops the copy with.
   */
  cloneMount(path: string): Promise<number>;
  /** mount_setattr(2) on such a descriptor: MOUNT_ATTR_* bits to set and to clear. */
  setMountAttributes(fd: number, set: number, clear: number): Promise<void>;
  /** move_mount(2): attaches the copy at `target`, all attributes included, in one step. */
  attachMount(fd: number, target: string): Promise<void>;
  /** umount2(2). May block. */
  unmount(target: string, flags: number): Promise<void>;
}

// Numbers of calls that came after 5.1 are the same on every processor; glibc wraps them only from 2.36 on.
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_MOUNT_SETATTR = 442;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
/** sizeof(struct mount_attr): four 64-bit numbers. */
const MOUNT_ATTR_BYTES = 32;

/** Binds the calls. */
export function createMountCalls(libc: LibraryHandle): MountCalls {
  const openTree = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const char *", "uint"]),
    "open_tree",
  );
  const moveMount = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const char *", "int", "const char *", "uint"]),
    "move_mount",
  );
  const setAttributes = asynchronous(
    libc.func("syscall", "long", ["long", "int", "const char *", "uint", "const uint8_t *", "size_t"]),
    "mount_setattr",
  );
  const mount = asynchronous(
    libc.func(
      "int mount(const char *source, const char *target, const char *type, ulong flags, const char *data)",
    ),
    "mount",
  );
  const unmount = asynchronous(libc.func("int umount2(const char *target, int flags)"), "umount2");
  return {
    async mount(source, target, fsType, flags, data) {
      requireText("mount", { source, target, fsType, data });
      requireInteger("mount", { flags });
      await mount(target, source, target, fsType, flags, data);
    },
    async unmount(target, flags) {
      requireText("umount2", { target });
      requireInteger("umount2", { flags });
      await unmount(target, target, flags);
    },
    cloneMount(path) {
      requireText("open_tree", { path });
      const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
      return openTree(path, SYS_OPEN_TREE, AT_FDCWD, path, flags);
    },
    async setMountAttributes(fd, set, clear) {
      requireInteger("mount_setattr", { fd, set, clear });
      const attributes = Buffer.alloc(MOUNT_ATTR_BYTES); // propagation and the user namespace stay as they are
      new BigUint64Array(attributes.buffer, attributes.byteOffset, 2).set([BigInt(set), BigInt(clear)]);
      await setAttributes(`fd ${fd}`, SYS_MOUNT_SETATTR, fd, "", AT_EMPTY_PATH, attributes, MOUNT_ATTR_BYTES);
    },
    async attachMount(fd, target) {
      requireText("move_mount", { target });
      requireInteger("move_mount", { fd });
      await moveMount(target, SYS_MOVE_MOUNT, fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    },
  };
}
