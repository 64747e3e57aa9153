/** Runs the demo and reports it; what is shown is checked, so that the demo cannot look good by accident. */
import { readFile, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createStepRecorder, type StepTiming } from "../../../test/fakes/kubelet/timing.ts";
import { createPaths, policyVariable } from "./files.ts";
import { type HostState, leftBehind } from "./host-state.ts";
import { type Interruption, watchInterruption } from "./interruption.ts";
import { missingPrerequisites } from "./prerequisites.ts";
import { createReport, type Report } from "./report.ts";
import { type Clients, connect, type DemoPod, fileName, removePod, runPod } from "./scenario.ts";
import type { Stage } from "./stage.ts";

export interface DemoOptions {
  readonly simulate: boolean;
  readonly keepLogs: boolean;
  readonly out: NodeJS.WritableStream & { isTTY?: boolean };
}

export const exitCodes = { ok: 0, failed: 1, missing: 3 } as const;

const TRASH_TIMEOUT_MS = 5_000;
const POLL_MS = 20;

// The lines of the proxy's record that the demo is about; the polls between them are counted.
const shownMethods: ReadonlySet<string> = new Set(["RunPodSandbox", "CreateContainer", "StartContainer"]);

/** Gives the exit code. */
export async function runDemo({ simulate, keepLogs, out }: DemoOptions): Promise<number> {
  const report = createReport(out);
  // Whoever reads the report may go away (`make demo | head`): the demo still has to take everything down.
  out.on("error", () => undefined);
  if (!simulate) {
    const missing = await missingPrerequisites();
    if (missing.length > 0) {
      report.banner("The demo cannot start. It needs:");
      report.lines(missing);
      return exitCodes.missing;
    }
  }
  const title = "Trivet: one pod through CSI, CNI and CRI";
  report.banner(simulate ? `SIMULATED: ${title}, on the tests' fakes of the runtime and the kernel` : title);
  const interruption = watchInterruption();
  const paths = await createPaths();
  const { createStage } = simulate ? await import("./simulated-stage.ts") : await import("./real-stage.ts");
  const stage = await createStage(paths);
  const failures = await play(stage, report, interruption);
  if (failures.length === 0 && !keepLogs) await rm(paths.root, { recursive: true, force: true });
  else report.show("logs", paths.logs);
  const verdict =
    failures.length === 0 ? "All of it worked, and nothing is left." : `Failed: ${failures.join("; ")}`;
  report.banner(`\n${simulate ? "SIMULATED: " : ""}${verdict}`);
  return failures.length === 0 ? exitCodes.ok : exitCodes.failed;
}

/** The whole play; gives what went wrong, in words. Whatever happens, the curtain falls: everything is taken down. */
async function play(stage: Stage, report: Report, interruption: Interruption): Promise<string[]> {
  const failures: string[] = [];
  const before = await stage.hostState();
  const show = (step: StepTiming) => showStep(report, step);
  const onStep = interruption.guard(show);
  let clients: Clients | undefined;
  try {
    report.section("Set up");
    await stage.start(createStepRecorder(onStep));
    clients = connect(stage);
    report.section("Start a pod, as the kubelet does");
    const pod = await runPod(stage, clients, onStep);
    failures.push(...(await showPod(stage, pod, report)));
    report.section("Take it down");
    await removePod(clients, pod, onStep);
    failures.push(...(await leftInStores(stage)));
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error));
    await showLogs(stage, report);
  }
  clients?.cri.close();
  await createStepRecorder(show)
    .run("stop everything", "", () => stage.stop())
    .catch((error: unknown) =>
      failures.push(`teardown: ${error instanceof Error ? error.message : String(error)}`),
    );
  interruption.release();
  return [...failures, ...(await showLeftovers(stage, before, report))];
}

function showStep(report: Report, { step, subject, durationMs, error }: StepTiming): void {
  if (error === undefined) report.step(step, durationMs, subject);
  else report.failed(step, durationMs, error);
}

