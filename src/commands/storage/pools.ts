/** `trivet storage pools`: what there is to give, on which disks, and why a pool has no limits. */
import type { Command } from "commander";
import type { PoolStatus } from "../../csi/pool/pool.ts";
import type { DiskDescription } from "../../host/node-inventory.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { addOutput, addStorageSettings, askStorage, readStorageSettings } from "./access.ts";
import { formatBytes } from "./bytes.ts";

/** A pool with what lies under it. The fields of the JSON output, which only grow. */
export interface ShownPool extends PoolStatus {
  readonly disk?: DiskDescription;
}

/** Adds the subcommand to `trivet storage`. */
export function definePools(storage: Command): void {
  const command = storage
    .command("pools")
    .description("show the pools of this node: disk, backend, budget, what is reserved and what is left");
  addStorageSettings(addOutput(command))
    .addHelpText(
      "after",
      `
BUDGET is "-" where the whole file system may be given away. Where a pool has no limits the reason is told below the table,
with the command that would change it.

Examples:
  trivet storage pools
  trivet storage pools -o json`,
    )
    .action(async ({ output }: { output: string }) => {
      const config = await readStorageSettings(command);
      const pools = await askStorage(config, (admin) => admin.pools());
      const shown = await withDisks(pools);
      if (output === "json") print(`${JSON.stringify(shown, null, 2)}\n`);
      else print(poolsTable(shown));
    });
}

/** What the machine does not tell is left out. */
async function withDisks(pools: readonly PoolStatus[]): Promise<readonly ShownPool[]> {
  const { describeDisks } = await import("../../host/node-inventory.ts");
  const disks = await describeDisks(pools.map(({ path }) => path)).catch((error: Error) => {
    process.stderr.write(`trivet: the disks cannot be described: ${error.message}\n`);
    return new Map<string, DiskDescription | undefined>();
  });
  return pools.map((pool) => {
    const disk = disks.get(pool.path);
    return { ...pool, ...(disk ? { disk } : {}) };
  });
}

/** For people: one line a pool, then one for each that needs attention. */
export function poolsTable(pools: readonly ShownPool[]): string {
  const heading = [
    ...["NAME", "PATH", "BACKEND", "BUDGET", "RESERVED", "AVAILABLE", "VOLUMES", "TRASHED", "QUARANTINED"],
    ...["DRAIN", "DEVICE", "FILESYSTEM", "DISK"],
  ];
  const rows = pools.map((pool) => {
    const { disk, drain, quarantined, state } = pool;
    const isReady = state === "ready";
    return [
      ...[pool.name, pool.path, isReady ? pool.backend : "unavailable", formatBytes(pool.budgetBytes)],
      ...(isReady ? [formatBytes(pool.reservedBytes), formatBytes(pool.availableBytes)] : ["-", "-"]),
      ...(isReady
        ? [String(pool.volumes), String(pool.trashed), String(quarantined.length)]
        : ["-", "-", "-"]),
      ...[
        drain ? "yes" : "no",
        disk?.device ?? "-",
        disk ? `${disk.fsType} ${formatBytes(disk.totalBytes)}` : "-",
      ],
      [disk?.media, disk?.bus, disk?.model].filter(Boolean).join(" ") || "-",
    ];
  });
  const notes = pools.flatMap(notesOf);
  const table = formatTable(heading, rows);
  return notes.length > 0 ? `${table}\n${notes.map((note) => `${note}\n`).join("")}` : table;
}

function notesOf({ name, state, reason, how, enforced, advice, quarantined }: ShownPool): string[] {
  if (state !== "ready") return [reason ?? `${name} is unavailable`];
  return [
    `${name}: ${how ?? "-"}${enforced ? "" : ": nothing stops a volume from growing beyond its size"}`,
    ...(advice === undefined ? [] : [`${name}: no quotas, because ${advice}`]),
    ...quarantined.map((id) => `${name}: ${id} is quarantined: "trivet storage volumes" says why`),
  ];
}
