/** `trivet storage`: looks at the volumes of this node. Each subcommand has a file of its own in `storage/`. */
import type { Command } from "commander";
import { defineAdopt } from "./storage/adopt.ts";
import { defineOrphans } from "./storage/orphans.ts";
import { definePools } from "./storage/pools.ts";
import { defineUndelete } from "./storage/undelete.ts";
import { defineVolumes } from "./storage/volumes.ts";

export function define(command: Command): void {
  defineVolumes(command);
  definePools(command);
  defineOrphans(command);
  defineUndelete(command);
  defineAdopt(command);
  command.addHelpText(
    "after",
    `
These ask the running 'trivet node' by its storage socket, as root. Where none answers they open the pools themselves, as
'trivet node' would; they then need its settings: --config, or --state-dir and --pool. In a cluster:
  kubectl exec -n trivet-system POD -- trivet storage volumes`,
  );
}
