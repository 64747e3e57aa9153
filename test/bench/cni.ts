/**
 * What an ADD and a DEL cost through the installed static client and the agent, against the reference plugins of Debian's package
 * containernetworking-plugins in the same run: they take turns, and the table shows medians. Run as root with
 * `make bench ONLY=cni`. Everything happens in network namespaces of its own.
 */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "../../src/commands/table.ts";
import { type AgentProcess, startAgentIn } from "../e2e/support/cni-agent.ts";
import { installClient, replyText, startStandIn } from "../e2e/support/cni-client.ts";
import { buildTimer, percentile, type Stage, type TimedCall, Timer } from "./support/cni-calls.ts";

const PODS = 16;
const ROUNDS = Number(process.argv[2] ?? 4);
const WARM_UP_ROUNDS = 1;

const ip = (...args: string[]) =>
  execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

const reference = ["/usr/lib/cni", "/opt/cni/bin"].find((path) => existsSync(join(path, "bridge"))) ?? "";
if (process.getuid?.() !== 0 || reference === "") {
  process.stderr.write("the CNI benchmark needs root, and the Debian package containernetworking-plugins\n");
  process.exit(3);
}

const directory = mkdtempSync(join(tmpdir(), "trivet-bench-"));
const unique = `tvb-${process.pid}`;
const node = `${unique}-node`;
const pods = Array.from({ length: PODS }, (_, index) => `${unique}-${index}`);
const client = installClient(join(directory, "bin"), "/nonexistent");
const agentFiles = { socket: join(directory, "cni.sock"), stateDir: join(directory, "state") };
const subnets = { v4: "10.99.0.0/16", v6: "fd00:99::/64" };
let agent: AgentProcess | undefined;
let timers: Timer[] = [];

interface Scenario {
  readonly title: string;
  readonly masquerade: boolean;
  readonly ports: boolean;
  readonly dualStack: boolean;
  readonly atOnce: number;
}

const plain = { masquerade: false, ports: false, dualStack: false, atOnce: 1 };
const scenarios: readonly Scenario[] = [
  { title: "plain", ...plain },
  { title: "masquerade", ...plain, masquerade: true },
  { title: "masquerade, two host ports", ...plain, masquerade: true, ports: true },
  { title: "masquerade, dual stack", ...plain, masquerade: true, dualStack: true },
  { title: "plain, 16 at once", ...plain, atOnce: PODS },
  { title: "masquerade, 16 at once", ...plain, masquerade: true, atOnce: PODS },
];

/** Writes a configuration without its last brace: the timer adds what a runtime would. */
function conf(name: string, value: object): string {
  const path = join(directory, `${name}.conf`);
  writeFileSync(path, JSON.stringify(value).slice(0, -1));
  return path;
}

function ranges({ dualStack }: Pick<Scenario, "dualStack">) {
  return [[{ subnet: subnets.v4 }], ...(dualStack ? [[{ subnet: subnets.v6 }]] : [])];
}

const portMap = { capabilities: { portMappings: true } };

function ours(scenario: Scenario, index: number): Stage[] {
  const name = `ours-${index}`;
  const value = {
    ...{ cniVersion: "1.0.0", name, type: "trivet", ...agentFiles, ipMasq: scenario.masquerade },
    ...(scenario.ports ? portMap : {}),
    ipam: { ranges: ranges(scenario) },
  };
  return [{ program: client, confFile: conf(name, value) }];
}

function theirs(scenario: Scenario, index: number): Stage[] {
  const name = `reference-${index}`;
  const routes = [{ dst: "0.0.0.0/0" }, ...(scenario.dualStack ? [{ dst: "::/0" }] : [])];
  const dataDir = join(directory, "host-local");
  const bridge = {
    ...{ cniVersion: "1.0.0", name, type: "bridge", bridge: `tvb${index}`, isGateway: true },
    ...{ ipMasq: scenario.masquerade, hairpinMode: true },
    ipam: { type: "host-local", dataDir, routes, ranges: ranges(scenario) },
  };
  const stages = [{ program: join(reference, "bridge"), confFile: conf(name, bridge) }];
  if (!scenario.ports) return stages;
  const chained = { cniVersion: "1.0.0", name, type: "portmap", snat: true, ...portMap };
  return [...stages, { program: join(reference, "portmap"), confFile: conf(`${name}-ports`, chained) }];
}

