/** Image volumes in memory for fault sweeps: fake disk, devices and tools, the backend on top, one hook for every effect. */
import { expect } from "vitest";
import type { PlacedVolume } from "../../src/csi/backend/backend.ts";
import type { ImageDeps } from "../../src/csi/backend/image/content.ts";
import { createImageBackend } from "../../src/csi/backend/image.ts";
import { volumeIdFor } from "../../src/csi/volume/id.ts";
import type { VolumeRecord } from "../../src/csi/volume/record.ts";
import { silentLog } from "../../src/observe/log.ts";
import { createFakeCopier } from "../fakes/copier.ts";
import { createFakeFiles, type FakeFiles, type Survival } from "../fakes/files.ts";
import { createFakeFreezer } from "../fakes/freezer.ts";
import { createFakeLoops, type FakeLoops } from "../fakes/loop.ts";
import { createFakeImages } from "../fakes/mkfs.ts";
import { createFakeMounts, type FakeMounts } from "../fakes/mount.ts";

export const MIB = 2 ** 20;
export const SIZE = 16 * MIB;

/** Devices have nodes in the fake files: mounting looks for them. */
const devices = Array.from({ length: 8 }, (_, n) => `/dev/loop${n}`);

/** A node with an empty pool. */
export function createImageWorld(options: { preallocate?: boolean; canGrowMounted?: boolean } = {}) {
  const files = createFakeFiles({ directories: ["/pool", "/target", ...devices] });
  return assemble(files, {
    loops: createFakeLoops(files),
    mounts: createFakeMounts({ files }),
    frozen: [],
    ...options,
  });
}

interface Machine {
  readonly loops: FakeLoops;
  readonly mounts: FakeMounts;
  readonly frozen: readonly string[];
  readonly preallocate?: boolean;
  readonly canGrowMounted?: boolean;
}

function assemble(files: FakeFiles, machine: Machine) {
  const { loops, mounts, preallocate = true, canGrowMounted = true } = machine;
  const images = createFakeImages(files, loops);
  images.canGrowMounted = canGrowMounted;
  const freezer = createFakeFreezer();
  for (const path of machine.frozen) freezer.frozen.add(path);
  const copier: ImageDeps["copier"] = {
    ...createFakeCopier(files),
    // Not byte by byte: images are large, and what is in one is kept beside its bytes.
    async file(source, target) {
      await files.create(target, Buffer.alloc(0), 0o600);
      images.carry(source, target);
      await files.sync(target);
      return { copiedBytes: 0, entries: 1, skippedDevices: 0, skippedMounts: 0, vanished: 0 };
    },
  };
  const { images: imageFiles, imageFileSystems } = images;
  const deps: ImageDeps = { files, mounts, loops, images: imageFiles, imageFileSystems, copier, freezer };
  const world = {
    ...{ files, loops, mounts, images, freezer, deps },
    backend: createImageBackend(deps, { preallocate, log: silentLog }),
    /** The same machine after the process was killed, or after the power was cut. */
    restart(survival: Survival) {
      world.halt();
      const powerCut = survival !== "everything";
      const left = files.crash(survival);
      return assemble(left, {
        ...machine,
        loops: loops.restart(left, powerCut),
        mounts: mounts.restart({ files: left }, powerCut),
        frozen: powerCut ? [] : [...freezer.frozen],
      });
    },
    halt() {
      for (const effect of [files, loops, mounts, images]) effect.halt();
    },
    /** Calls `hook` before and after every effect. */
    watch(hook: ((effect: string) => void) | undefined) {
      const effect = (op: string, path: string, when: string) => hook?.(`${when} ${op} ${path}`);
      for (const watched of [files, loops, mounts, images]) watched.onEffect = hook && effect;
    },
    /** Mounts the file system of an attached volume, as the node service does. */
    async mount(device: string, target = "/target") {
      await mounts.mountDevice(device, target, { fsType: "ext4", readOnly: false, flags: [] });
      images.mountedAt(target, device);
      loops.busy.add(device);
    },
  };
  return world;
}

export type ImageWorld = ReturnType<typeof assemble>;

/** A wrapper with a record in it, durable; nothing is built yet. */
export async function place(
  world: ImageWorld,
  name: string,
  fields: Partial<VolumeRecord> = {},
): Promise<PlacedVolume> {
  const wrapper = `/pool/${name}`;
  await world.files.mkdir(wrapper, 0o700);
  world.files.settle();
  const id = volumeIdFor({ nodeId: "n", pool: "default", name });
  const known = { id, name, pool: "default", sizeBytes: SIZE, created: "2026-01-01T00:00:00Z" };
  return { wrapper, record: { ...known, backend: "image", ...fields } };
}

/** A volume that is there. */
export async function built(world: ImageWorld, name: string, fields: Partial<VolumeRecord> = {}) {
  const volume = await place(world, name, fields);
  const chosen = await world.backend.build(volume);
  world.files.settle();
  return { ...volume, record: { ...volume.record, ...chosen } };
}

export const withSize = (volume: PlacedVolume, sizeBytes: number): PlacedVolume => ({
  ...volume,
  record: { ...volume.record, sizeBytes },
});

/** Takes a volume away as the trash does, and finds that nothing of it is left. */
export async function requireRemovable(world: ImageWorld, { wrapper }: PlacedVolume): Promise<void> {
  await world.backend.dismantle(wrapper);
  await world.files.removeTree(wrapper);
  expect([...world.loops.devices.keys()]).toEqual([]);
}

/** A whole image: all of its size, its space reserved, the file system in it as large and clean. */
export function requireWhole(world: ImageWorld, { wrapper }: PlacedVolume, sizeBytes = SIZE): void {
  expect(world.images.peek(`${wrapper}/disk.img`)).toMatchObject({
    ...{ sizeBytes, reservedBytes: sizeBytes },
    fileSystem: {
      fsType: "ext4",
      sizeBytes,
      clean: true,
      entries: [],
      top: { mode: 0o1770, uid: 1, gid: 2 },
    },
  });
}
