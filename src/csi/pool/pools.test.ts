import { describe, expect, test } from "vitest";
import { createFakeCsiEffects } from "../../../test/fakes/csi-effects.ts";
import { createFakeHold } from "../../../test/fakes/exclusive.ts";
import { createFakeFiles, type FakeFiles } from "../../../test/fakes/files.ts";
import { errnoError } from "../../host/errno.ts";
import type { HoldName } from "../../host/exclusive.ts";
import { silentLog } from "../../observe/log.ts";
import { createOpenBackends } from "../backend/open.ts";
import { createVolume } from "../volume/create.ts";
import { volumeIdFor } from "../volume/id.ts";
import type { VolumeRecord } from "../volume/record.ts";
import { parsePoolFlag } from "./config.ts";
import type { OpenPool } from "./pool.ts";
import { createPools, type Pools } from "./pools.ts";

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

function node(files: FakeFiles, ...flags: string[]): Pools {
  return nodeOf(files, createFakeHold(), ...flags);
}

/** `hold` tells the machine: processes that share it see one another. */
function nodeOf(files: FakeFiles, hold: HoldName, ...flags: string[]): Pools {
  let uuids = files.paths("/").length; // another one for each start
  const effects = { ...createFakeCsiEffects(files), hold, randomUuid: () => uuid(++uuids) };
  const openBackends = createOpenBackends(effects);
  const deps = { ...effects, openBackends, log: silentLog, stateDir: "/state", isBusy: () => false };
  return createPools(deps, flags.map(parsePoolFlag));
}

const disks = () => createFakeFiles({ directories: ["/mnt/a", "/mnt/b", "/state"] });

async function open(pools: Pools, name?: string): Promise<OpenPool> {
  const [pool] = await pools.choose({ access: "mount", ...(name === undefined ? {} : { pools: [name] }) });
  if (!pool) throw new Error("no pool can be opened");
  return pool;
}

function record(pool: string, name: string, sizeBytes = 10): VolumeRecord {
  const id = volumeIdFor({ nodeId: "n", pool, name });
  return { id, name, pool, sizeBytes, created: "2026-01-01T00:00:00.000Z" };
}

/** What lies under `path` goes away as if unmounted, and an empty directory is left; gives the way back. */
async function unmount(files: FakeFiles, path: string): Promise<() => Promise<void>> {
  await files.rename(path, `${path}.disk`);
  await files.mkdir(path, 0o755);
  return async () => {
    await files.rmdir(path);
    await files.rename(`${path}.disk`, path);
  };
}

test("a pool that another process of the machine works on is unavailable, untouched, until that one ends", async () => {
  const [files, hold] = [disks(), createFakeHold()];
  const first = nodeOf(files, hold, "default=/mnt/a");
  const { layout } = await open(first);
  await files.mkdir(`${layout.staging}/under-construction`, 0o700);
  const second = nodeOf(files, hold, "default=/mnt/a");
  await expect(open(second)).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/pool "default".*another process.*stop/),
  });
  expect(await files.list(layout.staging)).toHaveLength(1);
  await first.stop();
  await open(second);
  expect(await files.list(layout.staging)).toHaveLength(0);
});

test("of two processes that begin with one new pool at the same time one gets it, whole, with one identity", async () => {
  const [files, hold] = [disks(), createFakeHold()];
  const nodes = [nodeOf(files, hold, "default=/mnt/a"), nodeOf(files, hold, "default=/mnt/a")];
  const outcomes = await Promise.allSettled(nodes.map((pools) => open(pools)));
  expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const winner = outcomes.find((outcome) => outcome.status === "fulfilled");
  const uuidIn = async (path: string) => JSON.parse(String(await files.read(path))).uuid;
  expect(winner?.value.uuid).toBe(await uuidIn("/mnt/a/.pool/pool.json"));
  expect(winner?.value.uuid).toBe(await uuidIn("/state/pools/default.json"));
});