function portsOf(pod: number): string {
  const mappings = ["tcp", "udp"].map((protocol) => ({
    hostPort: 20_000 + pod,
    containerPort: 80,
    protocol,
  }));
  return `"runtimeConfig":${JSON.stringify({ portMappings: mappings })}`;
}

function callsOf(command: "ADD" | "DEL", { ports }: Scenario, stages: readonly Stage[]): TimedCall[] {
  return pods.map((id, index) => ({
    ...{ command, id, netns: `/run/netns/${id}`, stages },
    ...(ports ? { extra: portsOf(index) } : {}),
  }));
}

/** All pods' calls, so many at once; the milliseconds of each. */
async function measure(calls: readonly TimedCall[], atOnce: number): Promise<number[]> {
  const shares = Array.from({ length: atOnce }, (_, lane) =>
    calls.filter((_call, at) => at % atOnce === lane),
  );
  const timings = await Promise.all(shares.map((share, lane) => timers[lane]?.run(share) ?? []));
  return timings.flat().map(({ ms }) => ms);
}

interface Times {
  readonly add: number[];
  readonly del: number[];
}

async function turn(scenario: Scenario, stages: readonly Stage[], into: Times | undefined): Promise<void> {
  const add = await measure(callsOf("ADD", scenario, stages), scenario.atOnce);
  const del = await measure(callsOf("DEL", scenario, stages), scenario.atOnce);
  into?.add.push(...add);
  into?.del.push(...del);
}

const goals = { add: 0.4, del: 0.6 };
const ms = (value: number) => value.toFixed(1);

async function compare(scenario: Scenario, index: number): Promise<string[][]> {
  const candidates = { theirs: theirs(scenario, index), ours: ours(scenario, index) };
  const times = { theirs: { add: [], del: [] } as Times, ours: { add: [], del: [] } as Times };
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    for (const who of ["theirs", "ours"] as const) {
      await turn(scenario, candidates[who], round < 0 ? undefined : times[who]);
    }
  }
  return (["add", "del"] as const).map((verb) => {
    const [theirTimes, ourTimes] = [times.theirs[verb], times.ours[verb]];
    const ratio = percentile(ourTimes, 0.5) / percentile(theirTimes, 0.5);
    const shares = [theirTimes, ourTimes].flatMap((all) => [percentile(all, 0.5), percentile(all, 0.99)]);
    const verdict = ratio <= goals[verb] ? "" : `above ${goals[verb]}`;
    return [scenario.title, verb.toUpperCase(), ...shares.map(ms), ratio.toFixed(2), verdict];
  });
}

/** A network with so many leases, which are taken by the plugin as the IPAM plugin of another one. */
async function crowded(leases: number): Promise<{ leases: number; stages: Stage[]; times: Times }> {
  process.stderr.write(`${leases} leases...\n`);
  const name = `many-${leases}`;
  const base = { cniVersion: "1.0.0", name, ...agentFiles };
  const pool = { ranges: ranges(plain) };
  const asIpam = conf(`${name}-ipam`, {
    ...base,
    type: "other",
    ipam: { type: "trivet", ...pool },
  });
  const netns = `/run/netns/${pods[0]}`;
  const fill = Array.from({ length: leases }, (_, index): TimedCall => {
    return { command: "ADD", id: `lease-${index}`, netns, stages: [{ program: client, confFile: asIpam }] };
  });
  await measure(fill, 4);
  const ipam = pool;
  const confFile = conf(name, { ...base, type: "trivet", ipMasq: true, ipam });
  return { leases, stages: [{ program: client, confFile }], times: { add: [], del: [] } };
}

/** ADD of one pod beside few and many leases. They take turns, so that whatever else the machine does hits all alike. */
async function besideLeases(counts: readonly number[]): Promise<string[][]> {
  const networks = [];
  for (const leases of counts) networks.push(await crowded(leases));
  for (let round = -WARM_UP_ROUNDS; round < 2 * ROUNDS; round++) {
    for (const { stages, times } of networks) {
      await turn(plain as Scenario, stages, round < 0 ? undefined : times);
    }
  }
  const few = percentile(networks[0]?.times.add ?? [], 0.5);
  return networks.map(({ leases, times }) => {
    const add = percentile(times.add, 0.5);
    const ratio = add / few;
    return [String(leases), ms(add), ratio.toFixed(2), ratio <= 1.3 ? "" : "above 1.3"];
  });
}

