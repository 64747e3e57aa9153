/**
 * Many calls at once: what GetCapacity promises is what CreateVolume gives, on a pool that is nearly full, and no call keeps
 * the others waiting. How long the event loop was blocked is printed; it is not asserted closely, for the machine has others.
 */
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLife, type Life } from "./support/csi-life.ts";
import { type CsiNode, type CsiScratch, createCsiScratch, startCsiNode } from "./support/csi-node.ts";
import { createRandom } from "./support/seeded-random.ts";

const MIB = 2 ** 20;
const AT_ONCE = 200;
/** prom-client samples with a timer of this period, which is in what it measures. */
const SAMPLE_MS = 10;

let scratch: CsiScratch;
let node: CsiNode;

beforeEach(async () => {
  scratch = await createCsiScratch("load");
});

afterEach(async () => {
  await node?.stop();
  await scratch?.remove();
});

const pool = (settings: string) => `default=${join(scratch.root, "pool")},${settings}`;
const capability = { mount: { fs_type: "" }, access_mode: { mode: "SINGLE_NODE_WRITER" } };

/** The code of the answer, and the id where there is one. */
async function create(name: string, bytes: number): Promise<{ readonly code: string; readonly id?: string }> {
  const request = { name, capacity_range: { required_bytes: bytes }, volume_capabilities: [capability] };
  try {
    const answer = await node.client.call<{ volume: { volume_id: string } }>(
      "Controller",
      "CreateVolume",
      request,
    );
    return { code: "OK", id: answer.volume.volume_id };
  } catch (error) {
    return { code: status[(error as { code: number }).code] ?? "?" };
  }
}

async function capacity(): Promise<{ readonly left: number; readonly largest: number }> {
  const { available_capacity, maximum_volume_size } = await node.client.call<{
    available_capacity: string;
    maximum_volume_size: { value: string } | null;
  }>("Controller", "GetCapacity");
  return {
    left: Number(available_capacity),
    largest: Number(maximum_volume_size?.value ?? available_capacity),
  };
}

test.each([
  { backend: "directory", sizeBytes: MIB, fits: 37, budget: 37.5 * MIB, rest: MIB / 2 },
  { backend: "image,preallocate=false", sizeBytes: 16 * MIB, fits: 5, budget: 5.5 * 16 * MIB, rest: 0 },
])(
  "$backend: 200 creates at once get what fits and no more",
  async ({ backend, sizeBytes, fits, budget, rest }) => {
    node = await startCsiNode(scratch, [pool(`backend=${backend},budget=${budget}`)]);
    expect(await capacity()).toEqual({ left: budget, largest: budget });
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, index) => create(`one-${index}`, sizeBytes)),
    );
    const codes = new Map<string, number>();
    for (const { code } of answers) codes.set(code, (codes.get(code) ?? 0) + 1);
    expect(Object.fromEntries(codes)).toEqual({ OK: fits, RESOURCE_EXHAUSTED: AT_ONCE - fits });
    // What is too little for any image is not promised.
    expect((await capacity()).left).toBe(rest);
    const made = answers.flatMap(({ id }) => id ?? []);
    await Promise.all(made.map((volume_id) => node.client.call("Controller", "DeleteVolume", { volume_id })));
    await expect.poll(async () => (await capacity()).left, { timeout: 20_000 }).toBe(budget);
  },
);

test("while others create and delete, nobody is refused what GetCapacity promised to one who asks alone", async () => {
  const budget = 64 * MIB;
  node = await startCsiNode(scratch, [pool(`backend=directory,budget=${budget}`)]);
  let isOver = false;
  const others = Array.from({ length: 8 }, async (_, worker) => {
    for (let count = 0; !isOver; count++) {
      const { code, id } = await create(`other-${worker}-${count}`, 4 * MIB);
      expect(["OK", "RESOURCE_EXHAUSTED"]).toContain(code);
      if (id) await node.client.call("Controller", "DeleteVolume", { volume_id: id });
    }
  });
  for (let count = 0; count < 100; count++) {
    const { left, largest } = await capacity();
    expect(left).toBeLessThanOrEqual(budget);
    expect(largest).toBeLessThanOrEqual(left);
  }
  isOver = true;
  await Promise.all(others);
  // What was in the trash is free again when it is gone; from then on the promise is exact.
  await expect.poll(async () => (await capacity()).left, { timeout: 20_000 }).toBe(budget);
  for (const share of [0.6, 0.3, 0.05]) {
    const { largest } = await capacity();
    const bytes = Math.floor((largest * share) / 4096) * 4096;
    expect(await create(`exact-${share}`, bytes)).toMatchObject({ code: "OK" });
  }
  const { left, largest } = await capacity();
  expect(await create("rest", largest)).toMatchObject({ code: "OK" });
  expect(await capacity()).toEqual({ left: left - largest, largest: left - largest });
  expect(await create("beyond", 4096)).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
});

/** A loop that has nothing to do: what delays it is the machine. */
function watchIdleLoop() {
  const program = `
    const { parentPort } = require("node:worker_threads");
    const delay = require("node:perf_hooks").monitorEventLoopDelay({ resolution: ${SAMPLE_MS} });
    delay.enable();
    parentPort.once("message", () => parentPort.postMessage({ p99: delay.percentile(99) / 1e9, max: delay.max / 1e9 }));`;
  const worker = new Worker(program, { eval: true });
  return {
    async stop(): Promise<{ readonly p99: number; readonly max: number }> {
      worker.postMessage("end");
      const [seen] = await once(worker, "message");
      await worker.terminate();
      return seen;
    },
  };
}

test("no call blocks the event loop for long", async () => {
  node = await startCsiNode(scratch, [
    pool("backend=directory"),
    `image=${scratch.root}/image,backend=image,requireMount=false`,
  ]);
  const random = createRandom(4);
  const kind = { access: "mount", sizeBytes: 16 * MIB, grows: false } as const;
  const begin = (prefix: string) =>
    Array.from({ length: 12 }, (_, index) => {
      const name = index % 3 === 0 ? "image" : "default";
      const directory = join(scratch.root, name === "image" ? "image" : "pool");
      const where = { kubeletRoot: scratch.kubeletRoot, random };
      return createLife(`${prefix}${index}`, { ...kind, pool: name, directory }, where);
    });
  const connection = { client: node.client, dead: false };
  const runAll = (all: readonly Life[]) =>
    Promise.all(all.map((life) => life.run(connection, { finish: true })));
  await runAll(begin("first")); // what is compiled for the first calls is no call's
  const [lives, idle] = [begin("load"), watchIdleLoop()];
  await node.metrics({}); // a scrape begins a new measurement
  await runAll(lives);
  const { p50, p99, max } = await node.metrics({
    p50: "nodejs_eventloop_lag_p50_seconds",
    p99: "nodejs_eventloop_lag_p99_seconds",
    max: "nodejs_eventloop_lag_max_seconds",
  });
  const ms = (seconds: number) => (1000 * seconds - SAMPLE_MS).toFixed(1);
  const elsewhere = await idle.stop();
  const steps = lives.reduce((sum, { done }) => sum + done, 0);
  process.stdout.write(
    `event loop blocked over ${steps} calls: p50 ${ms(p50)} ms, p99 ${ms(p99)} ms, longest ${ms(max)} ms; ` +
      `of an idle loop in the same time, which only others can keep from running: p99 ${ms(elsewhere.p99)} ms, longest ${ms(elsewhere.max)} ms\n`,
  );
  expect(steps).toBeGreaterThan(lives.length);
  expect(p50).toBeLessThan(1);
});
