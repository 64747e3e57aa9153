/** What `Loops` promises. Run on the fake in the unit tests, and on the kernel's devices in the e2e tests. */
import { expect } from "vitest";
import type { Loops } from "../../src/host/loop.ts";

export interface LoopWorld {
  readonly loops: Loops;
  /** A new image of this many bytes; gives its path. */
  image(name: string, sizeBytes: number): Promise<string>;
  extend(path: string, sizeBytes: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** The size of a device. */
  sizeOf(device: string): Promise<number>;
  /** Opens a device, as a mount or a pod does; gives what closes it. */
  use(device: string): Promise<() => Promise<void>>;
}

const MIB = 2 ** 20;
const options = { blockSize: 4096, discard: true } as const;

export const loopContract: readonly { title: string; run(world: LoopWorld): Promise<void> }[] = [
  {
    title: "a file is attached once, however often it is asked for, and found by either look",
    async run({ loops, image }) {
      const path = await image("a", MIB);
      expect(await loops.find(path)).toBeUndefined();
      expect(await loops.known(path)).toBeUndefined();
      const [one, two] = await Promise.all([loops.attach(path, options), loops.attach(path, options)]);
      expect(one.path).toMatch(/^\/dev\/loop\d+$/);
      expect(two).toEqual(one);
      expect((await loops.find(path))?.path).toBe(one.path);
      expect((await loops.known(path))?.path).toBe(one.path);
      await loops.detach(path);
      expect(await loops.find(path)).toBeUndefined();
      await loops.detach(path);
    },
  },
  {
    title: "a file is found by what it is, and not by the path at which it was attached",
    async run({ loops, image, rename }) {
      const path = await image("a\nb (deleted)", MIB);
      const { path: device } = await loops.attach(path, options);
      await rename(path, `${path}.moved`);
      const other = await image("a\nb (deleted)", MIB);
      expect((await loops.find(`${path}.moved`))?.path).toBe(device);
      expect(await loops.find(other)).toBeUndefined();
      const second = await loops.attach(other, options);
      expect(second.path).not.toBe(device);
      await loops.detach(other);
      await loops.detach(`${path}.moved`);
    },
  },
  {
    title: "a device lets its file go wherever that is by now, and to ask for that again is no mistake",
    async run({ loops, image, rename }) {
      const path = await image("a", MIB);
      const { path: device } = await loops.attach(path, options);
      await rename(path, `${path}.moved`);
      expect(await loops.detachDevice(device)).toBe(true);
      expect(await loops.find(`${path}.moved`)).toBeUndefined();
      expect(await loops.detachDevice(device)).toBe(true);
    },
  },
  {
    title: "a device has the size that its file had, until it is refreshed",
    async run({ loops, image, extend, sizeOf }) {
      const path = await image("a", MIB);
      const { path: device } = await loops.attach(path, options);
      await extend(path, 3 * MIB);
      expect(await sizeOf(device)).toBe(MIB);
      await loops.refresh(device);
      expect(await sizeOf(device)).toBe(3 * MIB);
      await loops.detach(path);
    },
  },
  {
    title: "a device in use stays, and says so; when its user is gone it can go",
    async run({ loops, image, use }) {
      const path = await image("a", MIB);
      const { path: device } = await loops.attach(path, options);
      const close = await use(device);
      expect(await loops.detach(path)).toBe(false);
      expect((await loops.find(path))?.path).toBe(device);
      expect((await loops.attach(path, options)).path).toBe(device);
      await close();
      expect((await loops.find(path))?.path).toBe(device); // it was wanted again
      expect(await loops.detach(path)).toBe(true);
      expect(await loops.find(path)).toBeUndefined();
    },
  },
  {
    title: "what is held is gone when it is released, and is not held twice",
    async run({ loops, image }) {
      const path = await image("a", MIB);
      const held = await loops.hold(path, options);
      expect((await loops.find(path))?.path).toBe(held.path);
      await expect(loops.hold(path, options)).rejects.toMatchObject({ kind: "precondition" });
      await held.release();
      expect(await loops.find(path)).toBeUndefined();
    },
  },
  {
    title: "a file that is not there is on no device: it cannot be attached, and need not be detached",
    async run({ loops, image }) {
      const missing = `${await image("a", MIB)}.missing`;
      const attempts = [
        () => loops.attach(missing, options),
        () => loops.hold(missing, options),
        () => loops.find(missing),
      ];
      for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ kind: "not-found" });
      expect(await loops.detach(missing)).toBe(true);
    },
  },
];
