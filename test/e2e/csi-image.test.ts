import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  createDisk,
  createImageWorld,
  createWriter,
  deviceOf,
  type ImageWorld,
  loopsBelow,
  MIB,
  mayGrowExt4,
  run,
  shownBytes,
} from "./support/image-world.ts";

const sizes = { ext4: 64 * MIB, xfs: 300 * MIB, btrfs: 256 * MIB } as const;

describe.each(["ext4", "xfs", "btrfs"] as const)(
  "an image with %s on an ext4 pool (needs root)",
  (fsType) => {
    const sizeBytes = sizes[fsType];
    let disk: Awaited<ReturnType<typeof createDisk>>;
    let world: ImageWorld;
    beforeAll(async () => {
      disk = await createDisk();
      world = createImageWorld(disk.path);
    });
    afterEach(() => world.close());
    afterAll(async () => {
      expect(await loopsBelow(disk.path)).toEqual([]);
      await disk.remove();
    });
    const build = async (fields = {}) => {
      const volume = await world.place({ fsType, sizeBytes, ...fields });
      const chosen = await world.backend.build(volume);
      return { ...volume, record: { ...volume.record, ...chosen } };
    };

    test("is built with its space reserved, with the owner and mode asked for, empty, and on no loop device", async () => {
      const volume = await build({ owner: { mode: 0o1770, uid: 1000, gid: 2000 } });
      expect(volume.record.fsType).toBe(fsType);
      const { size, blocks, mode } = await stat(join(volume.wrapper, "disk.img"));
      expect([size, blocks * 512 >= size, mode & 0o777]).toEqual([sizeBytes, true, 0o600]);
      expect(await loopsBelow(disk.path)).toEqual([]);
      const path = await world.mount(volume);
      const top = await stat(path);
      expect([top.mode & 0o7777, top.uid, top.gid]).toEqual([0o1770, 1000, 2000]);
      expect(await readdir(path)).toEqual([]);
    });

    test("stops a writer at its size, and lets the same writer go on when it has grown", async () => {
      const volume = await build();
      const path = await world.mount(volume);
      expect(await shownBytes(path)).toBeGreaterThan(sizeBytes * 0.75);
      expect(await shownBytes(path)).toBeLessThanOrEqual(sizeBytes);
      const file = await world.open(join(path, "file"), "a");
      const writer = createWriter(file);
      expect(await writer.fill()).toBe("ENOSPC");
      const before = writer.written();
      expect(before).toBeGreaterThan(sizeBytes * 0.6);
      expect(before).toBeLessThan(sizeBytes);

      const grown = { ...volume, record: { ...volume.record, sizeBytes: sizeBytes + 64 * MIB } };
      if (fsType === "ext4" && !mayGrowExt4()) {
        // Not on this machine: it says so, and grows when it is attached again.
        await expect(world.backend.grow(grown, path)).rejects.toThrow("CAP_SYS_RESOURCE");
        await file.close();
        await world.unmount(path);
        await world.backend.detach(grown);
        expect(await shownBytes(await world.mount(grown))).toBeGreaterThan(sizeBytes * 0.75 + 60 * MIB);
        return;
      }
      await world.backend.grow(grown, path);
      await world.backend.grow(grown, path); // repeated from the record
      expect(await shownBytes(path)).toBeGreaterThan(sizeBytes * 0.75 + 60 * MIB);
      expect(await writer.fill()).toBe("ENOSPC");
      expect(writer.written() - before).toBeGreaterThan(48 * MIB);
      expect(writer.written()).toBeLessThan(sizeBytes + 64 * MIB);
      await file.close();
      const usage = await world.backend.usage(grown, path);
      expect(usage.bytes.total).toBe(await shownBytes(path));
      expect(await world.backend.problem(grown)).toBeUndefined();
    });

    test("grows while it is attached nowhere, and also when a crash came between the record and the growth", async () => {
      const volume = await build();
      const once = { ...volume, record: { ...volume.record, sizeBytes: sizeBytes + 32 * MIB } };
      await world.backend.grow(once, undefined);
      expect(await loopsBelow(disk.path)).toEqual([]);
      const twice = { ...volume, record: { ...volume.record, sizeBytes: sizeBytes + 64 * MIB } };
      expect(await world.backend.problem(twice)).toContain("expand");
      const path = await world.mount(twice); // the record was written, and nothing else
      expect(await shownBytes(path)).toBeGreaterThan(sizeBytes * 0.75 + 60 * MIB);
      expect(await world.backend.problem(twice)).toBeUndefined();
    });

    test("is the same after it was detached and attached again, with what was written in between", async () => {
      const volume = await build();
      const path = await world.mount(volume);
      await writeFile(join(path, "kept"), "content");
      await expect(world.backend.detach(volume)).rejects.toMatchObject({ kind: "precondition" });
      await expect(world.backend.dismantle(volume.wrapper)).rejects.toMatchObject({ kind: "precondition" });
      expect(await readFile(join(path, "kept"), "utf8")).toBe("content");
      await world.unmount(path);
      await world.backend.detach(volume);
      await world.backend.detach(volume);
      expect(await world.backend.attached(volume)).toBeUndefined();
      expect(await readFile(join(await world.mount(volume), "kept"), "utf8")).toBe("content");
    });

    test("is copied while it is written to, as it was at one moment, larger, and used beside its original", async () => {
      const volume = await build();
      const path = await world.mount(volume);
      await writeFile(join(path, "a"), "one");
      const log = await world.open(join(path, "log"), "a");
      let stop = false;
      const writing = (async () => {
        for (let n = 0; !stop; n++) {
          await log.write(`${String(n).padStart(7, "0")}\n`);
          await log.datasync();
        }
      })();
      const copy = await world.place({ fsType, sizeBytes: sizeBytes + 64 * MIB });
      const progress: number[] = [];
      const options = {
        signal: new AbortController().signal,
        onProgress: ({ copiedBytes }: { copiedBytes: number }) => void progress.push(copiedBytes),
      };
      const chosen = await world.backend.copy(copy, volume, options);
      stop = true;
      await writing;
      await log.close();
      expect(chosen).toMatchObject({ fsType });
      expect(await readdir(volume.wrapper)).toEqual(["disk.img"]); // no mark is left
      const copied = { ...copy, record: { ...copy.record, ...chosen } };
      const second = await world.mount(copied);
      expect(await readFile(join(second, "a"), "utf8")).toBe("one");
      const lines = (await readFile(join(second, "log"), "utf8")).split("\n").slice(0, -1);
      expect(lines).toEqual(lines.map((_, n) => String(n).padStart(7, "0")));
      expect(await shownBytes(second)).toBeGreaterThan((await shownBytes(path)) + 56 * MIB);
      await writeFile(join(second, "b"), "two");
      await expect(stat(join(path, "b"))).rejects.toThrow();
      const uuids = await Promise.all([path, second].map((at) => run("findmnt", "-no", "SOURCE", at)));
      const ids = await Promise.all(
        uuids.map((device) => run("blkid", "-p", "-o", "value", "-s", "UUID", device.trim())),
      );
      expect(new Set(ids).size).toBe(2);
    });
  },
);

