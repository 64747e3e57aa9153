/**
 * The fault sweep of garbage collection: pods die without a DEL, after an ADD that was killed at any step; then our own sweep, or
 * the runtime's GC, is disturbed at each of its steps and begins again. Nothing may be left, and no living pod may lose anything.
 */
import { describe, expect, test } from "vitest";
import { createSweeper } from "../../src/cni/gc/sweeper.ts";
import { createPlugin } from "../../src/cni/plugin.ts";
import { silentLog } from "../../src/observe/log.ts";
import { type BootedProcess, createFakeNode, type FakeNode, type Fault } from "../fakes/cni-node.ts";
import { pausable } from "../fakes/pausable.ts";

const modes = ["fail-before", "fail-after", "kill-before", "kill-after"] as const;
const stateDir = "/run/trivet/cni";
/** Longer ago than any ADD can take. */
const LATER_MS = 3_600_000;

const network = (subnet = "10.88.0.0/28") => ({
  cniVersion: "1.1.0",
  name: "pods",
  type: "trivet",
  ipam: { ranges: [[{ subnet }]] },
});

interface Call {
  readonly verb: "ADD" | "DEL" | "GC";
  readonly pod: string;
  readonly config?: object;
}

async function call({ deps }: Pick<BootedProcess, "deps">, { verb, pod, config = {} }: Call) {
  const env = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: pod,
    CNI_IFNAME: "eth0",
    CNI_NETNS: `/run/netns/${pod}`,
    CNI_PATH: "/opt/cni/bin",
  };
  const plugin = createPlugin({ deps, log: silentLog });
  const { exitCode, stdout } = await plugin.call({ env, stdin: JSON.stringify({ ...network(), ...config }) });
  return { exitCode, stdout, code: exitCode === 0 ? 0 : (JSON.parse(stdout) as { code: number }).code };
}

/** Pod `other` is attached and lives; pod `mine` has its namespace only. */
async function nodeWithNeighbour(): Promise<FakeNode> {
  const node = createFakeNode();
  for (const pod of ["other", "mine"]) node.kernel.addNamespace(`/run/netns/${pod}`);
  expect(await call(node.boot(), { verb: "ADD", pod: "other" })).toMatchObject({ code: 0 });
  return node;
}

const picture = (node: FakeNode) => ({
  files: node.stateFiles(),
  kernel: node.kernel.host.describe(),
  other: node.kernel.namespaceAt("/run/netns/other"),
});

/** Two looks of one process, an hour apart, long after everything else happened. */
async function sweepTwice({ deps }: Pick<BootedProcess, "deps">): Promise<void> {
  let nowMs = deps.clock.nowMs() + LATER_MS;
  const clock = { ...deps.clock, nowMs: () => nowMs };
  const sweeper = createSweeper({ deps: { ...deps, clock }, stateDir, log: silentLog });
  await sweeper.sweep();
  nowMs += LATER_MS;
  await sweeper.sweep();
}

async function stepsOf(work: (process: BootedProcess) => Promise<unknown>, node: FakeNode) {
  const process = node.boot();
  await work(process);
  return process.steps;
}

describe("an ADD that is killed at any step, whose pod dies without a DEL,", () => {
  test.each(["kill-before", "kill-after"] as const)("leaves nothing after two looks: %s", async (mode) => {
    const counted = await nodeWithNeighbour();
    const steps = await stepsOf((process) => call(process, { verb: "ADD", pod: "mine" }), counted);
    for (const [step, name] of steps.entries()) {
      const node = await nodeWithNeighbour();
      const before = picture(node);
      await call(node.boot({ step, mode }), { verb: "ADD", pod: "mine" });
      node.kernel.removeNamespace("/run/netns/mine");
      await sweepTwice(node.boot());
      expect(picture(node), `${mode} at step ${step}, ${name}`).toEqual(before);
    }
  });
});

/** A node whose pod `mine` was attached and is dead, without a DEL. */
async function nodeWithDeadPod(): Promise<{ node: FakeNode; before: ReturnType<typeof picture> }> {
  const node = await nodeWithNeighbour();
  const before = picture(node);
  expect(await call(node.boot(), { verb: "ADD", pod: "mine" })).toMatchObject({ code: 0 });
  node.kernel.removeNamespace("/run/netns/mine");
  return { node, before };
}