describe("a pool that was never seen before", () => {
  test("is initialised where it is the default one, its directory made if need be", async () => {
    const files = disks();
    await open(node(files, "default=/mnt/new/pool"));
    expect(files.paths("/mnt/new")).toEqual([
      "/mnt/new/pool directory 0700",
      "/mnt/new/pool/.pool directory 0700",
      "/mnt/new/pool/.pool/pool.json file 0600",
      "/mnt/new/pool/.pool/retained directory 0700",
      "/mnt/new/pool/.pool/staging directory 0700",
      "/mnt/new/pool/.pool/trash directory 0700",
      "/mnt/new/pool/snapshots directory 0700",
      "/mnt/new/pool/volumes directory 0700",
    ]);
    expect(files.paths("/state/pools")).toEqual(["/state/pools/default.json file 0600"]);
  });

  test("is refused where it needs a mount and lies on the file system of the state directory", async () => {
    const files = disks();
    const before = files.paths();
    await expect(open(node(files, "a=/mnt/a"))).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("its disk is not mounted; set requireMount=false"),
    });
    expect(files.paths()).toEqual(before);
  });

  test("is initialised once its disk is mounted", async () => {
    const files = disks();
    const pools = node(files, "a=/mnt/a");
    await expect(open(pools)).rejects.toMatchObject({ kind: "unavailable" });
    files.setDevice("/mnt/a", 9n);
    await expect(open(pools)).resolves.toMatchObject({ name: "a" });
  });

  test("is refused where its directory is missing and needs a mount", async () => {
    const files = disks();
    await expect(open(node(files, "a=/mnt/none"))).rejects.toMatchObject({ kind: "unavailable" });
    expect(files.paths("/mnt")).toEqual(["/mnt/a directory 0755", "/mnt/b directory 0755"]);
  });

  test.each(["/mnt/a/photos", "/mnt/a/volumes/someone"])(
    "is refused where it holds foreign data: %s",
    async (path) => {
      const files = createFakeFiles({ directories: [path, "/state"] });
      const before = files.paths();
      await expect(open(node(files, "default=/mnt/a"))).rejects.toThrow(
        /was never a pool and holds "(photos|someone)"/,
      );
      expect(files.paths()).toEqual(before);
    },
  );

  test("accepts the lost+found of a new ext4", async () => {
    const files = createFakeFiles({ directories: ["/mnt/a/lost+found", "/state"] });
    await expect(open(node(files, "default=/mnt/a"))).resolves.toMatchObject({ name: "default" });
  });

  test("keeps the identity of a pool whose state directory was lost", async () => {
    const files = disks();
    const { uuid: first } = await open(node(files, "default=/mnt/a"));
    await files.removeTree("/state/pools");
    expect((await open(node(files, "default=/mnt/a"))).uuid).toBe(first);
  });
});

describe("a pool that is known", () => {
  test("is unavailable while its disk is not mounted, is not written to, and heals when it is back", async () => {
    const files = disks();
    const pools = node(files, "default=/mnt/a");
    const pool = await open(pools);
    await createVolume(files, pool, record("default", "v"));
    const mountAgain = await unmount(files, "/mnt/a");
    await expect(open(pools)).rejects.toMatchObject({
      kind: "unavailable",
      message: 'pool "default" is unavailable: /mnt/a carries no identity: is its disk mounted?',
    });
    expect(files.paths("/mnt/a")).toEqual([]);
    expect((await pools.status())[0]).toMatchObject({ state: "unavailable", availableBytes: 0, volumes: 0 });
    await mountAgain();
    expect((await pools.status())[0]).toMatchObject({ state: "ready", volumes: 1, reservedBytes: 10 });
  });

  test("is unavailable after a restart as well while its disk is not mounted", async () => {
    const files = disks();
    await open(node(files, "default=/mnt/a"));
    await unmount(files, "/mnt/a");
    await expect(open(node(files, "default=/mnt/a"))).rejects.toMatchObject({ kind: "unavailable" });
    expect(files.paths("/mnt/a")).toEqual([]);
  });

  test("refuses another pool's disk in its place, and both refuse when they are swapped", async () => {
    const files = disks();
    const flags = ["a=/mnt/a,requireMount=false", "b=/mnt/b,requireMount=false"];
    const pools = node(files, ...flags);
    await pools.openAll();
    await files.rename("/mnt/a", "/mnt/c");
    await files.rename("/mnt/b", "/mnt/a");
    await files.rename("/mnt/c", "/mnt/b");
    for (const again of [pools, node(files, ...flags)]) {
      for (const { state, reason } of await again.status()) {
        expect([state, reason]).toEqual(["unavailable", expect.stringContaining("is another pool's disk")]);
      }
    }
  });

  test("refuses a second name for one disk", async () => {
    const files = disks();
    await files.symlink("/mnt/a", "/mnt/alias");
    const pools = node(files, "a=/mnt/a,requireMount=false", "b=/mnt/alias,requireMount=false");
    await pools.openAll();
    const [a, b] = await pools.status();
    expect([a?.state, b?.state, b?.reason]).toEqual([
      "ready",
      "unavailable",
      expect.stringContaining('disk of pool "a"'),
    ]);
  });

  test("refuses an identity that is damaged, and leaves it as it is", async () => {
    const files = disks();
    const pools = node(files, "default=/mnt/a");
    await open(pools);
    await files.unlink("/mnt/a/.pool/pool.json");
    await files.create("/mnt/a/.pool/pool.json", Buffer.from("{"), 0o600);
    await expect(open(pools)).rejects.toMatchObject({ kind: "unavailable" });
    expect(String(await files.read("/mnt/a/.pool/pool.json"))).toBe("{");
  });

  test("does not disturb other pools while it is away, but hides whether it holds a volume", async () => {
    const files = disks();
    const pools = node(files, "a=/mnt/a,requireMount=false", "b=/mnt/b,requireMount=false");
    await pools.openAll();
    const present = record("b", "present");
    await createVolume(files, await open(pools, "b"), present);
    await unmount(files, "/mnt/a");
    expect((await pools.find(present.id))?.pool.name).toBe("b");
    await expect(pools.find(record("a", "unknown").id)).rejects.toMatchObject({ kind: "unavailable" });
  });
});

