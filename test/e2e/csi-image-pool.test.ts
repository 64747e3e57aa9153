import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, open, readdir, readFile, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import {
  createDisk,
  createImageWorld,
  createWriter,
  deviceOf,
  type ImageWorld,
  loopsBelow,
  MIB,
  run,
} from "./support/image-world.ts";

type Disk = Awaited<ReturnType<typeof createDisk>>;
let disk: Disk | undefined;
let world: ImageWorld | undefined;

async function start(fsType: "ext4" | "xfs" | "btrfs" | undefined, settings?: { preallocate: boolean }) {
  disk = await createDisk(fsType, 512 * MIB);
  world = createImageWorld(disk.path, settings);
  return { disk, world };
}

afterEach(async () => {
  const path = disk?.path ?? "/nowhere";
  await world?.close();
  expect(await loopsBelow(path)).toEqual([]);
  await disk?.remove();
  [disk, world] = [undefined, undefined];
});

const build = async (own: ImageWorld, fields = {}) => {
  const volume = await own.place({ sizeBytes: 64 * MIB, ...fields });
  return { ...volume, record: { ...volume.record, ...(await own.backend.build(volume)) } };
};

/** Everything that is left on the disk, taken by somebody else. */
async function fillDisk({ path }: Disk): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  const most = bavail * bsize - 16 * MIB; // reserved in a moment; the rest is written, to the last block
  await run("fallocate", "--length", String(most), join(path, "most"));
  const handle = await open(join(path, "more"), "w");
  expect(await createWriter(handle).fill()).toBe("ENOSPC");
  await handle.sync().catch(() => undefined);
  await handle.close();
}

describe("the space of a volume (needs root)", () => {
  test.each(["ext4", "xfs", "btrfs"] as const)(
    "is its own, also when others fill its pool on %s",
    async (fsType) => {
      const own = await start(fsType);
      const path = await own.world.mount(await build(own.world));
      await fillDisk(own.disk);
      for (let round = 0; round < 2; round++) {
        // Twice over the same blocks: a file system that writes elsewhere would find no room then.
        const file = await own.world.open(join(path, `file`), "w");
        await file.write(Buffer.alloc(40 * MIB, round + 1));
        await file.sync();
        await file.close();
      }
      const bytes = await readFile(join(path, "file"));
      expect([bytes.length, bytes.every((byte) => byte === 2)]).toEqual([40 * MIB, true]);
    },
  );

  test.each(["ext4", "xfs", "btrfs"] as const)(
    "is its own when it is attached again, and when it grows, with little left on %s",
    async (fsType) => {
      const own = await start(fsType);
      const volume = await build(own.world, { sizeBytes: 160 * MIB });
      const { bavail, bsize } = await statfs(own.disk.path);
      const most = bavail * bsize - 64 * MIB;
      await run("fallocate", "--length", String(most), join(own.disk.path, "greedy"));
      await own.world.backend.grow(
        { ...volume, record: { ...volume.record, sizeBytes: 176 * MIB } },
        undefined,
      );
      await fillDisk(own.disk);
      await writeFile(join(await own.world.mount(volume), "file"), "content");
    },
  );

  test("is not, where the pool is sparse, and its backend says so", async () => {
    const own = await start("ext4", { preallocate: false });
    expect(own.world.backend.how).toContain("sparse");
    const volume = await build(own.world);
    const { blocks, size } = await stat(join(volume.wrapper, "disk.img"));
    expect(blocks * 512).toBeLessThan(size / 4);
    const path = await own.world.mount(volume);
    await fillDisk(own.disk);
    const file = await own.world.open(join(path, "file"), "w");
    const failed = async () => {
      await file.write(Buffer.alloc(40 * MIB, 1));
      await file.sync();
    };
    await expect(failed()).rejects.toThrow(/EIO|ENOSPC/); // by kernel
    await file.close();
  });

  test("is refused where there is none, when it is made and when it grows, and nothing has changed", async () => {
    const own = await start("ext4");
    const volume = await build(own.world);
    const large = await own.world.place({ sizeBytes: 1024 * MIB });
    await expect(own.world.backend.build(large)).rejects.toMatchObject({ kind: "exhausted" });
    await own.world.backend.dismantle(large.wrapper);
    const before = await stat(join(volume.wrapper, "disk.img"));
    const grown = { ...volume, record: { ...volume.record, sizeBytes: 1024 * MIB } };
    await expect(own.world.backend.grow(grown, undefined)).rejects.toMatchObject({ kind: "exhausted" });
    const after = await stat(join(volume.wrapper, "disk.img"));
    expect([after.size, after.blocks]).toEqual([before.size, before.blocks]);
  });

  test("is got back by the next attachment, where a pod gave it away", async () => {
    const own = await start("ext4");
    const volume = await build(own.world, { access: "block" });
    const device = deviceOf(await own.world.backend.attach(volume));
    await expect(run("blkdiscard", device)).rejects.toThrow("not supported");
    await own.world.backend.detach(volume);
    await run("fallocate", "--punch-hole", "--length", String(32 * MIB), join(volume.wrapper, "disk.img"));
    await own.world.backend.attach(volume);
    const { blocks, size } = await stat(join(volume.wrapper, "disk.img"));
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
  });
});

