/** `trivet install`: all of it, or a part; each part has a file of its own in `install/`. */
import type { Command } from "commander";
import { defineInstallCni } from "./install/cni.ts";
import { defineInstallKubelet } from "./install/kubelet.ts";
import { defineInstallNode } from "./install/node.ts";

export function define(command: Command): void {
  defineInstallNode(command);
  defineInstallCni(command);
  defineInstallKubelet(command);
}