describe("the scan of a pool", () => {
  const volumes = "/mnt/a/volumes";

  async function withVolumes(...names: string[]): Promise<FakeFiles> {
    const files = disks();
    const pool = await open(node(files, "default=/mnt/a"));
    for (const name of names) await createVolume(files, pool, record("default", name));
    return files;
  }

  test("sets volumes apart whose record cannot be read, deletes nothing of them, and refuses to use them", async () => {
    const files = await withVolumes("good", "torn", "missing", "swapped");
    const [torn, missing, swapped] = ["torn", "missing", "swapped"].map((name) => record("default", name).id);
    await files.unlink(`${volumes}/${torn}/meta.json`);
    await files.create(`${volumes}/${torn}/meta.json`, Buffer.from('{"formatVer'), 0o600);
    await files.unlink(`${volumes}/${missing}/meta.json`);
    await files.unlink(`${volumes}/${swapped}/meta.json`);
    await files.link(
      `${volumes}/${record("default", "good").id}/meta.json`,
      `${volumes}/${swapped}/meta.json`,
    );
    await files.mkdir(`${volumes}/by-hand`, 0o755);
    const before = files.paths(volumes);
    const pools = node(files, "default=/mnt/a");
    const [status] = await pools.status();
    expect(status?.quarantined).toEqual([torn, missing, swapped, "by-hand"].sort());
    // What another's record says is counted: what is set apart takes room.
    expect([status?.volumes, status?.reservedBytes]).toEqual([1, 20]);
    expect(files.paths(volumes)).toEqual(before);
    for (const name of ["torn", "missing", "swapped"]) {
      await expect(pools.find(record("default", name).id)).rejects.toMatchObject({ kind: "precondition" });
    }
  });

  test("drops what was under construction and finishes what was deleted, counting it until it is gone", async () => {
    const files = await withVolumes("kept", "deleted");
    const { id } = record("default", "deleted");
    await files.rename(`${volumes}/${id}`, `/mnt/a/.pool/trash/${id}.1.a`);
    await files.mkdir("/mnt/a/.pool/staging/half", 0o700);
    const pools = node(files, "default=/mnt/a");
    const pool = await open(pools);
    expect(pool.ledger.reservedBytes).toBe(20);
    await pool.trash.idle();
    expect(pool.ledger.reservedBytes).toBe(10);
    expect(files.paths("/mnt/a/.pool").map((path) => path.split(" ")[0])).toEqual([
      ...["/mnt/a/.pool/pool.json", "/mnt/a/.pool/retained", "/mnt/a/.pool/staging", "/mnt/a/.pool/trash"],
    ]);
  });

  test("keeps removing other trash when one piece of it fails, and tries again when kicked", async () => {
    const files = await withVolumes("one", "two");
    const pools = node(files, "default=/mnt/a");
    const pool = await open(pools);
    const [one, two] = ["one", "two"].map((name) => record("default", name).id);
    for (const id of [one, two]) await files.rename(`${volumes}/${id}`, `/mnt/a/.pool/trash/${id}.1.a`);
    files.onEffect = (op, path) => {
      if (op === "file.rmdir" && path.includes(String(one))) throw new Error("injected");
    };
    pool.trash.kick();
    await pool.trash.idle();
    expect((await files.list("/mnt/a/.pool/trash")).map(({ name }) => name)).toEqual([`${one}.1.a`]);
    files.onEffect = undefined;
    pool.trash.kick();
    await pool.trash.idle();
    expect(await files.list("/mnt/a/.pool/trash")).toEqual([]);
  });
});

