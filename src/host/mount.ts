/**
 * Bind mounts and the mount table. A bind mount appears with all its flags in one step (open_tree, mount_setattr,
 * move_mount): there is no moment at which a read-only one can be written, and a crash leaves all of it or nothing.
 * Must not decide what is mounted where, nor unmount more than it is told to.
 */
import { fromNodeError } from "./errno.ts";
import { createMountInfoReader } from "./mount-info-reader.ts";
import { findMountUsers } from "./mount-users.ts";
import type { Syscalls } from "./syscall.ts";

/** Flags that a bind mount can carry beyond those of the mount that it shows. */
export const bindFlags = ["nosuid", "nodev", "noexec", "noatime", "nodiratime"] as const;
/** One of `bindFlags`. */
export type BindFlag = (typeof bindFlags)[number];

/** What a bind mount gets beyond what its source has; flags of the source stay. */
export interface BindOptions {
  readonly readOnly: boolean;
  readonly flags: readonly BindFlag[];
}

/** What the mount of a file system gets; `flags` and `readOnly` are of this mount, not of the file system. */
export interface DeviceMountOptions extends BindOptions {
  readonly fsType: string;
}

/** One line of /proc/self/mountinfo (proc(5)), with its octal escapes undone. */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  /** `major:minor` of the file system. */
  readonly device: string;
  /** The directory within the file system that is mounted: `/` unless it is a bind mount or a subvolume. */
  readonly root: string;
  readonly mountPoint: string;
  /** Options of this mount: `rw`, `nosuid`, `relatime` and so on. */
  readonly options: readonly string[];
  readonly fsType: string;
  readonly source: string;
  /** Options of the file system, whichever mount shows it: `ro` where it is read-only for all of them. */
  readonly superOptions: readonly string[];
}

/** Mounts of this process's mount namespace. */
export interface Mounts {
  /**
   * Shows the directory `source`, without what is mounted below it, at the existing directory `target`; or the file or
   * device node `source` at the existing file `target`.
   */
  bind(source: string, target: string, options: BindOptions): Promise<void>;
  /** Mounts the file system of a block device at the existing directory `target`, with all flags at once. */
  mountDevice(device: string, target: string, options: DeviceMountOptions): Promise<void>;
  /** Takes away the topmost mount at exactly `target`; `precondition` while it is in use, `io` if none is there. */
  unmount(target: string): Promise<void>;
  /** Who keeps the mount at `target` busy, for people: `mount /x/y` and `process 17 (postgres)`; at most a few. */
  users(target: string): Promise<readonly string[]>;
  /** The mount table of this process, in the order in which the kernel lists it: a later mount lies over an earlier. */
  list(): Promise<readonly MountInfo[]>;
}

// linux/mount.h
const MOUNT_ATTR_RDONLY = 0x1;
const MOUNT_ATTR__ATIME = 0x70;
const UMOUNT_NOFOLLOW = 8;
const MS_RDONLY = 1;
const mountFlagOf: Readonly<Record<BindFlag, number>> = {
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x400,
  nodiratime: 0x800,
};
/** A copy of a volume has the id of the file system that it was made from: XFS mounts no two of one id without this. */
const dataOf: Readonly<Record<string, string>> = { xfs: "nouuid" };

const attributeOf: Readonly<Record<BindFlag, number>> = {
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x10,
  nodiratime: 0x80,
};

type MountSyscalls = Pick<
  Syscalls,
  "cloneMount" | "setMountAttributes" | "attachMount" | "unmount" | "close" | "mount"
>;

/** The real ones. `mountInfoPath` is another for tests of the parser only. */
export function createMounts(syscalls: MountSyscalls, mountInfoPath = "/proc/self/mountinfo"): Mounts {
  const parse = createMountInfoParser();
  const reader = createMountInfoReader(mountInfoPath);
  return {
    async bind(source, target, { readOnly, flags }) {
      const set = flags.reduce((bits, flag) => bits | attributeOf[flag], readOnly ? MOUNT_ATTR_RDONLY : 0);
      // The access-time modes are one field, not bits: the kernel wants it cleared whenever it is set.
      const clear = flags.includes("noatime") ? MOUNT_ATTR__ATIME : 0;
      const fd = await syscalls.cloneMount(source);
      try {
        if (set !== 0) await syscalls.setMountAttributes(fd, set, clear);
        await syscalls.attachMount(fd, target);
      } finally {
        syscalls.close(fd);
      }
    },
    mountDevice(device, target, { fsType, readOnly, flags }) {
      const bits = flags.reduce((set, flag) => set | mountFlagOf[flag], readOnly ? MS_RDONLY : 0);
      return syscalls.mount(device, target, fsType, bits, dataOf[fsType] ?? "");
    },
    unmount: (target) => syscalls.unmount(target, UMOUNT_NOFOLLOW),
    users: (target) => findMountUsers(target, parseMountInfo),
    async list() {
      try {
        return parse(await reader());
      } catch (error) {
        throw fromNodeError(error, "mount.list", mountInfoPath);
      }
    },
  };
}

/** The table of a busy node has a thousand lines, of which few change between two looks: the others are kept. */
function createMountInfoParser(): (text: string) => readonly MountInfo[] {
  let last: { readonly text: string; readonly table: readonly MountInfo[] } = { text: "", table: [] };
  let known = new Map<string, MountInfo>();
  return (text) => {
    if (text === last.text) return last.table;
    const lines = new Map<string, MountInfo>();
    for (const line of text.split("\n")) {
      const mount = known.get(line) ?? parseLine(line);
      if (mount) lines.set(line, mount);
    }
    known = lines;
    last = { text, table: [...lines.values()] };
    return last.table;
  };
}

/** The lines of a mountinfo file. A line that is not one is left out: the kernel may add, it does not change. */
export function parseMountInfo(text: string): MountInfo[] {
  return text.split("\n").flatMap((line) => parseLine(line) ?? []);
}

function parseLine(line: string): MountInfo | undefined {
  const fields = line.split(" ");
  const [id, parentId, device, root, mountPoint, options] = fields;
  const [fsType, source, superOptions = ""] = fields.slice(fields.indexOf("-", 6) + 1);
  if (!id || !parentId || !device || !root || !mountPoint || !options || !fsType) return undefined;
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    options: options.split(","),
    fsType: unescapeOctal(fsType),
    source: unescapeOctal(source ?? ""),
    superOptions: superOptions.split(","),
  };
}

/** The kernel writes blank, tab, newline and backslash as `\040` and so on, byte by byte. */
function unescapeOctal(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
