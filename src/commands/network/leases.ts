/** `trivet network leases`: who has which address. Reads the state that plugin and agent share. */
import type { Command } from "commander";
import type { Lease } from "../../cni/ipam/leases.ts";
import { defaultStateDir } from "../../cni/protocol/defaults.ts";
import type { AttachmentRecord } from "../../cni/state/attachments.ts";
import { print } from "../print.ts";
import { formatAge, formatTable } from "../table.ts";

interface LeasesOptions {
  readonly stateDir: string;
  readonly output?: string;
}

/** A lease with what its attachment's record adds. The fields of the JSON output, which only grow. */
export interface ShownLease extends Lease {
  /** The host's end of the pod's link; empty where the record cannot be read, or where another plugin makes the link. */
  readonly link: string;
  /** `routed`, `bridge`, or `ipam` where another plugin makes the link; empty where it is not known. */
  readonly mode: string;
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
A lease that is pending belongs to an ADD that is still running, or to one that was killed: the runtime's DEL clears it,
or the sweep of 'trivet node' ('trivet network gc' shows what that would find).`,
    )
    .action(showLeases);
}

async function showLeases({ stateDir, output }: LeasesOptions): Promise<void> {
  const [{ listLeases }, { listAttachments }, { createCniDeps }] = await Promise.all([
    import("../../cni/ipam/leases.ts"),
    import("../../cni/state/list-attachments.ts"),
    import("../host.ts"),
  ]);
  const deps = await createCniDeps();
  const leases = await listLeases(deps, stateDir);
  const shown = joinRecords(leases, await listAttachments(deps, stateDir));
  if (output === "json") print(`${JSON.stringify(shown, null, 2)}\n`);
  else print(leaseTable(shown, Date.now()));
}

/** Each lease with the record of its attachment. */
export function joinRecords(leases: readonly Lease[], records: readonly AttachmentRecord[]): ShownLease[] {
  const nameOf = (key: Pick<Lease, "network" | "containerId" | "ifname">) =>
    [key.network, key.containerId, key.ifname].join(" ");
  const byName = new Map(records.map((record) => [nameOf(record), record]));
  return leases.map((lease) => {
    const record = byName.get(nameOf(lease));
    const mode = record ? (record.mode ?? "routed") : "";
    return { ...lease, link: mode === "ipam" ? "" : (record?.hostLink ?? ""), mode };
  });
}

/** For people: one line a lease, then one a network. */
export function leaseTable(leases: readonly ShownLease[], nowMs: number): string {
  const heading = ["NETWORK", "ADDRESS", "POD", "CONTAINER", "INTERFACE", "LINK", "STATE", "AGE"];
  const rows = leases.map(({ network, address, pod, containerId, ifname, link, state, createdAtMs }) => [
    network,
    address,
    pod.name ? `${pod.namespace}/${pod.name}` : "-",
    containerId.slice(0, 13),
    ifname,
    link || "-",
    state,
    createdAtMs > 0 ? formatAge(nowMs - createdAtMs) : "-",
  ]);
  return `${formatTable(heading, rows)}${summary(leases)}`;
}

function summary(leases: readonly ShownLease[]): string {
  const networks = [...new Set(leases.map(({ network }) => network))];
  const lines = networks.map((network) => {
    const own = leases.filter((lease) => lease.network === network);
    const pending = own.filter(({ state }) => state === "pending").length;
    const families = [4, 6].flatMap((family) => {
      const count = own.filter(({ address }) => address.includes(":") === (family === 6)).length;
      return count > 0 ? [`${count} IPv${family}`] : [];
    });
    return `${network}: ${families.join(", ")} leased, ${pending} pending\n`;
  });
  return lines.length > 0 ? `\n${lines.join("")}` : "";
}
