/**
 * What the CSI leg takes: whole cycles of a volume's life, alone and 16 at once, next to an empty gRPC service of the
 * same stack in the same run; creating and listing at 10, 1,000 and 10,000 volumes; memory. Run as root with
 * `node test/bench/csi.ts [rounds] [--quick]`. Candidates take turns within each round; the tables show medians.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatTable } from "../../src/commands/table.ts";
import { loadServices } from "../../src/host/proto.ts";
import { type CsiClient, createCsiClient } from "../conformance/csi/client.ts";

const self = fileURLToPath(import.meta.url);
const root = fileURLToPath(new URL("../..", import.meta.url));
const MIB = 2 ** 20;
const DEFAULT_ROUNDS = 5;
const CYCLES = { alone: 60, many: 240 };
const AT_ONCE = 16;
const PAGE = 500;
const CREATES = 200;
const START_TRIES = 200;
/** A Go host-path driver with the same cycle on 2 cores; it syncs nothing. */
const reference = { alone: 49, many: 56 };

const methods = [
  ...["CreateVolume", "NodeStageVolume", "NodePublishVolume", "NodeGetVolumeStats"],
  ...["NodeUnpublishVolume", "NodeUnstageVolume", "DeleteVolume"],
] as const;
type Method = (typeof methods)[number];

/** As the start scripts have it. */
const heap = ["--max-semi-space-size=1", "--no-maglev", "--v8-pool-size=1", "--heap-growing-percent=20"];

