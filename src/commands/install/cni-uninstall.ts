/** `trivet uninstall cni`: takes away what `trivet install cni` wrote, and nothing that was changed since. */
import type { Command } from "commander";
import type { FileOutcome } from "../../cni/install/files.ts";
import { defaultStateDir } from "../../config/node.ts";
import { removeLock } from "../../install/lock.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { openSystem, type System, withSystem } from "./context.ts";
import { removeNetwork } from "./network-removal.ts";

interface UninstallFlags {
  readonly stateDir: string;
  readonly dryRun?: boolean;
}

/** Adds the subcommand to `trivet uninstall`. */
export function defineUninstallCni(command: Command): void {
  command
    .command("cni")
    .description("take away the files that 'trivet install cni' wrote; drain the node first")
    .option("--state-dir <dir>", "as it was given to install", defaultStateDir)
    .option("--dry-run", "only say what would be done")
    .addHelpText(
      "after",
      "\nPods that run keep their network, but without the plugin the runtime cannot delete them: so drain the node first, or install\nanother one under the same name. A file that was changed since is named and kept; the exit code is then 1.",
    )
    .action(runUninstall);
}

async function runUninstall({ stateDir, dryRun }: UninstallFlags): Promise<void> {
  const system = { root: "/", stateDir, serviceManager: "none" } as const;
  const act = async (on: System) => {
    const removed = await removeNetwork(on, { dryRun });
    // Where nothing else is installed there is nothing to remember.
    if (!dryRun && (await on.journal.entries()).length === 0) {
      await on.journal.finish();
      await removeLock(on.files, on.stateDir, { keepsStateDir: true });
    }
    return removed;
  };
  const { outcomes, restored } = dryRun ? await act(await openSystem(system)) : await withSystem(system, act);
  const again = restored.filter(({ outcome }) => outcome === "restored").map(({ path }) => path);
  const rows = [...outcomes].map(([path, outcome]) => [
    path,
    again.includes(path) ? "restored" : explain(outcome, dryRun === true),
  ]);
  print(rows.length === 0 ? "nothing is recorded as installed\n" : formatTable(["FILE", "OUTCOME"], rows));
  if ([...outcomes.values()].includes("foreign")) process.exitCode = 1;
}

function explain(outcome: FileOutcome, dryRun: boolean): string {
  if (outcome === "foreign") return "kept: it was changed since";
  if (outcome === "needed") return "kept: the conflist that was changed names it; remove that one first";
  if (outcome === "absent") return "gone already";
  return dryRun ? `would be ${outcome}` : outcome;
}
