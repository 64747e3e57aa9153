/**
 * Image files and the file systems in them, in memory, over fake files. What an image holds belongs to its content: it is
 * lost with it where it was not synced, and moves with it where the file is renamed.
 */
import { TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { ImageContent } from "../../src/host/image-content.ts";
import type { ImageFiles } from "../../src/host/image-file.ts";
import type { ImageFileSystems } from "../../src/host/mkfs.ts";
import type { FakeFiles } from "./files.ts";
import type { FakeLoops } from "./loop.ts";

export type ImageOp =
  | ("image.create" | "image.reserve" | "image.extend" | "image.share" | "image.inspect")
  | ("fs.make" | "fs.repair" | "fs.renew" | "fs.open" | "fs.close" | "fs.grow");

/** A file system in an image. */
export interface FakeFileSystem extends ImageContent {
  readonly id: number;
  readonly inodes?: number;
  readonly top: { readonly mode: number; readonly uid: number; readonly gid: number };
  readonly entries: readonly string[];
}

/** What an image holds. */
export interface FakeImage {
  readonly reservedBytes: number;
  readonly fileSystem?: FakeFileSystem;
}

export interface FakeImages {
  readonly images: ImageFiles;
  readonly imageFileSystems: ImageFileSystems;
  onEffect: ((op: ImageOp, path: string, when: "before" | "after") => void) | undefined;
  /** What is left to reserve. */
  freeBytes: number;
  /** Whether the pool can share content between files. */
  canShare: boolean;
  /** Whether the kernel lets a mounted ext4 grow. */
  canGrowMounted: boolean;
  /** What is in the image at `path`. */
  peek(path: string): FakeImage & { readonly sizeBytes: number };
  /** Changes what is in it, as a pod, a crash or a broken disk would. */
  poke(path: string, fileSystem: Partial<FakeFileSystem>): void;
  /** Gives `target` what is in `source`, after bytes alone were copied. */
  carry(source: string, target: string): void;
  /** The file system mounted at `path`, as far as growing it goes. */
  mountedAt(path: string, device: string): void;
  halt(): void;
}

/** All contents there are, whatever process looks at them: a crash keeps those of the buffers that it keeps. */
const contents = new WeakMap<Buffer, FakeImage>();
let zeroes = Buffer.alloc(0);
let ids = 0;

/** A buffer of its own over zeroes that all images share: none is ever written. */
function bufferOf(sizeBytes: number): Buffer {
  if (zeroes.length < sizeBytes) zeroes = Buffer.alloc(sizeBytes);
  return zeroes.subarray(0, sizeBytes);
}

/** Over these files and devices. */
export function createFakeImages(files: FakeFiles, loops: FakeLoops): FakeImages {
  let halted = false;
  const mounted = new Map<string, string>();
  const own = async <T>(op: ImageOp, path: string, act: () => T | Promise<T>): Promise<T> => {
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
  const read = (path: string | bigint): FakeImage & { sizeBytes: number } => {
    const { data } = files.inode(path);
    return { ...(contents.get(data) ?? { reservedBytes: 0 }), sizeBytes: data.length };
  };
  const write = (path: string | bigint, { sizeBytes, ...image }: FakeImage & { sizeBytes: number }) => {
    const data = bufferOf(sizeBytes);
    contents.set(data, image);
    files.inode(path).data = data;
  };
  const reserve = (path: string, sizeBytes: number) => {
    const image = read(path);
    const more = sizeBytes - image.reservedBytes;
    if (more > fake.freeBytes) throw errnoError("ENOSPC", "image", path);
    fake.freeBytes -= Math.max(0, more);
    write(path, { ...image, reservedBytes: Math.max(image.reservedBytes, sizeBytes) });
  };
  const fileSystemOf = (path: string | bigint): FakeFileSystem => {
    const { fileSystem } = read(path);
    if (!fileSystem) throw errnoError("EINVAL", "fs", String(path));
    return fileSystem;
  };
  const behind = (device: string): bigint => {
    const ino = loops.devices.get(device)?.ino;
    if (ino === undefined) throw errnoError("ENXIO", "fs", device);
    return ino;
  };
  const grow = (path: string | bigint, sizeBytes: number) =>
    write(path, { ...read(path), fileSystem: { ...fileSystemOf(path), sizeBytes } });

  const images: ImageFiles = {
    create: (path, sizeBytes) =>
      own("image.create", path, async () => {
        await quietly(files, () => files.create(path, Buffer.alloc(0), 0o600));
        write(path, { reservedBytes: 0, sizeBytes });
      }),
    reserve: (path) => own("image.reserve", path, () => reserve(path, read(path).sizeBytes)),
    extend: (path, sizeBytes, options) =>
      own("image.extend", path, () => {
        if (read(path).sizeBytes >= sizeBytes) return;
        if (options.reserve) reserve(path, sizeBytes);
        write(path, { ...read(path), sizeBytes });
      }),
    share: (source, target) =>
      own("image.share", target, async () => {
        if (!fake.canShare) throw errnoError("EOPNOTSUPP", "image", target);
        const image = read(source);
        await quietly(files, () => files.create(target, Buffer.alloc(0), 0o600));
        write(target, { ...image, reservedBytes: 0 });
      }),
    inspect: (path) =>
      own("image.inspect", path, () => {
        const { fileSystem } = read(path);
        return (
          fileSystem && {
            fsType: fileSystem.fsType,
            sizeBytes: fileSystem.sizeBytes,
            clean: fileSystem.clean,
          }
        );
      }),
  };
  const imageFileSystems: ImageFileSystems = {
    make: (image, { fsType, inodes }) =>
      own("fs.make", image, () => {
        const known = read(image);
        const top = { mode: 0o755, uid: 0, gid: 0 };
        const entries = fsType === "ext4" ? ["lost+found"] : [];
        const made = { fsType, sizeBytes: known.sizeBytes, clean: true, id: ++ids, top, entries };
        write(image, { ...known, fileSystem: { ...made, ...(inodes === undefined ? {} : { inodes }) } });
      }),
    repair: (image) =>
      own("fs.repair", image, () =>
        write(image, { ...read(image), fileSystem: { ...fileSystemOf(image), clean: true } }),
      ),
    renew: (image) =>
      own("fs.renew", image, () => {
        const fileSystem = fileSystemOf(image);
        if (!fileSystem.clean) throw errnoError("EINVAL", "fs.renew", image);
        write(image, { ...read(image), fileSystem: { ...fileSystem, id: ++ids } });
      }),
    open: (device, fsType) =>
      own("fs.open", device, async () => {
        const ino = behind(device);
        const fileSystem = fileSystemOf(ino);
        if (fileSystem.fsType !== fsType) throw errnoError("EINVAL", "fs.open", device);
        const path = `/opened-${++ids}`;
        const { mode, uid, gid } = fileSystem.top;
        await quietly(files, async () => {
          await files.mkdir(path, mode);
          await files.setOwner(path, uid, gid);
          for (const name of fileSystem.entries) await files.mkdir(`${path}/${name}`, 0o700);
        });
        mounted.set(path, device);
        const close = () =>
          own("fs.close", device, async () => {
            const top = files.inode(path);
            const entries = [...top.entries.keys()];
            const now = { ...fileSystemOf(ino), clean: true, entries };
            write(ino, {
              ...read(ino),
              fileSystem: { ...now, top: { mode: top.mode, uid: top.uid, gid: top.gid } },
            });
            mounted.delete(path);
            await quietly(files, () => files.removeTree(path));
          });
        return { path, close };
      }),
    grow: (mountPoint, fsType, sizeBytes) =>
      own("fs.grow", mountPoint, () => {
        const device = mounted.get(mountPoint);
        if (device === undefined) throw errnoError("ENOTTY", "fs.grow", mountPoint);
        const message = "not while it is mounted";
        if (fsType === "ext4" && !fake.canGrowMounted) {
          throw new TrivetError({ kind: "precondition", op: "fs.grow", subject: mountPoint, message });
        }
        const known = loops.devices.get(device);
        if (!known || known.sizeBytes < sizeBytes) throw errnoError("EINVAL", "fs.grow", mountPoint);
        grow(known.ino, sizeBytes);
      }),
    growUnmounted: (image) => own("fs.grow", image, () => grow(image, read(image).sizeBytes)),
  };
  const fake: FakeImages = {
    ...{ images, imageFileSystems, onEffect: undefined, peek: read },
    ...{ freeBytes: 2 ** 40, canShare: false, canGrowMounted: true },
    poke: (path, fileSystem) =>
      write(path, { ...read(path), fileSystem: { ...fileSystemOf(path), ...fileSystem } }),
    carry: (source, target) => write(target, { ...read(source), reservedBytes: 0 }),
    mountedAt: (path, device) => void mounted.set(path, device),
    halt() {
      halted = true;
    },
  };
  return fake;
}

/** What an effect does to the fake files is a part of it, and no effect of theirs. */
async function quietly(files: FakeFiles, act: () => Promise<unknown>): Promise<void> {
  const { onEffect } = files;
  files.onEffect = undefined;
  try {
    await act();
  } finally {
    files.onEffect = onEffect;
  }
}
