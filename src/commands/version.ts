/** `trivet version`. */
import { type Command, Option } from "commander";
import { version } from "../version.ts";
import { print } from "./print.ts";

export function define(command: Command): void {
  command.addOption(new Option("-o, --output <format>", "for programs").choices(["json"]));
  command.action((options: { output?: string }) => {
    const found = {
      trivet: version,
      node: process.versions.node,
      platform: `${process.platform}/${process.arch}`,
    };
    if (options.output === "json") print(`${JSON.stringify(found)}\n`);
    else print(`trivet ${found.trivet} (Node.js ${found.node}, ${found.platform})\n`);
  });
}
