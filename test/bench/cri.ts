/**
 * What the CRI proxy costs: direct, Trivet without and with policies, and two proxies that end HTTP/2 as most do, in one run.
 * Run with `make bench ONLY=cri`, or `node test/bench/cri.ts [rounds] [calls for memory]`. Candidates take turns in each round; tables
 * show medians over the rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { formatTable } from "../../src/commands/table.ts";
import { type Candidate, program, startCandidates } from "./support/cri-candidates.ts";
import { callOnce } from "./support/cri-client.ts";
import {
  type Call,
  CREATE_BYTES,
  callOfDay,
  containerStatus,
  createContainer,
  list,
  runPodSandbox,
  version,
} from "./support/cri-messages.ts";
import { loadAverage, processorSeconds, residentMib } from "./support/process-cost.ts";

const DEFAULT_ROUNDS = 25;
const DEFAULT_MEMORY_CALLS = 100_000;
const MEMORY_AT_ONCE = 16;
const WARM_UP = 12;
const GOALS = { residentMib: 100, editUs: 50 };

interface Case {
  readonly title: string;
  readonly call: Call;
  readonly calls: number;
  readonly atOnce: number;
}

const create = (namespace: string): Call => ({
  method: "CreateContainer",
  message: createContainer(0, namespace),
});
const alone = { calls: 120, atOnce: 1 };
const unedited: Case = { title: "CreateContainer of 4 KiB, exempt", call: create("kube-system"), ...alone };
const edited: Case = { title: "CreateContainer of 4 KiB, for policies", call: create("web"), ...alone };
const cases: readonly Case[] = [
  { title: "Version", call: version, ...alone },
  { title: "ContainerStatus", call: containerStatus, ...alone },
  { title: "ListContainers, 330 of them", call: list, calls: 40, atOnce: 1 },
  unedited,
  edited,
  { title: "ContainerStatus, 32 at once", call: containerStatus, calls: 2_000, atOnce: 32 },
];

interface Measured {
  readonly tookUs: number[];
  readonly callsPerSecond: number;
  readonly processorUs: number;
}

const median = (values: readonly number[]) => percentile(values, 0.5);

function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

async function measure({ session, pid }: Candidate, { call, calls, atOnce }: Case): Promise<Measured> {
  const tookUs: number[] = [];
  let left = calls;
  const worker = async () => {
    while (left-- > 0) {
      const before = performance.now();
      await callOnce(session, call);
      tookUs.push((performance.now() - before) * 1_000);
    }
  };
  const cpuBefore = pid === undefined ? 0 : processorSeconds(pid);
  const before = performance.now();
  await Promise.all(Array.from({ length: atOnce }, worker));
  const seconds = (performance.now() - before) / 1_000;
  const cpu = pid === undefined ? 0 : processorSeconds(pid) - cpuBefore;
  return { tookUs, callsPerSecond: calls / seconds, processorUs: (cpu * 1e6) / calls };
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== "") process.stderr.write(`${text}\n`);
}

/** By candidate, then by case, one for each round. */
type Results = ReadonlyMap<Candidate, ReadonlyMap<Case, Measured[]>>;

async function run(candidates: readonly Candidate[], rounds: number): Promise<Results> {
  const results = new Map(
    candidates.map((one) => [one, new Map(cases.map((each) => [each, [] as Measured[]]))]),
  );
  for (const candidate of candidates) {
    progress(`warming up: ${candidate.name}`);
    await callOnce(candidate.session, runPodSandbox(0));
    await checkEdit(candidate);
    for (const each of cases) await measure(candidate, { ...each, calls: each.calls * WARM_UP });
  }
  for (let round = 0; round < rounds; round += 1) {
    progress(`round ${round + 1} of ${rounds}`);
    for (const each of cases) {
      for (let turn = 0; turn < candidates.length; turn += 1) {
        const candidate = candidates[(turn + round) % candidates.length] as Candidate;
        results
          .get(candidate)
          ?.get(each)
          ?.push(await measure(candidate, each));
      }
    }
  }
  progress("");
  return results;
}

