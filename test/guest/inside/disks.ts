/** Mounting the disks that the guest was given, with the options under test. */
import { mkdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createSyscalls } from "../../../src/host/syscall.ts";

export const syscalls = createSyscalls();

/** What the guest's disks are, in the order in which they are given to it. */
export const disks = {
  xfs: { device: "/dev/vdb", fsType: "xfs" },
  ext4: { device: "/dev/vdc", fsType: "ext4" },
  /** ext4 without the features that project quotas take. */
  plain: { device: "/dev/vdd", fsType: "ext4" },
  /** What the host has to say, as JSON with a newline at its end. */
  letter: { device: "/dev/vde", fsType: "" },
} as const;

/** One of the disks that can be mounted. */
export type DiskName = "xfs" | "ext4" | "plain";

/** Mounts the disk at `/mnt/NAME` and gives the path. */
export async function mountDisk(name: DiskName, data = "prjquota"): Promise<string> {
  const path = `/mnt/${name}`;
  mkdirSync(path, { recursive: true });
  const { device, fsType } = disks[name];
  await syscalls.mount(device, path, fsType, 0, data);
  return path;
}

/** Takes the disk away again. */
export async function unmountDisk(name: DiskName): Promise<void> {
  await syscalls.unmount(`/mnt/${name}`, 0);
}

/** Runs `use` in a new directory of the disk. */
export async function withDisk<T>(
  name: DiskName,
  data: string,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = await mountDisk(name, data);
  try {
    return await use(path);
  } finally {
    await unmountDisk(name);
  }
}

/** What the host wrote on the last disk. */
export function readLetter(): unknown {
  const text = readFileSync(disks.letter.device, "utf8");
  return JSON.parse(text.slice(0, text.indexOf("\n")));
}

let counter = 0;
/** A directory of its own for a case. */
export async function freshDirectory(below: string): Promise<string> {
  const path = `${below}/case-${++counter}`;
  await mkdir(path, { mode: 0o755 });
  return path;
}
