/**
 * `Mounts` in memory. With fake files beside it, a mount point cannot be removed (EBUSY), as on Linux; what is
 * below a mount point is not shown through it. A power cut takes every mount, a killed process none.
 */
import { posix } from "node:path";
import { TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { Files } from "../../src/host/files.ts";
import type { BindOptions, DeviceMountOptions, MountInfo, Mounts } from "../../src/host/mount.ts";
import type { FakeFiles } from "./files.ts";

export type MountOp = "mount.list" | "open_tree" | "move_mount" | "mount" | "umount2";

export interface FakeMountsOptions {
  /** Where sources and targets are looked up; the real ones work too. */
  readonly files: Pick<Files, "stat" | "realPath">;
  /** Set where the files are fake as well, so that a mount point is busy. */
  readonly busy?: Pick<FakeFiles, "setDevice">;
}

export interface FakeMounts extends Mounts {
  onEffect: ((op: MountOp, path: string, when: "before" | "after") => void) | undefined;
  /** From now on every effect fails: the process was killed. */
  halt(): void;
  /** Another process on the same host, with these files: the mounts are still there unless the power was cut. */
  restart(options: FakeMountsOptions, powerCut: boolean): FakeMounts;
  /** Puts a line into the table that nobody asked for: a file system mounted over a target, or a pool's own. */
  add(mount: Partial<MountInfo> & Pick<MountInfo, "mountPoint">): void;
}

const ROOT: MountInfo = {
  ...{ id: 1, parentId: 0, device: "8:1", root: "/", mountPoint: "/", options: ["rw", "relatime"] },
  ...{ fsType: "ext4", source: "/dev/sda1", superOptions: ["rw"] },
};

const inheritable = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];
const MOUNTED_DEVICE = 77n;

export function createFakeMounts(options: FakeMountsOptions): FakeMounts {
  return createTable(options, [ROOT]);
}

function createTable(options: FakeMountsOptions, initial: readonly MountInfo[]): FakeMounts {
  const table = [...initial];
  let nextId = table.length + 1;
  let halted = false;
  const own = async <T>(op: MountOp, path: string, act: () => T | Promise<T>): Promise<T> => {
    const refuse = () => {
      if (halted) throw new TrivetError({ kind: "cancelled", op, subject: path, message: "killed" });
    };
    refuse();
    fake.onEffect?.(op, path, "before");
    refuse();
    const result = await act();
    fake.onEffect?.(op, path, "after");
    refuse();
    return result;
  };
  const fake: FakeMounts = {
    onEffect: undefined,
    halt() {
      halted = true;
    },
    restart(next, powerCut) {
      halted = true;
      if (!powerCut) return createTable(next, table);
      for (const { mountPoint } of table.slice(1)) {
        try {
          next.busy?.setDevice(mountPoint, 1n);
        } catch {
          // The mount point went with the power.
        }
      }
      return createTable(next, [ROOT]);
    },
    add: (mount) => void table.push({ ...ROOT, id: nextId++, parentId: 1, ...mount }),
    list: () => own("mount.list", "/proc/self/mountinfo", () => [...table]),
    bind: (source, target, wanted) =>
      own("move_mount", target, async () => {
        const line = await describe(options.files, table, { source, target, wanted });
        options.busy?.setDevice(target, MOUNTED_DEVICE);
        table.push({ ...line, id: nextId++ });
      }),
    mountDevice: (device, target, wanted) =>
      own("mount", target, async () => {
        const line = await describeDevice(options.files, { device, target, wanted });
        options.busy?.setDevice(target, MOUNTED_DEVICE);
        table.push({ ...line, id: nextId++ });
      }),
    users: async (target) =>
      table
        .filter(({ mountPoint }) => mountPoint.startsWith(`${target}/`))
        .map(({ mountPoint }) => `mount ${mountPoint}`),
    unmount: (target) =>
      own("umount2", target, () => {
        const at = table.findLastIndex(({ mountPoint }) => mountPoint === target);
        if (at < 1) throw errnoError("EINVAL", "umount2", target);
        if (table.some(({ mountPoint }) => mountPoint.startsWith(`${target}/`))) {
          throw errnoError("EBUSY", "umount2", target);
        }
        table.splice(at, 1);
        if (!table.some(({ mountPoint }) => mountPoint === target)) options.busy?.setDevice(target, 1n);
      }),
  };
  return fake;
}

interface Bind {
  readonly source: string;
  readonly target: string;
  readonly wanted: BindOptions;
}

async function describe(
  files: Pick<Files, "stat" | "realPath">,
  table: readonly MountInfo[],
  { source, target, wanted }: Bind,
): Promise<MountInfo> {
  const isShown = await isDirectory(files, "open_tree", source);
  // What is no directory is shown at what is none (mount(2)).
  if ((await isDirectory(files, "move_mount", target)) !== isShown) {
    throw errnoError("ENOTDIR", "move_mount", target);
  }
  const real = await files.realPath(source);
  const holds = ({ mountPoint }: MountInfo) => mountPoint === "/" || `${real}/`.startsWith(`${mountPoint}/`);
  const holder = table
    .filter(holds)
    .reduce((a, b) => (b.mountPoint.length >= a.mountPoint.length ? b : a), ROOT);
  const inherited = holder.options.filter((option) => inheritable.includes(option));
  const options = optionsOf(wanted, inherited);
  const root = posix.join(holder.root, posix.relative(holder.mountPoint, real));
  return { ...holder, parentId: holder.id, root, mountPoint: await files.realPath(target), options };
}

interface DeviceMount {
  readonly device: string;
  readonly target: string;
  readonly wanted: DeviceMountOptions;
}

async function describeDevice(
  files: Pick<Files, "stat" | "realPath">,
  { device, target, wanted }: DeviceMount,
): Promise<MountInfo> {
  await isDirectory(files, "mount", device);
  if (!(await isDirectory(files, "mount", target))) throw errnoError("ENOTDIR", "mount", target);
  const minor = /(\d+)$/.exec(device)?.[1] ?? "0";
  return {
    ...{
      id: 0,
      parentId: ROOT.id,
      device: `7:${minor}`,
      root: "/",
      mountPoint: await files.realPath(target),
    },
    ...{ options: optionsOf(wanted, []), superOptions: ["rw"], fsType: wanted.fsType, source: device },
  };
}

async function isDirectory(files: Pick<Files, "stat">, op: MountOp, path: string): Promise<boolean> {
  const { kind } = await files.stat(path).catch(() => {
    throw errnoError("ENOENT", op, path);
  });
  return kind === "directory";
}

function optionsOf(wanted: BindOptions, inherited: readonly string[]): string[] {
  const flags = new Set([...inherited, ...wanted.flags, ...(wanted.readOnly ? ["ro"] : [])]);
  return [
    flags.has("ro") ? "ro" : "rw",
    ...inheritable.slice(1).filter((flag) => flags.has(flag)),
    ...(flags.has("noatime") ? [] : ["relatime"]),
  ];
}