/** What is installed, not the sources: they are as fast, and take some 30 MiB more. */
function bundle(): string {
  execFileSync(process.execPath, ["hack/bundle.ts"], { cwd: root, stdio: "ignore" });
  return "dist/trivet/main.js";
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const serviceOf = (method: string) => (method.startsWith("Node") ? "Node" : "Controller");

/** The child's part: a service that answers every call with nothing. */
async function serveEmpty(path: string): Promise<void> {
  const { serveGrpc } = await import("../../src/host/grpc.ts");
  // The package holds its messages and enums, too.
  const services = Object.entries(loadServices("csi")).filter(([, { service }]) => service !== undefined);
  const handlers = Object.fromEntries(
    services.map(([service, { service: definition }]) => [
      service,
      Object.fromEntries(Object.keys(definition).map((method) => [method, async () => ({})])),
    ]),
  );
  await serveGrpc({
    ...{ api: "csi", path, handlers },
    statusOf: () => ({ code: "UNKNOWN", message: "not reached" }),
  });
}

interface Candidate {
  readonly name: string;
  readonly client: CsiClient;
  readonly child: ChildProcess;
  residentMiB(): Promise<number>;
}

async function start(name: string, socket: string, argv: readonly string[]): Promise<Candidate> {
  const child = spawn(process.execPath, [...heap, ...argv], {
    ...{ cwd: root, stdio: ["ignore", "ignore", "inherit"] },
  });
  const client = createCsiClient(socket, 60_000);
  for (let tries = 0; ; tries++) {
    try {
      await client.call("Identity", "Probe");
      break;
    } catch (error) {
      if (tries === START_TRIES || child.exitCode !== null) throw error;
      await sleep(50);
    }
  }
  return {
    ...{ name, client, child },
    async residentMiB() {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
    },
  };
}

async function stop({ client, child }: Candidate): Promise<void> {
  client.close();
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

type Samples = Record<Method, number[]>;
const capability = { mount: { fs_type: "" }, access_mode: { mode: "SINGLE_NODE_WRITER" } };
let counter = 0;

/** One volume's life; returns nothing, but leaves its times in `samples`. */
async function cycle({ client }: Candidate, kubelet: string, samples: Samples): Promise<void> {
  const unique = `bench-${process.pid}-${counter++}`;
  const staging_target_path = join(kubelet, "staging", unique);
  const target_path = join(kubelet, "pods", unique, "mount");
  await Promise.all([
    mkdir(staging_target_path, { recursive: true }),
    mkdir(join(kubelet, "pods", unique), { recursive: true }),
  ]);
  const timed = async <T>(method: Method, request: object): Promise<T> => {
    const before = performance.now();
    const answer = await client.call<T>(serviceOf(method), method, request);
    samples[method].push(performance.now() - before);
    return answer;
  };
  const { volume } = await timed<{ volume?: { volume_id: string } }>("CreateVolume", {
    ...{ name: unique, capacity_range: { required_bytes: MIB }, volume_capabilities: [capability] },
  });
  const volume_id = volume?.volume_id ?? unique;
  const volume_capability = capability;
  await timed("NodeStageVolume", { volume_id, staging_target_path, volume_capability });
  await timed("NodePublishVolume", { volume_id, staging_target_path, target_path, volume_capability });
  await timed("NodeGetVolumeStats", { volume_id, volume_path: target_path });
  await timed("NodeUnpublishVolume", { volume_id, target_path });
  await timed("NodeUnstageVolume", { volume_id, staging_target_path });
  await timed("DeleteVolume", { volume_id });
}

const noSamples = () => Object.fromEntries(methods.map((method) => [method, []])) as unknown as Samples;

interface Run {
  readonly perSecond: number;
  readonly samples: Samples;
}

async function cycles(
  candidate: Candidate,
  kubelet: string,
  { count, atOnce }: { readonly count: number; readonly atOnce: number },
): Promise<Run> {
  const samples = noSamples();
  let left = count;
  const worker = async () => {
    while (left-- > 0) await cycle(candidate, kubelet, samples);
  };
  const before = performance.now();
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { perSecond: (1000 * count) / (performance.now() - before), samples };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const median = (values: readonly number[]) => quantile(values, 0.5);
const show = (value: number, digits = 2) => value.toFixed(digits);
const progress = (text: string) => process.stderr.write(`${text}\n`);

async function benchCycles(
  candidates: readonly [Candidate, Candidate],
  kubelet: string,
  rounds: number,
): Promise<void> {
  const modes = [
    { name: "alone", count: CYCLES.alone, atOnce: 1, go: reference.alone },
    { name: `${AT_ONCE} at once`, count: CYCLES.many, atOnce: AT_ONCE, go: reference.many },
  ];
  const runs = new Map<string, Run[]>();
  for (const candidate of candidates) await cycles(candidate, kubelet, { count: 40, atOnce: 4 });
  for (let round = 1; round <= rounds; round++) {
    progress(`cycles: round ${round} of ${rounds}`);
    for (const mode of modes) {
      for (const candidate of candidates) {
        const key = `${candidate.name} ${mode.name}`;
        runs.set(key, [...(runs.get(key) ?? []), await cycles(candidate, kubelet, mode)]);
      }
    }
  }
  const rate = (name: string, mode: string) =>
    median((runs.get(`${name} ${mode}`) ?? []).map(({ perSecond }) => perSecond));
  const [driver, empty] = candidates;
  process.stdout.write("\nWhole cycles per second, every fsync in place\n");
  process.stdout.write(
    formatTable(
      ["", "trivet", "empty service", "of empty", "Go host-path*", "trivet / Go", "goal"],
      modes.map(({ name, go, atOnce }) => {
        const [own, bare] = [rate(driver.name, name), rate(empty.name, name)];
        const goal = atOnce === 1 ? ">= 2.0" : ">= 3.0";
        return [name, show(own, 0), show(bare, 0), show(own / bare), String(go), show(own / go), goal];
      }),
    ),
  );
  process.stdout.write("* measured once on another machine of 2 cores; that driver syncs nothing\n");
  process.stdout.write("\nMilliseconds for each call\n");
  const rows = methods.map((method) => [
    method,
    ...modes.flatMap(({ name }) => {
      const all = (runs.get(`${driver.name} ${name}`) ?? []).flatMap(({ samples }) => samples[method]);
      const bare = (runs.get(`${empty.name} ${name}`) ?? []).flatMap(({ samples }) => samples[method]);
      return [show(median(all)), show(quantile(all, 0.99)), show(median(bare))];
    }),
  ]);
  const heading = modes.flatMap(({ name }) => [`p50 ${name}`, "p99", "empty p50"]);
  process.stdout.write(formatTable(["", ...heading], rows));
}

async function fill({ client }: Candidate, from: number, to: number): Promise<void> {
  let next = from;
  const worker = async () => {
    while (next < to) {
      await client.call("Controller", "CreateVolume", {
        ...{ name: `fill-${next++}`, capacity_range: { required_bytes: 4096 } },
        volume_capabilities: [capability],
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** p50 of a create, each followed by its delete, with `held` volumes there. */
async function createTime({ client }: Candidate): Promise<number> {
  const took: number[] = [];
  for (let count = 0; count < CREATES; count++) {
    const before = performance.now();
    const { volume } = await client.call<{ volume: { volume_id: string } }>("Controller", "CreateVolume", {
      ...{ name: `one-${counter++}`, capacity_range: { required_bytes: 4096 } },
      volume_capabilities: [capability],
    });
    took.push(performance.now() - before);
    await client.call("Controller", "DeleteVolume", { volume_id: volume.volume_id });
  }
  return median(took);
}

async function listTime({ client }: Candidate): Promise<{ readonly pageMs: number; readonly allMs: number }> {
  const pages: number[] = [];
  let starting_token = "";
  do {
    const before = performance.now();
    const request = { max_entries: PAGE, starting_token };
    const page = await client.call<{ next_token: string }>("Controller", "ListVolumes", request);
    pages.push(performance.now() - before);
    starting_token = page.next_token;
  } while (starting_token !== "");
  return { pageMs: median(pages), allMs: pages.reduce((sum, ms) => sum + ms, 0) };
}

async function benchSizes(driver: Candidate, counts: readonly number[]): Promise<void> {
  const rows: string[][] = [];
  let held = 0;
  let base: number | undefined;
  for (const count of counts) {
    progress(`${count} volumes`);
    await fill(driver, held, count);
    held = count;
    const createMs = await createTime(driver);
    base ??= createMs;
    const { pageMs, allMs } = await listTime(driver);
    rows.push([
      ...[String(count), show(createMs), show(createMs / base), show(pageMs), show(allMs)],
      show(await driver.residentMiB(), 0),
    ]);
  }
  process.stdout.write("\nWith so many volumes (goals: create <= 1.3 of the first, 110 MiB resident)\n");
  const heading = ["volumes", "create p50 ms", "ratio", `list ${PAGE} ms`, "list all ms", "MiB"];
  process.stdout.write(formatTable(heading, rows));
}

async function main(args: readonly string[]): Promise<void> {
  if (args[0] === "--empty") return serveEmpty(args[1] ?? "");
  if (process.getuid?.() !== 0) throw new Error("this measures real mounts: run it as root");
  const isQuick = args.includes("--quick");
  const rounds = Number(args.find((arg) => /^\d+$/.test(arg)) ?? (isQuick ? 1 : DEFAULT_ROUNDS));
  const scratch = await mkdtemp(join(tmpdir(), "trivet-bench-csi-"));
  const kubelet = join(scratch, "kubelet");
  await mkdir(kubelet);
  const socket = join(scratch, "csi.sock");
  const driver = await start("trivet", socket, [
    ...[bundle(), "node", "--no-cni", "--node-id", "bench", "--log-level", "error"],
    ...["--state-dir", join(scratch, "state"), "--kubelet-root", kubelet],
    ...["--csi-endpoint", `unix://${socket}`, "--health-address", "127.0.0.1:0"],
  ]);
  const bare = join(scratch, "empty.sock");
  const empty = await start("empty", bare, [self, "--empty", bare]);
  try {
    process.stdout.write(
      `CSI: ${rounds} rounds; resident at the start: ${show(await driver.residentMiB(), 0)} MiB\n`,
    );
    await benchCycles([driver, empty], kubelet, rounds);
    await benchSizes(driver, isQuick ? [10, 1_000] : [10, 1_000, 10_000]);
  } finally {
    await Promise.all([stop(driver), stop(empty)]);
    await rm(scratch, { recursive: true });
  }
}

main(process.argv.slice(2)).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
