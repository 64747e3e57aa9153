/** `trivet uninstall cni`: takes away what `trivet install cni` wrote, and nothing that was changed since. */
import type { Command } from "commander";
import { type FileOutcome, lookAtRecorded, readRecord, removeRecorded } from "../../cni/install/files.ts";
import { defaultStateDir } from "../../config/node.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { createTrialDeps } from "./trial-deps.ts";

interface UninstallFlags {
  readonly stateDir: string;
  readonly dryRun?: boolean;
}

/** Adds the subcommand to `trivet uninstall`. */
export function defineUninstallCni(command: Command): void {
  command
    .command("cni")
    .description("take away the files that 'trivet install cni' wrote; pods that run keep their network")
    .option("--state-dir <dir>", "as it was given to install", defaultStateDir)
    .option("--dry-run", "only say what would be done")
    .addHelpText("after", "\nA file that was changed since is named and kept; the exit code is then 1.")
    .action(runUninstall);
}

async function runUninstall({ stateDir, dryRun }: UninstallFlags): Promise<void> {
  const { files } = await createTrialDeps();
  const outcomes = new Map<string, FileOutcome>();
  if (dryRun) {
    for (const [path, sum] of await readRecord(files, stateDir)) {
      outcomes.set(path, await lookAtRecorded(files, path, sum));
    }
  } else {
    for (const [path, outcome] of await removeRecorded(files, stateDir)) outcomes.set(path, outcome);
  }
  const rows = [...outcomes].map(([path, outcome]) => [path, explain(outcome, dryRun === true)]);
  print(rows.length === 0 ? "nothing is recorded as installed\n" : formatTable(["FILE", "OUTCOME"], rows));
  if ([...outcomes.values()].includes("foreign")) process.exitCode = 1;
}

function explain(outcome: FileOutcome, dryRun: boolean): string {
  if (outcome === "foreign") return "kept: it was changed since";
  if (outcome === "absent") return "gone already";
  return dryRun ? `would be ${outcome}` : outcome;
}
