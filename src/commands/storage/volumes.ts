/** `trivet storage volumes`: what volumes this node has, how full they are, and who uses them. */
import { posix } from "node:path";
import type { Command } from "commander";
import type { VolumeView } from "../../csi/inventory/facts.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { addOutput, addStorageSettings, askStorage, readStorageSettings } from "./access.ts";
import { formatBytes } from "./bytes.ts";

/** Adds the subcommand to `trivet storage`. */
export function defineVolumes(storage: Command): void {
  const command = storage
    .command("volumes")
    .description("show the volumes of this node: claim, pool, size, use, state, and where they are published")
    .option("--deleted", "show those too that were deleted or retained and can be brought back");
  addStorageSettings(addOutput(command))
    .addHelpText(
      "after",
      `
USED is what the volume's own limit counts; "-" where nothing counts it: directories without a limit, and images that are
not mounted. PUBLISHED names the pods that see it by their uid.

Examples:
  trivet storage volumes
  trivet storage volumes --deleted
  trivet storage volumes -o json | jq -r '.[] | select(.state == "abnormal") | .id'`,
    )
    .action(async ({ output, deleted }: { output: string; deleted?: boolean }) => {
      const config = await readStorageSettings(command);
      const all = await askStorage(config, (admin) => admin.volumes());
      const shown = deleted ? all : all.filter((volume) => !isDeleted(volume));
      if (output === "json") print(`${JSON.stringify(shown, null, 2)}\n`);
      else print(volumesTable(shown, all.length - shown.length));
    });
}

const isDeleted = ({ state }: VolumeView) => state === "trash" || state === "retained";

/** For people: one line a volume, then what is not shown. `hidden` were deleted and are left out. */
export function volumesTable(volumes: readonly VolumeView[], hidden: number): string {
  const heading = ["ID", "CLAIM", "POOL", "BACKEND", "SIZE", "USED", "STATE", "PUBLISHED"];
  const rows = volumes.map(({ id, claim, pool, backend, sizeBytes, usedBytes, state, published, inline }) => [
    ...[id, claim ?? (inline ? "(inline)" : "-"), pool, backend ?? "-"],
    ...[formatBytes(sizeBytes), formatBytes(usedBytes), state],
    published.map(podOf).join(", ") || "-",
  ]);
  const table = rows.length > 0 ? formatTable(heading, rows) : "No volumes.\n";
  const details = volumes.flatMap(({ id, detail, state }) =>
    detail ? [`${id} (${state}): ${detail}\n`] : [],
  );
  const rest = hidden > 0 ? `${hidden} deleted or retained: --deleted shows them\n` : "";
  const notes = `${details.join("")}${rest}`;
  return notes === "" ? table : `${table}\n${notes}`;
}

/** The pod's uid, as the kubelet names its directory; the path where it is none of the kubelet's. */
function podOf(path: string): string {
  const [, uid] = /\/pods\/([^/]+)\//.exec(path) ?? [];
  return uid ?? posix.normalize(path);
}
