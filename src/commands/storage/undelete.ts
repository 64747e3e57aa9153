/** `trivet storage undelete`: brings a deleted or retained volume back under its old id. */
import type { Command } from "commander";
import { print } from "../print.ts";
import { addStorageSettings, askStorage, readStorageSettings } from "./access.ts";
import { formatBytes } from "./bytes.ts";

/** Adds the subcommand to `trivet storage`. */
export function defineUndelete(storage: Command): void {
  const command = storage
    .command("undelete")
    .description("bring back a volume that was deleted or retained, with its old id and all it holds")
    .argument("<id>", 'the volume handle, as "trivet storage volumes --deleted" shows it');
  addStorageSettings(command)
    .addHelpText(
      "after",
      `
Only what still lies in the trash can come back: with onDelete=delete it is gone within seconds, with onDelete=trash it is
kept for trashRetention, with onDelete=retain until it is removed by hand. The PersistentVolume has to be made again, with the same
volumeHandle; docs/csi.md shows how.

Example:
  trivet storage undelete tv-gwlrxzxj-fs7abknbomjjktftiuum3stelg`,
    )
    .action(async (id: string) => {
      const config = await readStorageSettings(command);
      const record = await askStorage(config, (admin) => admin.undelete({ id }));
      const { claim, sizeBytes, pool } = record;
      const whose = claim ? `, of claim ${claim.namespace}/${claim.name}` : "";
      print(`${id} is back in pool ${pool}: ${formatBytes(sizeBytes)}${whose}\n`);
    });
}
