/** `trivet network`: looks at the pod network of this node. Each subcommand has a file of its own in `network/`. */
import type { Command } from "commander";
import { defineGc } from "./network/gc.ts";
import { defineImport } from "./network/import.ts";
import { defineLeases } from "./network/leases.ts";
import { defineTest } from "./network/test.ts";

export function define(command: Command): void {
  defineLeases(command);
  defineGc(command);
  defineImport(command);
  defineTest(command);
}
