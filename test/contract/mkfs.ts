/** What `ImageFiles` and `ImageFileSystems` promise, together with `Loops`. Run on fakes, and on real disks. */
import { expect } from "vitest";
import type { Files } from "../../src/host/files.ts";
import { imageFsTypes } from "../../src/host/image-content.ts";
import type { ImageFiles } from "../../src/host/image-file.ts";
import type { Loops } from "../../src/host/loop.ts";
import type { ImageFileSystems } from "../../src/host/mkfs.ts";

export interface ImageContractWorld {
  readonly files: Files;
  readonly loops: Loops;
  readonly images: ImageFiles;
  readonly imageFileSystems: ImageFileSystems;
  /** A directory on a file system that shares no content between files, with more room than the tests need. */
  readonly root: string;
  /** Whether a mounted ext4 can grow here. */
  readonly canGrowMounted: boolean;
}

const MIB = 2 ** 20;
const SIZE = 300 * MIB;
const options = { blockSize: 4096, discard: true } as const;

interface Case {
  readonly title: string;
  run(world: ImageContractWorld): Promise<void>;
}

const ofEach: readonly Case[] = imageFsTypes.flatMap((fsType) => [
  {
    title: `${fsType}: a file system fills its image, and is found in it`,
    async run({ files, images, imageFileSystems, root }) {
      const image = `${root}/image`;
      await images.create(image, SIZE);
      expect(await images.inspect(image)).toBeUndefined();
      await imageFileSystems.make(image, { fsType });
      const content = await images.inspect(image);
      expect(content?.fsType).toBe(fsType);
      expect(content?.sizeBytes).toBeGreaterThan(SIZE - 4 * MIB);
      expect(content?.sizeBytes).toBeLessThanOrEqual(SIZE);
      expect((await files.stat(image)).sizeBytes).toBe(SIZE);
    },
  },
  {
    title: `${fsType}: what is opened can be changed, and is where nobody sees it until it is closed`,
    async run({ files, images, imageFileSystems, loops, root }) {
      const image = `${root}/image`;
      await images.create(image, SIZE);
      await imageFileSystems.make(image, { fsType });
      for (const mode of [0o1770, 0o755]) {
        const held = await loops.hold(image, options);
        const opened = await imageFileSystems.open(held.path, fsType);
        await files.setOwner(opened.path, 7, 8);
        expect(await files.stat(opened.path)).toMatchObject({ kind: "directory", uid: 7, gid: 8 });
        await files.setMode(opened.path, mode);
        await opened.close();
        await held.release();
      }
      expect(await loops.find(image)).toBeUndefined();
    },
  },
  {
    title: `${fsType}: it grows with its image, and growing it again changes nothing`,
    async run({ images, imageFileSystems, loops, root, canGrowMounted }) {
      const image = `${root}/image`;
      const larger = SIZE + 64 * MIB;
      await images.create(image, SIZE);
      await imageFileSystems.make(image, { fsType });
      await images.extend(image, larger, { reserve: false });
      if (fsType === "ext4" && !canGrowMounted) await imageFileSystems.growUnmounted(image);
      else {
        const held = await loops.hold(image, options);
        const opened = await imageFileSystems.open(held.path, fsType);
        await imageFileSystems.grow(opened.path, fsType, larger);
        await imageFileSystems.grow(opened.path, fsType, larger);
        await opened.close();
        await held.release();
      }
      expect((await images.inspect(image))?.sizeBytes).toBeGreaterThan(larger - 4 * MIB);
    },
  },
]);

export const imageContract: readonly Case[] = [
  ...ofEach,
  {
    title: "a name is taken once, and an image that is not there is an error",
    async run({ images, root }) {
      await images.create(`${root}/image`, MIB);
      await expect(images.create(`${root}/image`, MIB)).rejects.toMatchObject({ kind: "conflict" });
      const attempts = [
        () => images.reserve(`${root}/none`),
        () => images.extend(`${root}/none`, MIB, { reserve: true }),
        () => images.inspect(`${root}/none`),
      ];
      for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ kind: "not-found" });
    },
  },
  {
    title: "space that is not there is refused, and nothing has changed",
    async run({ files, images, root }) {
      const image = `${root}/image`;
      await images.create(image, MIB);
      await images.reserve(image);
      const far = 2 ** 43; // more than any disk that this runs on
      await expect(images.extend(image, far, { reserve: true })).rejects.toMatchObject({
        kind: expect.stringMatching(/^(exhausted|io)$/),
      });
      expect((await files.stat(image)).sizeBytes).toBe(MIB);
    },
  },
  {
    title: "an image is never made smaller",
    async run({ files, images, root }) {
      const image = `${root}/image`;
      await images.create(image, 2 * MIB);
      await images.extend(image, MIB, { reserve: true });
      expect((await files.stat(image)).sizeBytes).toBe(2 * MIB);
    },
  },
  {
    title: "sharing content where that cannot be leaves nothing behind",
    async run({ files, images, root }) {
      await images.create(`${root}/image`, MIB);
      await expect(images.share(`${root}/image`, `${root}/copy`)).rejects.toMatchObject({
        kind: "unsupported",
      });
      await expect(files.stat(`${root}/copy`)).rejects.toMatchObject({ kind: "not-found" });
    },
  },
];