describe("our own sweep, disturbed at any step,", () => {
  test.each(modes)("ends its work when it begins again, with and without a DEL: %s", async (mode) => {
    const steps = await stepsOf(sweepTwice, (await nodeWithDeadPod()).node);
    expect(steps.length).toBeGreaterThan(20);
    for (const [step, name] of steps.entries()) {
      for (const withDel of [false, true]) {
        const { node, before } = await nodeWithDeadPod();
        const fault: Fault = { step, mode };
        const process = node.boot(fault);
        await sweepTwice(process);
        process.kill();
        const where = `${mode} at step ${step}, ${name}, ${withDel ? "then DEL" : "no DEL"}`;
        const successor = node.boot();
        if (withDel)
          expect(await call(successor, { verb: "DEL", pod: "mine" }), where).toMatchObject({ code: 0 });
        await sweepTwice(successor);
        expect(picture(node), where).toEqual(before);
      }
    }
  });

  test("does nothing to living pods, however often it looks, and nothing at the first look", async () => {
    const { node } = await nodeWithDeadPod();
    const before = picture(node);
    const { deps } = node.boot();
    const clock = { ...deps.clock, nowMs: () => deps.clock.nowMs() + LATER_MS };
    const sweeper = createSweeper({ deps: { ...deps, clock }, stateDir, log: silentLog });
    expect(await sweeper.sweep()).toMatchObject({ settled: [], waiting: [{ kind: "dead attachment" }] });
    // Again, but too soon.
    expect(await sweeper.sweep()).toMatchObject({ settled: [] });
    expect(picture(node)).toEqual(before);
  });
});

describe("the runtime's GC, disturbed at any step,", () => {
  const valid = { "cni.dev/valid-attachments": [{ containerID: "other", ifname: "eth0" }] };
  const gc = (process: Pick<BootedProcess, "deps">) => call(process, { verb: "GC", pod: "", config: valid });

  test.each(modes)("leaves nothing but what is valid when it is called again: %s", async (mode) => {
    const steps = await stepsOf(gc, (await nodeWithDeadPod()).node);
    for (const [step, name] of steps.entries()) {
      const { node, before } = await nodeWithDeadPod();
      const process = node.boot({ step, mode });
      await gc(process);
      process.kill();
      const where = `${mode} at step ${step}, ${name}`;
      expect(await gc(node.boot()), where).toMatchObject({ code: 0, stdout: "" });
      expect(picture(node), where).toEqual(before);
    }
  });

  test("removes what a killed ADD left, also of a pod that looks alive", async () => {
    const counted = await nodeWithNeighbour();
    const steps = await stepsOf((process) => call(process, { verb: "ADD", pod: "mine" }), counted);
    for (const [step, name] of steps.entries()) {
      const node = await nodeWithNeighbour();
      const before = picture(node);
      await call(node.boot({ step, mode: "kill-after" }), { verb: "ADD", pod: "mine" });
      expect(await gc(node.boot()), name).toMatchObject({ code: 0 });
      expect(picture(node), `step ${step}, ${name}`).toEqual(before);
    }
  });

  test("goes on after a failure, and reports it", async () => {
    const { node } = await nodeWithDeadPod();
    node.kernel.addNamespace("/run/netns/third");
    await call(node.boot(), { verb: "ADD", pod: "third" });
    const { deps } = node.boot();
    let failing = true;
    const files = new Proxy(deps.files, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        if (key !== "open" || typeof value !== "function") {
          return typeof value === "function" ? value.bind(target) : value;
        }
        return async (path: string) => {
          if (failing && path.endsWith("attachments/mine:eth0")) throw new Error("no");
          return target.open(path);
        };
      },
    });
    const answer = await gc({ deps: { ...deps, files } });
    expect(JSON.parse(answer.stdout)).toMatchObject({
      code: 5,
      msg: expect.stringMatching(/removed 1 leftovers and failed at 1: dead attachment mine eth0/),
    });
    failing = false;
    expect(await gc(node.boot())).toMatchObject({ code: 0 });
    expect(node.stateFiles().filter((path) => !path.includes("other"))).toEqual(["pods/leases/10.88.0.2"]);
  });
});

