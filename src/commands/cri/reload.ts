/** `trivet cri reload`: asks the proxy that serves to put a new process in its place, and waits for how that ended. */
import type { Command } from "commander";
import type { CriConfig } from "../../config/cri.ts";
import { TrivetError } from "../../errors.ts";
import { askAdmin } from "../../host/admin-socket.ts";
import { isLiveSocket } from "../../host/unix-socket.ts";
import { print } from "../print.ts";
import type { ProxySettings } from "./proxy-settings.ts";
import { controlSocketPath, type ReloadAnswer } from "./reload-control.ts";

/** Adds the subcommand to `trivet cri`, whose settings say which proxy is meant. */
export function defineReload(cri: Command, settings: ProxySettings): void {
  const command = cri
    .command("reload")
    .description("put a new process in the place of the proxy that serves, without losing a call")
    .option("--policies", "only read the policies again, in the process that serves")
    .addHelpText(
      "after",
      `
The new process is started as the serving one was, by the same name (so that a new version behind a link is picked up),
reads its settings and policies anew, and takes the listening sockets over. Calls in flight go on in the old one, for
cri.handOverSeconds at the most. If the new process does not get ready, the old one goes on serving, and the exit code is 1.

Examples:
  trivet cri reload                                     the proxy at the default socket
  trivet cri reload --config /etc/trivet/config.yaml    the proxy with these settings
  trivet cri reload --policies                          as SIGHUP, but says how it went`,
    );
  settings.add(command).action(async () => {
    const config = await settings.read(command);
    const policies = command.getOptionValue("policies") === true;
    print(`${await reload(config, policies)}\n`);
  });
}

async function reload({ listen }: CriConfig, policies: boolean): Promise<string> {
  const path = controlSocketPath(listen);
  try {
    if (policies) return String(await askAdmin(path, "policies", null));
    const { from, to } = (await askAdmin(path, "reload", null)) as ReloadAnswer;
    return `handed over from process ${from.pid} (${from.version}) to process ${to.pid} (${to.version})`;
  } catch (error) {
    if (!(error instanceof TrivetError) || error.kind !== "unavailable" || error.subject !== path)
      throw error;
    const serves = await isLiveSocket(listen);
    throw new TrivetError({
      kind: "unavailable",
      op: "cri.reload",
      subject: listen,
      message: serves
        ? `${listen} is served, but its process answers no questions at ${path}: restart it`
        : `no trivet cri serves ${listen}: start it, or name its socket with --listen or --config`,
    });
  }
}
