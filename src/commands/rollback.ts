/** `trivet rollback`: the version before is in use again, and the proxy hands over to it. */
import type { Command } from "commander";
import { TrivetError } from "../errors.ts";
import { runtimeRoot, switchBack, switchTo } from "../install/runtime.ts";
import { addSystemOptions, progress, type System, type SystemFlags, withSystem } from "./install/context.ts";
import { print } from "./print.ts";

export function define(command: Command): void {
  addSystemOptions(command);
  command.addHelpText(
    "after",
    `
Typed twice it goes forth again. The CNI client belongs to both versions, and stays; so do settings and units.`,
  );
  command.action((flags: SystemFlags) => withSystem(flags, rollBack));
}

async function rollBack({ files, journal, services, root }: System): Promise<void> {
  const { from, to } = await switchBack({ files, journal });
  print(`${runtimeRoot}/current is ${to} now, and was ${from}\n`);
  if (root !== "/" || !(await services.isActive())) return;
  progress("the proxy hands over");
  try {
    print(`proxy: ${await services.reload()}\n`);
  } catch (error) {
    await switchTo({ files, journal }, from);
    const message = `the proxy of ${to} did not get ready: ${from} serves on, and is current again: ${(error as Error).message}`;
    throw new TrivetError({ kind: "unavailable", op: "rollback", subject: to, message, cause: error });
  }
}