const turns = async () => {
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** Its short waits are over at once. */
const impatient = (deps: BootedProcess["deps"]) => {
  const sleep = (ms: number, signal?: AbortSignal) =>
    ms < 1_000 ? Promise.resolve() : deps.clock.sleep(ms, signal);
  return { deps: { ...deps, clock: { ...deps.clock, sleep } } };
};

describe("a sweep that is stopped at any step, while a DEL and a new ADD take the same address,", () => {
  const one = network("10.88.0.0/30"); // room for one pod
  const newcomer = { verb: "ADD", pod: "new", config: one } as const;

  test("never frees what the new pod has", async () => {
    let reached = true;
    for (let step = 0; reached; step += 1) {
      const node = createFakeNode();
      node.kernel.addNamespace("/run/netns/mine");
      node.kernel.addNamespace("/run/netns/new");
      const { deps } = node.boot();
      expect(await call({ deps }, { verb: "ADD", pod: "mine", config: one })).toMatchObject({ code: 0 });
      node.kernel.removeNamespace("/run/netns/mine");
      const paused = pausable(deps, step);
      const sweeping = sweepTwice({ deps: paused.deps });
      reached = await Promise.race([paused.reached.then(() => true), sweeping.then(() => false)]);
      // Either may have to wait for a guard that the stopped sweep holds; they do not wait for one another.
      const deleting = call({ deps }, { verb: "DEL", pod: "mine", config: one });
      await turns();
      const adding = call(impatient(deps), newcomer);
      await turns();
      paused.resume();
      await Promise.all([sweeping, deleting]);
      const first = await adding;
      const added = first.code === 11 ? await call({ deps }, newcomer) : first;
      expect(added, `stopped at step ${step}`).toMatchObject({ code: 0 });
      const held = ["pods/attachments/new:eth0", "pods/leases/10.88.0.2"];
      expect(node.stateFiles(), `stopped at step ${step}`).toEqual(held);
      const routes = node.kernel.host.routes.filter(({ destination }) => destination === "10.88.0.2");
      expect(routes, `stopped at step ${step}`).toHaveLength(1);
      expect(step).toBeLessThan(500);
    }
  });
});

describe("an ADD that is stopped at any step for hours, while sweeps take it for dead,", () => {
  test("fails and leaves nothing, or is there as a whole", async () => {
    let reached = true;
    let failed = 0;
    for (let step = 0; reached; step += 1) {
      const node = await nodeWithNeighbour();
      const before = picture(node);
      const { deps } = node.boot();
      const paused = pausable(deps, step);
      const adding = call({ deps: paused.deps }, { verb: "ADD", pod: "mine" });
      reached = await Promise.race([paused.reached.then(() => true), adding.then(() => false)]);
      const sweeping = sweepTwice({ deps });
      await turns();
      paused.resume();
      const [{ code }] = await Promise.all([adding, sweeping]);
      const where = `stopped at step ${step}`;
      if (code === 0) {
        const mine = ["pods/attachments/mine:eth0", "pods/leases/10.88.0.3"];
        expect(node.stateFiles(), where).toEqual([...before.files, ...mine].sort());
        expect(await call({ deps }, { verb: "DEL", pod: "mine" }), where).toMatchObject({ code: 0 });
      } else failed += 1;
      // What the sweep of that moment could not know of, the next one does.
      await sweepTwice(node.boot());
      expect(picture(node), where).toEqual(before);
      expect(step).toBeLessThan(500);
    }
    expect(failed, "no sweep came in time to test anything").toBeGreaterThan(20);
  });
});

describe("damaged files", () => {
  const path = (name: string) => `${stateDir}/11111111-2222-4333-8444-555555555555/pods/${name}`;
  const damage = async (node: FakeNode, name: string, content = "garbage") => {
    await node
      .files()
      .unlink(path(name))
      .catch(() => undefined);
    await node.files().create(path(name), Buffer.from(content), 0o600);
  };

  test("a lease that cannot be read and belongs to no pod is freed, by a sweep and by GC", async () => {
    for (const way of ["sweep", "gc"]) {
      const node = await nodeWithNeighbour();
      const before = picture(node);
      await damage(node, "leases/10.88.0.9");
      const process = node.boot();
      if (way === "sweep") await sweepTwice(process);
      else {
        const valid = [{ containerID: "other", ifname: "eth0" }];
        const config = { "cni.dev/valid-attachments": valid };
        expect(await call(process, { verb: "GC", pod: "", config })).toMatchObject({ code: 0 });
      }
      expect(picture(node), way).toEqual(before);
    }
  });

  test.each(["garbage", undefined])(
    "a living pod whose lease is damaged or gone gets it back: %s",
    async (content) => {
      const node = await nodeWithNeighbour();
      const before = picture(node);
      const lease = path("leases/10.88.0.2");
      const whole = (await node.files().read(lease)).toString();
      await node.files().unlink(lease);
      if (content !== undefined) await damage(node, "leases/10.88.0.2", content);
      await sweepTwice(node.boot());
      expect((await node.files().read(lease)).toString()).toBe(whole);
      expect(picture(node)).toEqual(before);
    },
  );

  test("a record that cannot be read goes with its leases once its pod has no link any more", async () => {
    const { node, before } = await nodeWithDeadPod();
    await damage(node, "attachments/mine:eth0", "");
    await sweepTwice(node.boot());
    expect(picture(node)).toEqual(before);
    await damage(node, "attachments/other:eth0", "");
    const living = picture(node);
    await sweepTwice(node.boot());
    expect(picture(node)).toEqual(living);
  });

  test("a file that a killed call left in staging goes", async () => {
    const node = await nodeWithNeighbour();
    const before = picture(node);
    await damage(node, "staging/mine:eth0:n77", "p {}");
    await sweepTwice(node.boot());
    expect(picture(node)).toEqual(before);
  });
});

describe("an ADD that finds no address", () => {
  test("takes that of a pod that died without a DEL, in the same call", async () => {
    const one = network("10.88.0.0/30");
    const node = createFakeNode();
    for (const pod of ["mine", "new"]) node.kernel.addNamespace(`/run/netns/${pod}`);
    const first = node.boot();
    expect(await call(first, { verb: "ADD", pod: "mine", config: one })).toMatchObject({ code: 0 });
    node.kernel.removeNamespace("/run/netns/mine");
    const { deps } = node.boot();
    const clock = { ...deps.clock, nowMs: () => deps.clock.nowMs() + LATER_MS };
    const late = impatient({ ...deps, clock });
    expect(await call(late, { verb: "ADD", pod: "new", config: one })).toMatchObject({ code: 0 });
    expect(node.stateFiles()).toEqual(["pods/attachments/new:eth0", "pods/leases/10.88.0.2"]);
  });
});
