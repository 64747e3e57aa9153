/**
 * Many pods at once and one after another, while clients and agents die: who lives has an address of its own and traffic, and of
 * the others nothing stays. `make soak` runs it with 500 pods at once and 5,000 pairs; here there are fewer, since each takes the
 * kernel its time.
 */
import { execFileSync, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AgentProcess, startAgentIn } from "./support/cni-agent.ts";
import { installClient, runPlugin } from "./support/cni-client.ts";
import { addressIn, type CniAnswer, type Json, World } from "./support/cni-world.ts";

const ADDS = Number(process.env.SOAK_ADDS ?? 100);
const KILLED = ADDS / 5;
const PAIRS = Number(process.env.SOAK_PAIRS ?? 300);
/** Of what is reachable: a leak of 10 KiB a pair shows in 300 pairs, and one of 600 bytes in 5,000. */
const HELD_NOISE_KIB = 3_000;
/** Of resident memory, which compiled code and the garbage collector's pages make larger for some thousand calls. */
const RESIDENT_NOISE_KIB = 32 << 10;
const program = fileURLToPath(new URL("../../bin/trivet", import.meta.url));

let world: World;
let client: string;
let agent: AgentProcess;
let before: ReturnType<World["picture"]>;

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  client = installClient(join(world.directory, "bin"), program);
  agent = await startAgent();
  before = world.picture();
});

afterAll(async () => {
  await agent.stop();
  await world.destroy();
});

const startAgent = () => startAgentIn(world.name("node"), world.socket, world.stateDir);

/** Only its network: `ip netns exec` would give each client mounts of its own, which costs more than the call. */
const inNode = () => ["nsenter", `--net=${world.netns("node")}`];

function call(command: string, pod: string, changes: Json = {}): Promise<CniAnswer> {
  const stdin = JSON.stringify(world.config(changes));
  return runPlugin(client, { env: world.env(command, pod), stdin, before: inNode() });
}

/** Calls that were done without the agent, by the reason that the client gave. */
const withoutAgent = new Map<string, number>();

/** As a runtime does: a failed ADD is followed by its DEL, and tried again. */
async function addAsRuntime(pod: string): Promise<string> {
  for (let tries = 1; ; tries++) {
    const answer = await call("ADD", pod);
    const [why] = /trivet: .*(?=: running)/.exec(answer.stderr) ?? [];
    if (why) withoutAgent.set(why, (withoutAgent.get(why) ?? 0) + 1);
    if (answer.exitCode === 0) return addressIn(answer);
    expect(JSON.parse(answer.stdout), answer.stderr).toMatchObject({ code: 11 });
    expect(tries, "an ADD that fails again and again").toBeLessThan(10);
    expect(await call("DEL", pod)).toMatchObject({ exitCode: 0 });
  }
}

/** A client that dies on its way; whether it had its answer by then does not matter. */
async function addKilled(pod: string, afterMs: number): Promise<void> {
  const [command = "", ...args] = [...inNode(), client];
  const env = { PATH: process.env.PATH, ...world.env("ADD", pod) };
  const child = spawn(command, args, { env, stdio: ["pipe", "ignore", "ignore"] });
  child.stdin.on("error", () => undefined);
  child.stdin.end(JSON.stringify(world.config()));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await sleep(afterMs);
  child.kill("SIGKILL");
  await ended;
}

async function restartAgent(): Promise<void> {
  await agent.stop("SIGKILL");
  agent = await startAgent();
}

/** A closed port is refused by the pod itself: a packet came to it, and one back. */
const knock = `for (const host of process.argv.slice(1)) {
  const socket = require("net").connect({ host, port: 9, timeout: 10_000 });
  socket.on("timeout", () => socket.destroy());
  socket.on("error", ({ code }) => code === "ECONNREFUSED" && console.log(host));
}`;

/** Those of the addresses to which, and back from which, packets go. One process asks all of them. */
function reached(addresses: readonly string[]): string[] {
  const [program = "", ...args] = [...inNode(), process.execPath, "-e", knock, ...addresses];
  return execFileSync(program, args, { encoding: "utf8" }).trim().split("\n");
}