/** Numbers of a proxy that does not do what is measured would be worth nothing. */
async function checkEdit({ name, session, edits }: Candidate): Promise<void> {
  for (const { call, title } of [unedited, edited]) {
    const answer = await callOnce(session, call);
    const arrived = Number(/c(\d+)/.exec(answer.toString("latin1"))?.[1]) - 5;
    const changed = arrived !== call.message.length;
    if (changed !== (edits && call === edited.call)) {
      throw new Error(`${name}: ${title}: ${call.message.length} bytes arrived as ${arrived}`);
    }
  }
}

function report(candidates: readonly Candidate[], results: Results): void {
  const show = (value: number, digits = 0) => value.toFixed(digits).padStart(7);
  const [direct] = candidates;
  const p50 = (candidate: Candidate | undefined, each: Case) =>
    median(
      (candidate &&
        results
          .get(candidate)
          ?.get(each)
          ?.map(({ tookUs }) => median(tookUs))) ??
        [],
    );
  for (const each of cases) {
    const rows = candidates.map((candidate) => {
      const measured = results.get(candidate)?.get(each) ?? [];
      const p99 = percentile(
        measured.flatMap(({ tookUs }) => tookUs),
        0.99,
      );
      const added = p50(candidate, each) - p50(direct, each);
      const cpu = measured.reduce((sum, { processorUs }) => sum + processorUs, 0) / measured.length;
      return [
        candidate.name,
        ...[p50(candidate, each), p99].map((us) => show(us)),
        candidate === direct ? "" : show(added),
        show(median(measured.map(({ callsPerSecond }) => callsPerSecond))),
        candidate === direct ? "" : show(cpu),
      ];
    });
    process.stdout.write(`\n${each.title}${each.atOnce === 1 ? ", one at a time" : ""}\n`);
    const heading = ["", " p50 us", " p99 us", "  added", "calls/s", " CPU us"];
    process.stdout.write(formatTable(heading, rows));
  }
  process.stdout.write(
    `\nWhat a change costs: CreateContainer changed less exempt (goal <= ${GOALS.editUs} us)\n`,
  );
  for (const candidate of candidates.filter(({ edits }) => edits)) {
    const us = p50(candidate, edited) - p50(candidate, unedited);
    process.stdout.write(`${candidate.name}: ${us.toFixed(0)} us\n`);
  }
}

/** Calls of a busy node, until a proxy has grown as far as it will. */
async function runDay({ name, session, pid = 0 }: Candidate, calls: number): Promise<string[]> {
  const start = residentMib(pid);
  let most = start;
  let next = 0;
  const worker = async () => {
    while (next < calls) {
      const n = next++;
      await callOnce(session, callOfDay(n));
      if (n % 1_000 === 0) most = Math.max(most, residentMib(pid));
      if (n % 10_000 === 0) progress(`memory: ${name}: ${n} of ${calls} calls`);
    }
  };
  await Promise.all(Array.from({ length: MEMORY_AT_ONCE }, worker));
  return [name, ...[start, residentMib(pid), most].map((mib) => mib.toFixed(1).padStart(6))];
}

async function main(rounds: number, memoryCalls: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "trivet-bench-cri-"));
  const { all, stop } = await startCandidates(directory);
  try {
    const where = relative(process.cwd(), program);
    process.stdout.write(
      `CRI: ${rounds} rounds with ${where}; client and runtime are node:http2 of ${process.version}, which saturate at some\n` +
        `15,000 calls/s: more than that is not seen here. A CreateContainer is ${CREATE_BYTES} bytes. Load at the start: ${loadAverage()}\n`,
    );
    report(all, await run(all, rounds));
    const rows: string[][] = [];
    for (const candidate of all.slice(1)) rows.push(await runDay(candidate, memoryCalls));
    progress("");
    process.stdout.write(
      `\nResident, in MiB, after the rounds and over ${memoryCalls} calls of a busy node (goal <= ${GOALS.residentMib})\n`,
    );
    process.stdout.write(formatTable(["", "before", " after", "  most"], rows));
    process.stdout.write(`\nLoad at the end: ${loadAverage()}\n`);
  } finally {
    await stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

// Whoever is stopped half-way leaves no proxies behind.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

const [rounds, memoryCalls] = process.argv.slice(2).map(Number);
main(rounds ?? DEFAULT_ROUNDS, memoryCalls ?? DEFAULT_MEMORY_CALLS).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
