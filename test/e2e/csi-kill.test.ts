/**
 * `trivet node` is killed again and again, at random points of a mixed load on all kinds of volume, and started again. What
 * it has acknowledged must be there, with its content; what it has not must be whole or not there at all; and what its
 * ledgers say must be what its records add up to. `TRIVET_KILL_ROUNDS=200` runs longer, `TRIVET_KILL_SEED` repeats a run.
 */
import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Connection,
  createLife,
  Interrupted,
  type Life,
  type LifeKind,
  requireContent,
  type Thing,
} from "./support/csi-life.ts";
import { type CsiNode, type CsiScratch, createCsiScratch, startCsiNode } from "./support/csi-node.ts";
import { loopsBelow, mayGrowExt4 } from "./support/image-world.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";
import { mountsBelow } from "./support/processes.ts";
import { createRandom } from "./support/seeded-random.ts";

const MIB = 2 ** 20;
const ROUNDS = Number(process.env.TRIVET_KILL_ROUNDS ?? 6);
const SEED = Number(process.env.TRIVET_KILL_SEED ?? Date.now() % 1_000_000);
const LONGEST_ROUND_MS = 600;
const QUIET_MS = 20_000;
const BUDGET = 640 * MIB;

let scratch: CsiScratch;
let disk: LoopDisk;
let node: CsiNode;
let connection: Connection;
let pools: string[];
let kinds: LifeKind[];

async function begin(): Promise<void> {
  node = await startCsiNode(scratch, pools);
  connection = { client: node.client, dead: false };
}

beforeAll(async () => {
  scratch = await createCsiScratch("kill");
  disk = createLoopDisk("btrfs", 1024);
  execFileSync("btrfs", ["quota", "enable", disk.path]);
  const [directory, image] = [join(scratch.root, "directory"), join(scratch.root, "image")];
  const settings = `requireMount=false,budget=${BUDGET}`;
  pools = [
    `directory=${directory},backend=directory,${settings}`,
    `image=${image},backend=image,${settings}`,
    `btrfs=${disk.path},backend=quota,budget=${BUDGET}`,
  ];
  const sizeBytes = 16 * MIB;
  kinds = [
    { pool: "directory", access: "mount", sizeBytes, grows: true, directory },
    { pool: "image", access: "mount", sizeBytes, grows: mayGrowExt4(), directory: image },
    { pool: "image", access: "block", sizeBytes, grows: true, directory: image },
    { pool: "btrfs", access: "mount", sizeBytes, grows: true, directory: disk.path },
  ];
});

afterAll(async () => {
  await node?.stop("SIGKILL");
  await scratch?.remove().finally(() => disk?.remove());
});

interface Entry {
  readonly id: string;
  readonly bytes: number;
}

async function listed(what: Thing["what"]): Promise<Entry[]> {
  if (what === "volume") {
    const { entries } = await node.client.call<{
      entries: { volume: { volume_id: string; capacity_bytes: string } }[];
    }>("Controller", "ListVolumes");
    return entries.map(({ volume }) => ({ id: volume.volume_id, bytes: Number(volume.capacity_bytes) }));
  }
  const { entries } = await node.client.call<{
    entries: { snapshot: { snapshot_id: string; size_bytes: string } }[];
  }>("Controller", "ListSnapshots");
  return entries.map(({ snapshot }) => ({ id: snapshot.snapshot_id, bytes: Number(snapshot.size_bytes) }));
}

/** What was acknowledged is there with its size, what is gone is gone; what is in between is one or the other. */
async function requireAcknowledged(things: readonly Thing[]): Promise<void> {
  for (const what of ["volume", "snapshot"] as const) {
    const own = things.filter((thing) => thing.what === what);
    const found = new Map((await listed(what)).map(({ id, bytes }) => [id, bytes]));
    for (const { id = "", name, state, sizeBytes, wantedBytes } of own) {
      const bytes = found.get(id);
      found.delete(id);
      if (state === "there") expect([sizeBytes, wantedBytes], `${name}, ${id}`).toContain(bytes);
    }
    const inBetween = own.filter(({ state }) => state === "asked");
    expect(found.size, `${what}s that nobody asked for: ${[...found.keys()]}`).toBeLessThanOrEqual(
      inBetween.length,
    );
  }
  for (const thing of things) {
    if (thing.state === "there" && thing.target !== undefined) await requireContent(thing.target, thing);
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + QUIET_MS; !(await isSo()); await sleep(20)) {
    if (Date.now() > end)
      expect.fail(`${what} within ${QUIET_MS} ms; the driver said ${node.log().slice(-1_500)}`);
  }
}

const isEmpty = async (path: string) => (await readdir(path)).length === 0;

/** Nothing is left in the pool's own corner, and the ledger says what the records add up to. */
async function requireAccounts(): Promise<void> {
  const all = [...(await listed("volume")), ...(await listed("snapshot"))];
  for (const { pool, directory } of kinds) {
    const own = join(directory, ".pool");
    expect(await readdir(join(own, "staging")), `staging of ${pool}`).toEqual([]);
    await until(`the trash of ${pool} is not empty`, () => isEmpty(join(own, "trash")));
    const names = (
      await Promise.all(["volumes", "snapshots"].map((name) => readdir(join(directory, name))))
    ).flat();
    const reserved = names.reduce(
      (sum, name) => sum + (all.find(({ id }) => id === name)?.bytes ?? Number.NaN),
      0,
    );
    const left = async () => {
      const request = { parameters: { pool } };
      const answer = await node.client.call<{ available_capacity: string }>(
        "Controller",
        "GetCapacity",
        request,
      );
      return Number(answer.available_capacity);
    };
    // The entry of the last removal is released a moment after its directory is gone.
    await until(
      `${pool} has ${await left()} left, not ${BUDGET - reserved}`,
      async () => (await left()) === BUDGET - reserved,
    );
  }
}

/** Lets the load run, and kills the driver in the midst of it. */
async function interrupt(lives: readonly Life[], afterMs: number): Promise<void> {
  const running = lives.map((life) =>
    life.run(connection, { finish: false }).catch((error: unknown) => {
      if (!(error instanceof Interrupted)) throw error;
    }),
  );
  const failed = Promise.all(running);
  await Promise.race([sleep(afterMs), failed]);
  connection.dead = true;
  await node.stop("SIGKILL");
  await failed;
}

test(
  `loses, leaks and counts nothing wrong when killed ${ROUNDS} times (seed ${SEED})`,
  async () => {
    const random = createRandom(SEED);
    const lives = kinds.flatMap((kind, index) =>
      ["a", "b"].map((name) =>
        createLife(`${name}${index}`, kind, { kubeletRoot: scratch.kubeletRoot, random }),
      ),
    );
    const things = () => lives.flatMap((life) => [...life.things]);
    for (let round = 1; round <= ROUNDS; round++) {
      await begin();
      await requireAcknowledged(things());
      await requireAccounts();
      await interrupt(lives, random.below(LONGEST_ROUND_MS));
    }
    await begin();
    await Promise.all(lives.map((life) => life.run(connection, { finish: true })));
    expect(things()).toEqual([]);
    await requireAcknowledged([]);
    await requireAccounts();
    expect(await mountsBelow(scratch.kubeletRoot)).toEqual([]);
    expect(await loopsBelow(scratch.root)).toEqual([]);
    expect(lives.every(({ done }) => done > 0)).toBe(true);
  },
  60_000 + ROUNDS * 10_000,
);
