/** `trivet uninstall`: the counterpart of `trivet install`. */
import type { Command } from "commander";
import { defineUninstallCni } from "./install/cni-uninstall.ts";

export function define(command: Command): void {
  defineUninstallCni(command);
}
