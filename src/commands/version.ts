/** `trivet version`. */
import type { Command } from "commander";
import { version } from "../version.ts";

export function define(command: Command): void {
  command.option("-o, --output <format>", "json for programs").action((options: { output?: string }) => {
    const found = {
      trivet: version,
      node: process.versions.node,
      platform: `${process.platform}/${process.arch}`,
    };
    if (options.output === "json") process.stdout.write(`${JSON.stringify(found)}\n`);
    else process.stdout.write(`trivet ${found.trivet} (Node.js ${found.node}, ${found.platform})\n`);
  });
}