/** Shows the evidence from both sides; gives what does not fit together. */
async function showPod(stage: Stage, { volumeId, pod, seen }: DemoPod, report: Report): Promise<string[]> {
  report.section("What the container saw");
  report.show("its address", seen.address);
  report.show("its route", seen.route);
  report.show("its environment", seen.variable);

  report.section("What Trivet knows");
  const file = await stage.readVolumeFile(volumeId, fileName);
  report.show("file in the pool", file.path.replace(stage.paths.root, "…"));
  report.show("", `"${file.content.trim()}"`);
  const leases = await stage.leases();
  const lease = leases.find(({ containerId }) => containerId === pod.sandboxId);
  if (lease) report.show("lease", `${lease.address}  ${lease.ifname}  ${lease.pod}  ${lease.state}`);
  const records = await readCallLog(stage.paths.callLog);
  const polls = records.filter(({ method }) => !shownMethods.has(method)).length;
  report.show("record of the proxy", `${records.length} calls, ${polls} of them polls and queries`);
  report.lines(records.filter(({ method }) => shownMethods.has(method)).map(describeRecord));

  const expected = `${policyVariable.name}=${policyVariable.value}`;
  return [
    ...(seen.variable === expected ? [] : [`the container's environment lacks ${expected}`]),
    ...(lease && seen.address.startsWith(`${lease.address}/`)
      ? []
      : ["the lease store lacks the pod's address"]),
    ...(pod.ip === lease?.address ? [] : [`the runtime says that the pod has the address "${pod.ip}"`]),
    ...(seen.route.startsWith("default via ") ? [] : ["the container has no default route"]),
    ...(file.content.startsWith("hello from ")
      ? []
      : ["the file in the pool is not what the container wrote"]),
    ...(records.some(({ changes }) => changes !== undefined) ? [] : ["the proxy's record shows no change"]),
  ];
}

interface RecordLine {
  readonly method: string;
  readonly status: string;
  readonly totalMs: number;
  readonly heldMs: number;
  readonly pod?: string;
  readonly container?: string;
  readonly changes?: readonly { readonly policy: string; readonly field: string; readonly outcome: string }[];
}

async function readCallLog(path: string): Promise<RecordLine[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as RecordLine);
}

function describeRecord({
  method,
  status,
  totalMs,
  pod = "",
  container = "",
  changes = [],
}: RecordLine): string {
  const who = [pod, container].filter(Boolean).join("/");
  const what = changes.map(({ policy, field, outcome }) => `${field} ${outcome} by ${policy}`).join(", ");
  return [
    method.padEnd(16),
    status.padEnd(4),
    `${totalMs.toFixed(1)} ms`.padStart(10),
    who.padEnd(14),
    what,
  ].join("  ");
}

/** What Trivet itself still holds after the pod and its volume are gone. Deleted data goes in the background. */
async function leftInStores(stage: Stage): Promise<string[]> {
  const giveUp = Date.now() + TRASH_TIMEOUT_MS;
  while ((await stage.volumes()).length > 0 && Date.now() < giveUp) await sleep(POLL_MS);
  const leases = (await stage.leases()).map(({ address }) => `lease ${address}`);
  const volumes = (await stage.volumes()).map((path) => `volume directory ${path}`);
  return [...leases, ...volumes].map((what) => `left in Trivet's stores: ${what}`);
}

async function showLeftovers(stage: Stage, before: HostState, report: Report): Promise<string[]> {
  const left = leftBehind(before, await stage.hostState());
  report.section("Left behind");
  if (left.length === 0) {
    report.show("nothing", "no mount, link, route, namespace, lease, volume, nft table, sysctl or process");
    return [];
  }
  report.lines(left);
  return [`left behind: ${left.length} things`];
}

async function showLogs(stage: Stage, report: Report): Promise<void> {
  for (const [name, daemon] of Object.entries({ "trivet node": stage.node, "trivet cri": stage.cri })) {
    report.show(`end of ${name}'s log`, "");
    report.lines(await daemon.logTail(5));
  }
}
