/** `trivet cni`: the CNI plugin as a process. Only this file and the plugin's client know its stdin and stdout. */
import type { Command } from "commander";
import { runCni } from "../cni/client/run.ts";

export function define(command: Command): void {
  command.option("--standalone", "do the call here without asking the agent; the static client starts it so");
  command.addHelpText(
    "after",
    `
A container runtime starts this for each call (specification 0.3.1 to 1.1.0). It reads CNI_COMMAND (ADD, DEL, CHECK, GC,
STATUS or VERSION), CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS and CNI_PATH from the environment and the network
configuration from stdin, and writes one JSON document to stdout: the result, or an error object with exit code 1. Logs go
to stderr.

The call is handed to the agent of 'trivet node' on the socket that the configuration names; without an agent it is
done here, on the same state. 'trivet install cni' puts a static client in its place, which saves each call 100 ms.

Example:
  echo '{"cniVersion":"1.0.0"}' | CNI_COMMAND=VERSION trivet cni`,
  );
  command.action(async ({ standalone = false }: { standalone?: boolean }) => {
    const exitCode = await runCni({
      standalone,
      env: process.env,
      readStdin,
      writeStdout: (text) => void process.stdout.write(text),
      writeStderr: (text) => void process.stderr.write(text),
      loadDeps: async () => (await import("./host.ts")).createCniDeps(),
    });
    // The runtime waits for the end of the process, not for the answer: what still runs past its deadline must not keep it.
    process.exit(exitCode);
  });
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
