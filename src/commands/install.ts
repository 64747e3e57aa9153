/** `trivet install`: each part that is installed on a node has a file of its own in `install/`. */
import type { Command } from "commander";
import { defineInstallCni } from "./install/cni.ts";

export function define(command: Command): void {
  defineInstallCni(command);
}