describe.each(["xfs", "btrfs"] as const)(
  "a pool on %s, which shares content between files (needs root)",
  (poolType) => {
    const options = { signal: new AbortController().signal, onProgress: () => undefined };

    test("copies a raw volume in use, as it was at one moment", async () => {
      const own = await start(poolType);
      const from = await build(own.world, { access: "block", sizeBytes: 32 * MIB });
      const raw = await own.world.open(deviceOf(await own.world.backend.attach(from)), "r+");
      await raw.write(Buffer.alloc(MIB, 1), 0, MIB, 0);
      await raw.sync();
      const copy = await own.world.place({ access: "block", sizeBytes: 48 * MIB });
      await own.world.backend.copy(copy, from, options);
      await raw.write(Buffer.alloc(MIB, 2), 0, MIB, 0);
      await raw.sync();
      const content = await readFile(join(copy.wrapper, "disk.img"));
      expect([content.length, content[0], content[MIB - 1], content[MIB]]).toEqual([48 * MIB, 1, 1, 0]);
    });

    test("copies a mounted volume, and both go on", async () => {
      const own = await start(poolType);
      const from = await build(own.world);
      const path = await own.world.mount(from);
      await writeFile(join(path, "a"), "one");
      const copy = await own.world.place({ sizeBytes: 96 * MIB });
      const record = { ...copy.record, ...(await own.world.backend.copy(copy, from, options)) };
      await writeFile(join(path, "a"), "two");
      const second = await own.world.mount({ ...copy, record });
      expect(await readFile(join(second, "a"), "utf8")).toBe("one");
      expect(await readFile(join(path, "a"), "utf8")).toBe("two");
    });
  },
);

describe("after a crash (needs root)", () => {
  test("the journal of ext4 is replayed, and what cannot be repaired is told with what to do", async () => {
    const own = await start(undefined);
    const volume = await build(own.world);
    const path = await own.world.mount(volume);
    const file = await own.world.open(join(path, "synced"), "w");
    await file.write("kept");
    await file.sync();
    const cut = await own.world.place({ fsType: "ext4" });
    await copyFile(join(volume.wrapper, "disk.img"), join(cut.wrapper, "disk.img")); // what a power cut would leave
    expect(await own.world.deps.images.inspect(join(cut.wrapper, "disk.img"))).toMatchObject({
      clean: false,
    });
    const second = await own.world.mount(cut);
    expect(await readFile(join(second, "synced"), "utf8")).toBe("kept");
    await own.world.unmount(second);
    await own.world.backend.detach(cut);
    const image = await own.world.open(join(cut.wrapper, "disk.img"), "r+");
    await image.write(Buffer.alloc(MIB, 0xff), 0, MIB, 4096); // the descriptors of all its groups
    await image.write(Buffer.from([0]), 0, 1, 1024 + 58); // and it says that it is not clean
    await image.close();
    await expect(own.world.backend.attach(cut)).rejects.toMatchObject({
      kind: "precondition",
      message: expect.stringContaining("e2fsck"),
    });
    expect(await own.world.backend.attached(cut)).toBeUndefined();
  });

  test.each(["ext4", "xfs", "btrfs"])(
    "a process that is killed leaves no device and no mount: %s",
    async (fsType) => {
      const own = await start(undefined);
      for (let round = 0; round < 3; round++) {
        const child = spawnChild(["build", own.disk.path, fsType]);
        await once(child.stdout ?? child, "data"); // it has begun
        await sleep(40 * round);
        child.kill("SIGKILL");
        await once(child, "close");
        // mkfs may go on for a moment without its parent; a device has gone with the process that held it.
        for (let tries = 0; (await loopsBelow(own.disk.path)).length > 0 && tries < 50; tries++)
          await sleep(20);
        expect(await loopsBelow(own.disk.path)).toEqual([]);
      }
      for (const name of await readdir(own.disk.path))
        await own.world.backend.dismantle(join(own.disk.path, name));
    },
  );

  test("a container whose /dev has no node of the device makes one", async () => {
    const own = await start(undefined);
    const script = join(import.meta.dirname, "support/image-child.ts");
    const inside = [
      "mount -t tmpfs none /dev",
      "mknod /dev/loop-control c 10 237",
      "mknod /dev/null c 1 3",
      `exec "$0" "$@"`,
    ];
    const args = ["--mount", "--propagation", "private", "sh", "-ec", inside.join("\n")];
    const said = await run("unshare", ...args, process.execPath, script, "attach", own.disk.path);
    const [listed = ""] = await loopsBelow(own.disk.path);
    expect(said.trim()).toBe(listed.split(" ")[0]);
    for (const name of await readdir(own.disk.path))
      await own.world.backend.dismantle(join(own.disk.path, name));
  });
});

function spawnChild(args: readonly string[]): ChildProcess {
  const script = join(import.meta.dirname, "support/image-child.ts");
  return spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}
