/** `trivet network leases`: who has which address. Reads the state that plugin and agent share. */
import type { Command } from "commander";
import type { Lease } from "../../cni/ipam/leases.ts";
import { defaultStateDir } from "../../cni/protocol/defaults.ts";
import { formatAge, formatTable } from "../table.ts";

interface LeasesOptions {
  readonly stateDir: string;
  readonly output?: string;
}

/** Adds the subcommand to `trivet network`. */
export function defineLeases(command: Command): void {
  const outputs = ["table", "json"];
  command
    .command("leases")
    .description("show who has which address")
    .option("--state-dir <dir>", "as in the plugin's configuration", defaultStateDir)
    .addOption(
      command.createOption("-o, --output <format>", "table or json").choices(outputs).default("table"),
    )
    .addHelpText(
      "after",
      `
A lease that is pending belongs to an ADD that is still running, or to one that was killed: the runtime's DEL clears it.`,
    )
    .action(showLeases);
}

async function showLeases({ stateDir, output }: LeasesOptions): Promise<void> {
  const [{ listLeases }, { createCniDeps }] = await Promise.all([
    import("../../cni/ipam/leases.ts"),
    import("../host.ts"),
  ]);
  const leases = await listLeases(await createCniDeps(), stateDir);
  if (output === "json") process.stdout.write(`${JSON.stringify(leases, null, 2)}\n`);
  else process.stdout.write(leaseTable(leases, Date.now()));
}

/** For people; one line a lease. */
export function leaseTable(leases: readonly Lease[], nowMs: number): string {
  const heading = ["NETWORK", "ADDRESS", "POD", "CONTAINER", "INTERFACE", "STATE", "AGE"];
  const rows = leases.map(({ network, address, pod, containerId, ifname, state, createdAtMs }) => [
    network,
    address,
    pod.name ? `${pod.namespace}/${pod.name}` : "-",
    containerId.slice(0, 13),
    ifname,
    state,
    createdAtMs > 0 ? formatAge(nowMs - createdAtMs) : "-",
  ]);
  return formatTable(heading, rows);
}
