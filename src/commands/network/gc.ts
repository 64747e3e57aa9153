/** `trivet network gc`: shows what pods left behind that are not there any more, and removes it when told to. */
import type { Command } from "commander";
import type { Finding } from "../../cni/gc/finding.ts";
import type { LiveSandboxes } from "../../cni/gc/live-sandboxes.ts";
import { defaultStateDir } from "../../cni/protocol/defaults.ts";
import { TrivetError } from "../../errors.ts";
import { parseUnixAddress } from "../../host/unix-socket.ts";
import { print } from "../print.ts";
import { formatAge, formatTable } from "../table.ts";

interface GcOptions {
  readonly stateDir: string;
  readonly criSocket?: string;
  readonly output: string;
  readonly delete?: boolean;
}

/** Between the two looks of `--delete`: longer than a DEL takes that is under way. */
const BETWEEN_LOOKS_MS = 5_000;

/** Adds the subcommand to `trivet network`. */
export function defineGc(command: Command): void {
  const outputs = ["table", "json"];
  command
    .command("gc")
    .description("show what dead pods left: addresses, links, records; remove it with --delete")
    .option("--delete", `remove what two looks find, ${BETWEEN_LOOKS_MS / 1000} seconds apart`)
    .option("--state-dir <dir>", "as in the plugin's configuration", defaultStateDir)
    .option("--cri-socket <address>", "the container runtime's, unix:///PATH: its pods are spared")
    .addOption(
      command.createOption("-o, --output <format>", "table or json").choices(outputs).default("table"),
    )
    .addHelpText(
      "after",
      `
Without --delete nothing is changed. 'trivet node' does the same by itself, every 90 seconds, with a minute between the two looks.
A pod counts as dead when its network namespace is not where it was, its link is gone, and, with --cri-socket, the
runtime does not list its sandbox as ready.`,
    )
    .action(runGc);
}

async function runGc({ stateDir, criSocket, output, delete: remove }: GcOptions): Promise<void> {
  const { createCniDeps } = await import("../host.ts");
  const { createSweeper } = await import("../../cni/gc/sweeper.ts");
  const { createLog } = await import("../../observe/log.ts");
  const deps = await createCniDeps();
  const sandboxes = criSocket === undefined ? undefined : await sandboxesAt(criSocket);
  const log = createLog("trivet", "warn");
  const sweeper = createSweeper({ deps, stateDir, log, sandboxes, graceMs: 0 });
  const first = await sweeper.sweep();
  let outcome = first;
  if (remove && first.waiting.length > 0) {
    await deps.clock.sleep(BETWEEN_LOOKS_MS);
    outcome = await sweeper.sweep();
  }
  const found = [
    ...outcome.settled.map((finding) => ({ finding, outcome: "removed" as const })),
    ...outcome.waiting.map((finding) => ({
      finding,
      outcome: remove ? ("kept" as const) : ("found" as const),
    })),
  ];
  print(output === "json" ? gcJson(found) : gcTable(found, Date.now()));
  if (outcome.failed > 0) process.exitCode = 1;
}

async function sandboxesAt(address: string): Promise<LiveSandboxes> {
  const path = parseUnixAddress(address);
  if (path) return (await import("../../host/cri-sandboxes.ts")).createSandboxLister(path);
  throw new TrivetError({
    kind: "invalid",
    op: "settings.parse",
    subject: "--cri-socket",
    message: `--cri-socket is "${address}": it must be a socket such as unix:///run/containerd/containerd.sock`,
  });
}

interface Shown {
  readonly finding: Finding;
  /** `found` in a dry run; with `--delete` `removed`, or `kept` what only one look has seen. */
  readonly outcome: "found" | "removed" | "kept";
}

/** A list of objects, whose fields only grow. */
export function gcJson(found: readonly Shown[]): string {
  const list = found.map(({ finding, outcome }) => {
    const { network, kind, subject, pod, reason, createdAtMs } = finding;
    return { network, kind, subject, pod, reason, createdAtMs: createdAtMs ?? null, outcome };
  });
  return `${JSON.stringify(list, null, 2)}\n`;
}

const MAX_SUBJECT = 40;

/** For people: one line a finding, then what to do. */
export function gcTable(found: readonly Shown[], nowMs: number): string {
  if (found.length === 0) return "Nothing is left of dead pods.\n";
  const rows = found.map(({ finding, outcome }) => [
    finding.network,
    finding.kind,
    finding.subject.length > MAX_SUBJECT ? `${finding.subject.slice(0, MAX_SUBJECT)}…` : finding.subject,
    finding.pod || "-",
    finding.createdAtMs === undefined ? "-" : formatAge(nowMs - finding.createdAtMs),
    outcome,
    finding.reason,
  ]);
  const table = formatTable(["NETWORK", "WHAT", "SUBJECT", "POD", "AGE", "OUTCOME", "REASON"], rows);
  const isDry = found.every(({ outcome }) => outcome === "found");
  return isDry ? `${table}\nNothing was changed: add --delete to remove this.\n` : table;
}
