/** Image volumes on real disks: a pool directory, the backend with its real effects, and what is looked at from outside. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { type FileHandle, mkdir, mkdtemp, open, rm, rmdir, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { PlacedVolume, VolumeSource } from "../../../src/csi/backend/backend.ts";
import type { ImageDeps } from "../../../src/csi/backend/image/content.ts";
import { createImageBackend } from "../../../src/csi/backend/image.ts";
import { parseVolumeId } from "../../../src/csi/volume/id.ts";
import type { VolumeRecord } from "../../../src/csi/volume/record.ts";
import { createCopier } from "../../../src/host/copy-tree.ts";
import { createExec } from "../../../src/host/exec.ts";
import { createFiles } from "../../../src/host/files.ts";
import { createFreezer } from "../../../src/host/freeze.ts";
import { createImageFiles } from "../../../src/host/image-file.ts";
import { createLoops } from "../../../src/host/loop.ts";
import { createImageFileSystems } from "../../../src/host/mkfs.ts";
import { createMounts } from "../../../src/host/mount.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { silentLog } from "../../../src/observe/log.ts";

export const MIB = 2 ** 20;
const PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin";
const syscalls = createSyscalls();
const runFile = promisify(execFile);

/** Runs a program to its end; throws if it fails. */
export const run = async (program: string, ...args: string[]): Promise<string> =>
  (await runFile(program, args, { env: { PATH: PROGRAMS, LC_ALL: "C" } })).stdout;

/** The real effects. */
export function realImageDeps(): ImageDeps {
  return {
    files: createFiles(syscalls),
    mounts: createMounts(syscalls),
    loops: createLoops(syscalls),
    images: createImageFiles(syscalls),
    imageFileSystems: createImageFileSystems(createExec(PROGRAMS, syscalls), syscalls),
    copier: createCopier(syscalls),
    freezer: createFreezer(syscalls, { path: PROGRAMS }),
  };
}

/** A pool directory on a disk of its own, or on that of /tmp. */
export async function createDisk(fsType?: "ext4" | "xfs" | "btrfs", sizeBytes = 1024 * MIB) {
  const root = await mkdtemp(join(tmpdir(), "trivet-image-"));
  const path = join(root, "disk");
  await mkdir(path);
  if (fsType) {
    const file = join(root, "disk.img");
    await run("truncate", "-s", String(sizeBytes), file);
    await run(`mkfs.${fsType}`, "-q", file);
    await run("mount", "-o", "loop", file, path);
  }
  return {
    path,
    async remove() {
      if (fsType) await run("umount", path);
      await rm(root, { recursive: true });
    },
  };
}

let ids = 0;

/** The volumes of one disk. `close` takes everything away that is still there, and fails if something is in the way. */
export function createImageWorld(disk: string, { preallocate = true } = {}) {
  const deps = realImageDeps();
  const backend = createImageBackend(deps, { preallocate, log: silentLog });
  const wrappers = new Set<string>();
  const mountPoints: string[] = [];
  const handles: FileHandle[] = [];
  const unmountAll = async () => {
    for (const handle of handles.splice(0)) await handle.close(); // twice does no harm
    for (const path of mountPoints.splice(0).reverse()) {
      await deps.mounts.unmount(path);
      await rmdir(path);
    }
  };
  return {
    deps,
    backend,
    /** A wrapper with a record; nothing is built yet. */
    async place(fields: Partial<VolumeRecord>): Promise<PlacedVolume> {
      const id = parseVolumeId(`tv-${"a".repeat(13)}-${"b".repeat(26)}`);
      const wrapper = join(disk, `volume-${process.pid}-${++ids}`);
      await mkdir(wrapper, { mode: 0o700 });
      wrappers.add(wrapper);
      const known = { id, name: "n", pool: "default", sizeBytes: 64 * MIB, created: "2026-01-01T00:00:00Z" };
      return { wrapper, record: { ...known, backend: "image", ...fields } as VolumeRecord };
    },
    /** Attaches and mounts, as the node service does. */
    async mount(volume: PlacedVolume): Promise<string> {
      const source = await backend.attach(volume);
      if (source.kind !== "filesystem") throw new Error(`not to be mounted: ${source.kind}`);
      const path = await mkdtemp(join(tmpdir(), "trivet-image-mount-"));
      const { device: from, fsType } = source;
      await deps.mounts.mountDevice(from, path, { fsType, readOnly: false, flags: ["nosuid", "nodev"] });
      mountPoints.push(path);
      return path;
    },
    async unmount(path: string): Promise<void> {
      await deps.mounts.unmount(path);
      await rmdir(path);
      mountPoints.splice(mountPoints.indexOf(path), 1);
    },
    /** An open file, closed at the latest when all is. */
    async open(path: string, flags: string): Promise<FileHandle> {
      const handle = await open(path, flags);
      handles.push(handle);
      return handle;
    },
    async close(): Promise<void> {
      await unmountAll();
      for (const wrapper of wrappers) {
        await backend.dismantle(wrapper);
        await rm(wrapper, { recursive: true, force: true });
      }
    },
  };
}

export type ImageWorld = ReturnType<typeof createImageWorld>;

/** The device of a source that is one. */
export function deviceOf(source: VolumeSource | undefined): string {
  if (!source || source.kind === "directory") throw new Error("no device");
  return source.device;
}

/** A writer that goes on where it stopped: gives the bytes that it has written when the file system says no. */
export function createWriter(file: FileHandle) {
  const chunk = Buffer.alloc(MIB, 0x5a);
  let written = 0;
  return {
    /** Writes until an error comes, and gives its code. */
    async fill(): Promise<string> {
      try {
        for (;;) {
          written += (await file.write(chunk)).bytesWritten;
          if (written % (16 * MIB) === 0) await file.datasync();
        }
      } catch (error) {
        return String((error as NodeJS.ErrnoException).code);
      }
    },
    written: () => written,
  };
}

/** What df(1) shows as the size. */
export async function shownBytes(path: string): Promise<number> {
  const { blocks, bsize } = await statfs(path);
  return blocks * bsize;
}

/** The loop devices whose file lies below `path`. */
export async function loopsBelow(path: string): Promise<string[]> {
  const table = await run("losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE");
  return table.split("\n").filter((line) => line.includes(`${path}/`));
}

/** Whether this process has CAP_SYS_RESOURCE, without which the kernel grows no mounted ext4. Some sandboxes take it away. */
export function mayGrowExt4(): boolean {
  const [, effective = "0"] = /^CapEff:\s*(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return ((BigInt(`0x${effective}`) >> 24n) & 1n) === 1n;
}