describe(`${ADDS} ADDs at once, ${KILLED} of them killed, while the agent is killed twice`, () => {
  const pods = Array.from({ length: ADDS }, (_, index) => `s${index}`);
  const dying = pods.slice(0, KILLED);
  const living = pods.slice(KILLED);
  let addresses: string[];

  beforeAll(async () => {
    world.addNamespaces(pods);
    const killed = dying.map((pod, index) => addKilled(pod, (index * 37) % 400));
    let done = 0;
    const added = living.map(async (pod) => {
      const address = await addAsRuntime(pod);
      done += 1;
      return address;
    });
    for (const share of [0.1, 0.5]) {
      while (done < share * living.length) await sleep(5);
      await restartAgent();
    }
    await Promise.all(killed);
    addresses = await Promise.all(added);
    for (const [why, count] of withoutAgent) process.stderr.write(`${count} ADDs standalone: ${why}\n`);
  });

  test("everyone who lives has an address of its own", () => {
    expect(new Set(addresses).size).toBe(living.length);
  });

  test("everyone who lives has traffic", () => {
    expect(reached(addresses).sort()).toEqual([...addresses].sort());
  });

  test("what the killed ones left is gone after DEL, or after GC where no DEL ever comes", async () => {
    const half = dying.slice(0, dying.length / 2);
    const deleted = await Promise.all(half.map((pod) => call("DEL", pod)));
    expect(deleted.filter(({ exitCode }) => exitCode !== 0)).toEqual([]);
    const valid = living.map((pod) => ({ containerID: pod, ifname: "eth0" }));
    const swept = await call("GC", "none", { cniVersion: "1.1.0", "cni.dev/valid-attachments": valid });
    expect(swept).toMatchObject({ exitCode: 0, stdout: "" });
    const leases = world.picture().files.filter((path) => /\/leases\/\d/.test(path));
    expect(leases.map((path) => path.split("/").at(-1)).sort()).toEqual([...addresses].sort());
    for (const pod of dying) expect(world.exec(pod, "ip", "-o", "link")).not.toContain("eth0");
    expect(reached(addresses.slice(0, 10)).sort()).toEqual(addresses.slice(0, 10).sort());
  });

  test("and in the end nothing is left", async () => {
    const deleted = await Promise.all(living.map((pod) => call("DEL", pod)));
    expect(deleted.filter(({ exitCode }) => exitCode !== 0)).toEqual([]);
    expect(world.picture()).toEqual(before);
  });
});

describe(`${PAIRS} pairs of ADD and DEL`, () => {
  const lanes = ["l0", "l1", "l2", "l3"];

  /** So many, spread over the lanes. */
  async function pairs(count: number): Promise<void> {
    const lane = async (pod: string) => {
      for (let done = 0; done < count / lanes.length; done++) {
        const added = await call("ADD", pod);
        if (added.exitCode !== 0) throw new Error(`ADD: ${added.stdout}${added.stderr}`);
        const deleted = await call("DEL", pod);
        if (deleted.exitCode !== 0) throw new Error(`DEL: ${deleted.stdout}${deleted.stderr}`);
      }
    };
    await Promise.all(lanes.map(lane));
  }

  beforeAll(() => {
    world.addNamespaces(lanes);
  });

  test(
    "leave memory, descriptors, links and files as they were",
    async () => {
      await restartAgent();
      await pairs(PAIRS / 5); // caches fill, code is compiled
      const [held, resident, descriptors] = [await agent.heldKiB(), agent.memoryKiB(), agent.descriptors()];
      const started = performance.now();
      const sizes = [`${held}/${resident}`];
      for (let part = 0; part < 5; part++) {
        await pairs(PAIRS / 5);
        sizes.push(`${await agent.heldKiB()}/${agent.memoryKiB()}`);
      }
      const seconds = (performance.now() - started) / 1000;
      process.stderr.write(
        `${PAIRS} pairs in ${seconds.toFixed(1)} s; KiB held/resident by the agent: ${sizes.join(", ")}\n`,
      );
      expect((await agent.heldKiB()) - held).toBeLessThan(HELD_NOISE_KIB);
      expect(agent.memoryKiB() - resident).toBeLessThan(RESIDENT_NOISE_KIB);
      await expect.poll(() => agent.descriptors()).toBeLessThanOrEqual(descriptors);
      expect(world.picture()).toEqual(before);
      const leftOver = readdirSync(world.stateDir, { recursive: true, encoding: "utf8" });
      expect(leftOver.length, leftOver.slice(0, 20).join("\n")).toBeLessThan(100);
      expect(execFileSync("ip", ["-n", world.name("l0"), "-o", "link"], { encoding: "utf8" })).not.toContain(
        "eth0",
      );
    },
    PAIRS * 1_000,
  );
});