/** The client alone: what it adds to the start of any program, by a call that the agent answers at once. */
async function clientAlone(): Promise<string[]> {
  const [timer] = timers;
  const confFile = conf("version", { cniVersion: "1.0.0", socket: agentFiles.socket });
  const calls = (program: string): TimedCall[] =>
    Array.from({ length: 300 }, () => ({
      command: "VERSION",
      id: "none",
      netns: "none",
      stages: [{ program, confFile }],
    }));
  const nothing = (await timer?.run(calls("/bin/true"))) ?? [];
  const timings = (await timer?.run(calls(client))) ?? [];
  const p50 = percentile(
    timings.map((one) => one.ms),
    0.5,
  );
  const startMs = percentile(
    nothing.map((one) => one.ms),
    0.5,
  );
  const memory = await clientMemoryKiB();
  const verdict = p50 < 2 && memory < 2048 ? "" : "above 2 ms or 2 MiB";
  return [`${p50.toFixed(2)} ms`, `${startMs.toFixed(2)} ms`, `${memory} KiB`, verdict];
}

/** Of a client that waits for its answer. The kernel's own account of so small a process is too coarse: its pages are counted. */
async function clientMemoryKiB(): Promise<number> {
  const socket = join(directory, "memory.sock");
  let pages = "";
  const child = spawn(client, { env: { CNI_COMMAND: "ADD" }, stdio: ["pipe", "ignore", "inherit"] });
  const standIn = await startStandIn(socket, {
    onCall: (connection) => {
      pages = readFileSync(`/proc/${child.pid}/smaps_rollup`, "utf8");
      connection.end(replyText(0, "{}"));
    },
  });
  child.stdin.end(JSON.stringify({ socket }));
  await new Promise((resolve) => child.once("exit", resolve));
  await standIn.stop();
  return Number(/^Rss:\s+(\d+)/m.exec(pages)?.[1]);
}

function setUp(): void {
  for (const name of [node, ...pods]) ip("netns", "add", name);
  ip("-n", node, "link", "set", "lo", "up");
  ip("-n", node, "link", "add", "up0", "type", "veth", "peer", "name", "far0");
  for (const link of ["up0", "far0"]) ip("-n", node, "link", "set", link, "up");
  ip("-n", node, "address", "add", "198.51.100.1/24", "dev", "up0");
  ip("-n", node, "address", "add", "2001:db8::1/64", "dev", "up0", "nodad");
  ip("-n", node, "route", "add", "default", "via", "198.51.100.2");
  ip("-n", node, "route", "add", "default", "via", "2001:db8::2");
  mkdirSync(join(directory, "cni"));
  cpSync(reference, join(directory, "cni"), { recursive: true });
  cpSync(client, join(directory, "cni", "trivet"));
}

async function main(): Promise<void> {
  setUp();
  agent = await startAgentIn(node, agentFiles.socket, agentFiles.stateDir);
  const timer = buildTimer(directory);
  timers = Array.from({ length: PODS }, () => new Timer(timer, node, join(directory, "cni")));
  const rows: string[][] = [];
  for (const [index, scenario] of scenarios.entries()) {
    process.stderr.write(`${scenario.title}...\n`);
    rows.push(...(await compare(scenario, index)));
  }
  const heading = ["MILLISECONDS", "", "REF p50", "p99", "TRIVET p50", "p99", "RATIO", ""];
  process.stdout.write(`${formatTable(heading, rows)}\n`);
  const flat = await besideLeases([5, 1_000, 5_000]);
  process.stdout.write(`${formatTable(["LEASES", "ADD p50", "RATIO", ""], flat)}\n`);
  const alone = await clientAlone();
  process.stdout.write(formatTable(["CLIENT ALONE, p50", "OF WHICH START", "MEMORY", ""], [alone]));
}

try {
  await main();
} finally {
  for (const timer of timers) timer.end();
  await agent?.stop();
  for (const name of [...pods, node]) ip("netns", "del", name);
  rmSync(directory, { recursive: true, force: true });
}
