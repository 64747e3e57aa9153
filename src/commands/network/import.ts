/** `trivet network import`: takes over the addresses that host-local has leased to pods that live. Shows first, writes on request. */
import type { Command } from "commander";
import { defaultHostLocalDir } from "../../cni/import/host-local.ts";
import type { ImportedAddress } from "../../cni/import/import.ts";
import { defaultNetnsDir } from "../../cni/import/live-addresses.ts";
import { defaultCacheDir } from "../../cni/libcni-cache.ts";
import { defaultStateDir } from "../../cni/protocol/defaults.ts";
import { TrivetError } from "../../errors.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";

interface ImportFlags {
  readonly from: string;
  readonly network?: string;
  readonly as?: string;
  readonly stateDir: string;
  readonly netnsDir: string;
  readonly cacheDir: string;
  readonly apply?: true;
  readonly output: string;
}

/** Adds the subcommand to `trivet network`. */
export function defineImport(command: Command): void {
  const outputs = ["table", "json"];
  command
    .command("import")
    .description("take over what host-local has leased, so that no new pod gets an address in use")
    .option("--apply", "write it; otherwise it is only shown")
    .option("--network <name>", "only this network of host-local's")
    .option("--as <name>", "the name of the network of trivet, where it is another")
    .option("--from <dir>", "host-local's directory", defaultHostLocalDir)
    .option("--state-dir <dir>", "as in the plugin's configuration", defaultStateDir)
    .option("--netns-dir <dir>", "where the runtime keeps the namespaces of pods", defaultNetnsDir)
    .option("--cache-dir <dir>", "the runtime's CNI cache, for names of pods", defaultCacheDir)
    .addOption(
      command.createOption("-o, --output <format>", "table or json").choices(outputs).default("table"),
    )
    .addHelpText(
      "after",
      `
Only addresses that a namespace has right now are taken over; what host-local leaked is shown as dead. It may be repeated. An address
that both have given away is a conflict: nothing is written for it, and the exit code is 1. Run it before the network configuration
is changed, and once more afterwards.`,
    )
    .action(runImport);
}

async function runImport({ from, output, apply = undefined, ...flags }: ImportFlags): Promise<void> {
  const [{ importHostLocal }, { createCniDeps }] = await Promise.all([
    import("../../cni/import/import.ts"),
    import("../host.ts"),
  ]);
  const { network, as: name, stateDir, netnsDir, cacheDir } = flags;
  checkNames({ network, as: name });
  const deps = await createCniDeps();
  await deps.files.stat(from).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw invalid("from", `--from: there is no directory of host-local's at ${from} (${why})`);
  });
  const where = { stateDir, netnsDir, cacheDir, hostLocalDir: from };
  const rows = await importHostLocal({ deps, ...where, network, as: name, apply: apply === true });
  if (output === "json") print(`${JSON.stringify(rows, null, 2)}\n`);
  else print(importTable(rows, apply === true));
  if (rows.some(({ outcome }) => outcome === "conflict")) process.exitCode = 1;
}

/** They become names of directories. */
function checkNames(names: Readonly<Record<"network" | "as", string | undefined>>): void {
  for (const [flag, value] of Object.entries(names)) {
    if (value === undefined || /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(value)) continue;
    throw invalid(
      flag,
      `--${flag}: "${value}" is no name of a network: it must match [a-zA-Z0-9][a-zA-Z0-9_.-]*`,
    );
  }
}

function invalid(subject: string, message: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "network.import", subject, message });
}

/** For people; one line an address, and what was done. */
export function importTable(rows: readonly ImportedAddress[], applied: boolean): string {
  const done = { import: applied ? "imported" : "would import" } as const;
  const heading = ["NETWORK", "ADDRESS", "POD", "CONTAINER", "INTERFACE", "OUTCOME", "DETAIL"];
  const lines = rows.map(({ network, address, pod, containerId, ifname, outcome, detail }) => [
    ...[network, address, pod || "-", containerId.slice(0, 13) || "-", ifname || "-"],
    ...[outcome === "import" ? done.import : outcome, detail],
  ]);
  const count = rows.filter(({ outcome }) => outcome === "import").length;
  const verb = applied ? "imported" : "to import; nothing was written: use --apply";
  return `${rows.length > 0 ? formatTable(heading, lines) : ""}${count} of ${rows.length} addresses ${verb}\n`;
}
