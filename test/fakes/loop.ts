/**
 * `Loops` in memory, over fake files: devices know their files by inode. A power cut takes every device, a killed process
 * only those that it held.
 */
import { isKind, TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { LoopDevice, LoopOptions, Loops } from "../../src/host/loop.ts";
import type { FakeFiles } from "./files.ts";

export type LoopOp =
  | "loop.find"
  | "loop.attach"
  | "loop.hold"
  | "loop.release"
  | "loop.refresh"
  | "loop.detach";

interface Device extends LoopOptions {
  readonly ino: bigint;
  readonly held: boolean;
  sizeBytes: number;
}

export interface FakeLoops extends Loops {
  onEffect: ((op: LoopOp, path: string, when: "before" | "after") => void) | undefined;
  /** What is there, by path of the device. */
  readonly devices: ReadonlyMap<string, Readonly<Device>>;
  /** Devices with somebody in them, such as a mount: they stay until that ends. */
  readonly busy: Set<string>;
  /** From now on every effect fails: the process was killed. */
  halt(): void;
  /** Another process on the same host, with these files. */
  restart(files: Pick<FakeFiles, "inode">, powerCut: boolean): FakeLoops;
}

/** No device shows anything yet. */
export function createFakeLoops(files: Pick<FakeFiles, "inode">): FakeLoops {
  return createTable(files, new Map());
}

function createTable(files: Pick<FakeFiles, "inode">, devices: Map<string, Device>): FakeLoops {
  let halted = false;
  const own = async <T>(op: LoopOp, path: string, act: () => T): Promise<T> => {
    const refuse = () => {
      if (halted) throw new TrivetError({ kind: "cancelled", op, subject: path, message: "killed" });
    };
    refuse();
    fake.onEffect?.(op, path, "before");
    refuse();
    const result = act();
    fake.onEffect?.(op, path, "after");
    refuse();
    return result;
  };
  const lookUp = (image: string): LoopDevice | undefined => {
    const { ino } = files.inode(image);
    const path = [...devices].find(([, device]) => device.ino === ino)?.[0];
    return path === undefined ? undefined : { path, directIo: true };
  };
  const add = (image: string, options: LoopOptions, held: boolean): LoopDevice => {
    const { ino, data } = files.inode(image);
    let number = 0;
    while (devices.has(`/dev/loop${number}`)) number++;
    const path = `/dev/loop${number}`;
    devices.set(path, { ...options, ino, held, sizeBytes: data.length });
    return { path, directIo: true };
  };
  const inUse = (image: string, path: string) => {
    const message = `${image} is in use on ${path}`;
    return new TrivetError({ kind: "precondition", op: "loop", subject: image, message });
  };
  const fake: FakeLoops = {
    ...{ onEffect: undefined, devices, busy: new Set() },
    halt() {
      halted = true;
    },
    restart(next, powerCut) {
      halted = true;
      const left = [...devices].filter(([, { held }]) => !powerCut && !held);
      return createTable(next, new Map(left));
    },
    find: (image) => own("loop.find", image, () => lookUp(image)),
    known: (image) => own("loop.find", image, () => lookUp(image)),
    attach: (image, options) => own("loop.attach", image, () => lookUp(image) ?? add(image, options, false)),
    hold: (image, options) =>
      own("loop.hold", image, () => {
        const present = lookUp(image);
        if (present) throw inUse(image, present.path);
        const { path } = add(image, options, true);
        const release = () => own("loop.release", path, () => void devices.delete(path));
        return { path, release };
      }),
    refresh: (path) =>
      own("loop.refresh", path, () => {
        const device = devices.get(path);
        if (!device) throw errnoError("ENXIO", "loop.refresh", path);
        device.sizeBytes = files.inode(device.ino).data.length;
      }),
    detach: (image) =>
      own("loop.detach", image, () => {
        const present = exists(files, image) && lookUp(image);
        if (!present) return true;
        if (fake.busy.has(present.path)) return false;
        return devices.delete(present.path);
      }),
    detachDevice: (path) =>
      own("loop.detach", path, () => {
        if (fake.busy.has(path)) return false;
        devices.delete(path);
        return true;
      }),
  };
  return fake;
}

function exists(files: Pick<FakeFiles, "inode">, path: string): boolean {
  try {
    files.inode(path);
    return true;
  } catch (error) {
    if (isKind(error, "not-found")) return false;
    throw error;
  }
}
