/** `trivet uninstall`: the counterpart of `trivet install`. */
import type { Command } from "commander";
import { defineUninstallCni } from "./install/cni-uninstall.ts";
import { defineUninstallKubelet } from "./install/kubelet-uninstall.ts";
import { defineUninstallNode } from "./install/node-uninstall.ts";

export function define(command: Command): void {
  defineUninstallNode(command);
  defineUninstallCni(command);
  defineUninstallKubelet(command);
}
