/**
 * Loop devices: an image file as a block device. A file is known by device and inode, never by a path, and is never on two
 * devices. Must not decide what an image is for, nor look into it.
 */
import { stat } from "node:fs/promises";
import { isKind, TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { createLoopNodes, type FileKey, type LoopSyscalls, nameOf } from "./loop-node.ts";
import { loopFlags } from "./syscall/loop.ts";

/** How a file is to be shown. */
export interface LoopOptions {
  /** The block size of the device: what is on the file was made for it, so it is always the same for one file. */
  readonly blockSize: 512 | 4096;
  /** Whether what is discarded on the device gives its space back: not where the space was reserved beforehand. */
  readonly discard: boolean;
}

/** A device that shows a file. */
export interface LoopDevice {
  /** `/dev/loop7`. */
  readonly path: string;
  /** Whether reads and writes pass the page cache by; else every block is cached twice. */
  readonly directIo: boolean;
}

/** A device that is there for as long as it is held, and no longer than the process. */
export interface HeldLoop {
  readonly path: string;
  /** Throws `precondition` if the device is still in use: it goes when that ends. */
  release(): Promise<void>;
}

/** Errors: `not-found` for a file that is not there, `precondition` for one that others show otherwise or still use. */
export interface Loops {
  /** The device that shows the file, looked for among all. */
  find(image: string): Promise<LoopDevice | undefined>;
  /** The same, looked for among those that this process has seen: for questions that are asked often. */
  known(image: string): Promise<LoopDevice | undefined>;
  /** Attaches the file, or finds it attached. The device stays when the process ends. */
  attach(image: string, options: LoopOptions): Promise<LoopDevice>;
  /** Attaches a file that is on no device, for a moment. */
  hold(image: string, options: LoopOptions): Promise<HeldLoop>;
  /** The device gets the present size of its file. */
  refresh(device: string): Promise<void>;
  /**
   * Detaches the file, if it is on a device. While somebody has the device open or mounted, in whatever mount namespace,
   * it stays, and goes when that ends: then this gives false. `attach` makes it stay again.
   */
  detach(image: string): Promise<boolean>;
  /** The same by the device, where the file cannot be reached. */
  detachDevice(device: string): Promise<boolean>;
}

/** The real ones. */
export function createLoops(syscalls: LoopSyscalls): Loops {
  const nodes = createLoopNodes(syscalls);
  const serial = createSerial();
  /** What was seen on which device; every answer is checked with the kernel before it is believed. */
  const seen = new Map<string, string>();
  let scanned: Promise<void> | undefined;

  const verified = async (key: FileKey): Promise<LoopDevice | undefined> => {
    const path = seen.get(nameOf(key));
    const status = path && (await nodes.status(path));
    if (status && nameOf(status) === nameOf(key)) {
      return { path, directIo: (status.flags & loopFlags.directIo) !== 0 };
    }
    seen.delete(nameOf(key));
    return undefined;
  };
  const scan = async () => {
    for (const [path, status] of await nodes.all()) seen.set(nameOf(status), path);
  };
  const find = async (key: FileKey): Promise<LoopDevice | undefined> => {
    const hit = await verified(key);
    if (hit) return hit;
    await scan();
    return verified(key);
  };
  const configure = async (image: string, key: FileKey, options: LoopOptions, flags: number) => {
    const device = await nodes.configure(image, options, flags);
    seen.set(nameOf(key), device.path);
    return device;
  };
  return {
    find: async (image) => find(await keyOf(image)),
    async known(image) {
      scanned ??= scan();
      await scanned.catch((error) => {
        scanned = undefined;
        throw error;
      });
      return verified(await keyOf(image));
    },
    async attach(image, options) {
      const key = await keyOf(image);
      return serial(nameOf(key), async () => {
        const present = await find(key);
        if (present && (await nodes.keep(present.path, key))) return present;
        const { path, directIo, handle } = await configure(image, key, options, 0);
        await handle.close();
        return { path, directIo };
      });
    },
    async hold(image, options) {
      const key = await keyOf(image);
      return serial(nameOf(key), async () => {
        const present = await find(key);
        if (present) throw inUse(image, `it is attached to ${present.path}`);
        const device = await configure(image, key, options, loopFlags.autoClear);
        return { path: device.path, release: () => nodes.release(device, key) };
      });
    },
    refresh: (device) => nodes.refresh(device),
    async detach(image) {
      const key = await keyOf(image).catch((error) => {
        if (isKind(error, "not-found")) return undefined;
        throw error;
      });
      if (!key) return true;
      return serial(nameOf(key), async () => {
        const present = await find(key);
        return present ? nodes.detach(present.path, key) : true;
      });
    },
    async detachDevice(device) {
      const key = await nodes.status(device);
      return key ? serial(nameOf(key), () => nodes.detach(device, key)) : true;
    },
  };
}

async function keyOf(image: string): Promise<FileKey> {
  try {
    return await stat(image, { bigint: true });
  } catch (error) {
    throw fromNodeError(error, "loop.find", image);
  }
}

function inUse(image: string, why: string): TrivetError {
  const message = `${image} cannot be attached: ${why}`;
  return new TrivetError({ kind: "precondition", op: "loop.attach", subject: image, message });
}

/** Runs what is given under one name one after another. */
function createSerial(): <T>(name: string, act: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return (name, act) => {
    const before = last.get(name) ?? Promise.resolve();
    const run = before.then(act, act);
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    last.set(name, settled);
    void settled.then(() => last.get(name) === settled && last.delete(name));
    return run;
  };
}