describe("the budget of a pool", () => {
  test("holds for 200 creates at once: what fits is made, the rest is exhausted, and not a byte is promised twice", async () => {
    const files = disks();
    const pool = await open(node(files, "default=/mnt/a,budget=1000"));
    const wanted = Array.from({ length: 200 }, (_, n) => record("default", `v${n}`, 30));
    const outcomes = await Promise.allSettled(wanted.map((one) => createVolume(files, pool, one)));
    const failed = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason.kind] : [],
    );
    expect(failed).toEqual(Array.from({ length: 167 }, () => "exhausted"));
    expect(await files.list("/mnt/a/volumes")).toHaveLength(33);
    expect(pool.ledger.reservedBytes).toBe(990);
  });

  test("is the size of the disk where none is set, and never more than is free", async () => {
    const files = disks();
    files.fileSystem = { ...files.fileSystem, totalBytes: 100, availableBytes: 40 };
    const pool = await open(node(files, "default=/mnt/a"));
    await expect(createVolume(files, pool, record("default", "a", 41))).rejects.toMatchObject({
      kind: "exhausted",
    });
    for (const name of ["a", "b"]) await createVolume(files, pool, record("default", name, 40));
    await expect(createVolume(files, pool, record("default", "c", 21))).rejects.toMatchObject({
      kind: "exhausted",
    });
    await createVolume(files, pool, record("default", "c", 20));
  });
});

describe("a disk in trouble", () => {
  const failWith = (files: FakeFiles, errno: string) => {
    files.onEffect = (op, path, when) => {
      if (op === "file.create" && when === "before") throw errnoError(errno, op, path);
    };
  };

  test("that has no inodes left says so, and has no room for anything", async () => {
    const files = disks();
    const pools = node(files, "default=/mnt/a");
    const pool = await open(pools);
    const space = { ...files.fileSystem };
    files.onEffect = (op, path, when) => {
      if (op !== "file.create" || when !== "before") return;
      files.fileSystem = { ...space, freeInodes: 0 };
      throw errnoError("ENOSPC", op, path);
    };
    await expect(createVolume(files, pool, record("default", "one"))).rejects.toMatchObject({
      kind: "exhausted",
      message: expect.stringContaining("no inodes left, of 1000000"),
    });
    files.onEffect = undefined;
    expect((await pool.room()).availableBytes).toBe(0);
    expect(pool.ledger.reservedBytes).toBe(0);
  });

  test.each([
    ["ENOSPC", "exhausted", "ENOSPC"],
    ["EDQUOT", "exhausted", "EDQUOT"],
    ["EROFS", "unavailable", "takes no writes (EROFS)"],
    ["EIO", "io", "EIO"],
  ])("that answers %s makes nothing, reserves nothing, and is told as %s", async (errno, kind, message) => {
    const files = disks();
    const pool = await open(node(files, "default=/mnt/a"));
    failWith(files, errno);
    await expect(createVolume(files, pool, record("default", "one"))).rejects.toMatchObject({
      kind,
      message: expect.stringContaining(message),
    });
    files.onEffect = undefined;
    expect(pool.ledger.reservedBytes).toBe(0);
    expect(await files.list(pool.layout.volumes)).toEqual([]);
    expect(await files.list(pool.layout.staging)).toEqual([]);
  });

  test("whose record gives EIO keeps its volume, which is neither unknown nor deleted", async () => {
    const files = disks();
    const pools = node(files, "default=/mnt/a");
    const one = record("default", "one");
    await createVolume(files, await open(pools), one);
    files.onEffect = (op, path) => {
      if (op === "file.read" && path.endsWith("meta.json")) throw errnoError("EIO", op, path);
    };
    await expect(pools.find(one.id)).rejects.toMatchObject({ kind: "io" });
    const [status] = await node(files, "default=/mnt/a").status();
    expect(status?.quarantined).toEqual([one.id]);
    files.onEffect = undefined;
    expect((await pools.find(one.id))?.record).toMatchObject(one);
  });
});