describe("a raw image (needs root)", () => {
  let disk: Awaited<ReturnType<typeof createDisk>>;
  let world: ImageWorld;
  beforeAll(async () => {
    disk = await createDisk();
    world = createImageWorld(disk.path);
  });
  afterEach(() => world.close());
  afterAll(async () => {
    expect(await loopsBelow(disk.path)).toEqual([]);
    await disk.remove();
  });

  test("reads as zeroes, ends at its size, grows under an open descriptor, and keeps its content", async () => {
    const volume = await world.place({ access: "block", sizeBytes: 20 * MIB });
    expect(await world.backend.build(volume)).toEqual({});
    const device = deviceOf(await world.backend.attach(volume));
    expect((await run("blockdev", "--getsize64", device)).trim()).toBe(String(20 * MIB));
    expect((await run("blockdev", "--getss", device)).trim()).toBe("512");
    const raw = await world.open(device, "r+");
    const first = Buffer.alloc(MIB);
    await raw.read(first, 0, MIB, 19 * MIB);
    expect(first.every((byte) => byte === 0)).toBe(true);
    await raw.write(Buffer.alloc(512, 1), 0, 512, 20 * MIB - 512);
    await expect(raw.write(Buffer.alloc(512, 1), 0, 512, 20 * MIB)).rejects.toMatchObject({ code: "ENOSPC" });
    const grown = { ...volume, record: { ...volume.record, sizeBytes: 24 * MIB } };
    await world.backend.grow(grown, undefined);
    await raw.write(Buffer.alloc(512, 2), 0, 512, 24 * MIB - 512);
    await raw.sync();
    expect((await run("blockdev", "--getsize64", device)).trim()).toBe(String(24 * MIB));
    expect(await world.backend.usage(grown, undefined)).toEqual({
      bytes: { total: 24 * MIB, used: 0, available: 24 * MIB },
    });
    await raw.close();
    await world.backend.detach(grown);
    const content = await readFile(join(volume.wrapper, "disk.img"));
    expect([content[20 * MIB - 1], content[24 * MIB - 1], content.length]).toEqual([1, 2, 24 * MIB]);
  });

  test("is attached once, however often and by however many it is asked for", async () => {
    const volume = await world.place({ access: "block", sizeBytes: 16 * MIB });
    await world.backend.build(volume);
    const other = createImageWorld(disk.path); // another process would see the same
    const sources = await Promise.all(Array.from({ length: 8 }, () => world.backend.attach(volume)));
    sources.push(await other.backend.attach(volume));
    expect(new Set(sources.map(deviceOf)).size).toBe(1);
    expect(await loopsBelow(disk.path)).toHaveLength(1);
    await run("losetup", "--detach", deviceOf(sources[0])); // somebody tidies up by hand
    expect(await world.backend.attached(volume)).toBeUndefined();
    expect(deviceOf(await world.backend.attach(volume))).toMatch(/^\/dev\/loop\d+$/);
  });

  test("many are attached at once, each to a device of its own", async () => {
    const volumes = [];
    for (let n = 0; n < 12; n++) {
      const volume = await world.place({ access: "block", sizeBytes: 16 * MIB });
      await world.backend.build(volume);
      volumes.push(volume);
    }
    const devices = await Promise.all(
      volumes.map(async (volume) => deviceOf(await world.backend.attach(volume))),
    );
    expect(new Set(devices).size).toBe(12);
    await Promise.all(volumes.map((volume) => world.backend.detach(volume)));
    expect(await loopsBelow(disk.path)).toEqual([]);
  });

  test("in use on a pool that cannot share content is not copied, and nothing is left of the attempt", async () => {
    const volume = await world.place({ access: "block", sizeBytes: 16 * MIB });
    await world.backend.build(volume);
    await world.backend.attach(volume);
    const copy = await world.place({ access: "block", sizeBytes: 16 * MIB });
    const options = { signal: new AbortController().signal, onProgress: () => undefined };
    await expect(world.backend.copy(copy, volume, options)).rejects.toMatchObject({ kind: "precondition" });
    expect(await readdir(copy.wrapper)).toEqual([]);
    await world.backend.detach(volume);
    await world.backend.copy(copy, volume, options);
    expect((await stat(join(copy.wrapper, "disk.img"))).size).toBe(16 * MIB);
  });
});
