/** `trivet uninstall kubelet`: the kubelet is put back on its runtime's own socket, and every file is proved to be as it was. */
import type { Command } from "commander";
import { defaultStateDir } from "../../config/node.ts";
import { createJournal } from "../../install/journal.ts";
import { type Unwired, unwireKubelet } from "../../install/kubelet/wire.ts";
import { whileLocked } from "../../install/lock.ts";
import type { Restored } from "../../install/restore.ts";
import { formatState } from "../../install/state.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { createKubeletDeps } from "./kubelet-deps.ts";

interface UninstallFlags {
  readonly stateDir: string;
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

/** Adds the subcommand to `trivet uninstall`. */
export function defineUninstallKubelet(command: Command): void {
  command
    .command("kubelet")
    .description("take the kubelet out from behind the CRI proxy: restore its files, restart it, watch it")
    .option("--force", "also restore files that somebody else has changed since: those changes are lost")
    .option("--dry-run", "only say what would be done")
    .option("--state-dir <dir>", "as it was given to install", defaultStateDir)
    .addHelpText(
      "after",
      "\nA file that was changed since is named and kept; the exit code is then 1. So it is if the kubelet is not healthy afterwards.",
    )
    .action(runUninstall);
}

async function runUninstall({ stateDir, dryRun, force = false }: UninstallFlags): Promise<void> {
  const deps = createKubeletDeps(stateDir, (line) => process.stderr.write(`${line}\n`));
  if (dryRun) {
    const rows = await createJournal(deps).restore({ owner: "kubelet", force, dryRun });
    return print(table(rows, "would be "));
  }
  const done = await whileLocked(deps.files, deps.stateDir, () => unwireKubelet(deps, { force }));
  report(done);
}

/** What became of it, for people; sets the exit code. Also for the verb that takes everything away. */
export function report({ restored, kept, verdict }: Unwired): void {
  print(table(restored, ""));
  for (const path of kept) {
    process.stderr.write(`trivet: ${path} was changed since it was written: look at it, then give --force\n`);
  }
  if (verdict.isWell && restored.length > 0 && kept.length === 0)
    print("the kubelet is healthy, as it was before\n");
  if (!verdict.isWell) process.stderr.write(`trivet: the kubelet is not well: ${verdict.reason}\n`);
  if (!verdict.isWell || kept.length > 0) process.exitCode = 1;
}

function table(rows: readonly Restored[], prefix: string): string {
  if (rows.length === 0) return "nothing is recorded for the kubelet\n";
  const cells = rows.map(({ path, outcome, before, now }) => [
    path,
    `${prefix}${outcome}`,
    formatState(before),
    formatState(now),
  ]);
  return formatTable(["FILE", "OUTCOME", "BEFORE", "NOW"], cells);
}
