/** `trivet cri` in front of a runtime, as a process of its own: what a kubelet's tests use, so that they pass through it as well. */
import { join } from "node:path";
import { createDaemon, type Daemon, socketAnswers } from "../../../src/commands/demo/daemon.ts";

export interface ProxiedCri {
  /** What the kubelet is told to use. */
  readonly path: string;
  stop(): Promise<void>;
}

/** `directory` is there, and takes the socket, the log and the call log. The runtime need not be up yet. */
export async function startProxiedCri(runtime: string, directory: string): Promise<ProxiedCri> {
  const path = join(directory, "cri.sock");
  const proxy: Daemon = createDaemon({
    args: [
      ...["cri", "--listen", `unix://${path}`, "--upstream", `unix://${runtime}`],
      ...["--call-log", join(directory, "calls.jsonl"), "--drain-seconds", "2"],
    ],
    logFile: join(directory, "cri.log"),
    ready: socketAnswers(path),
  });
  await proxy.start();
  return {
    path,
    async stop() {
      await proxy.stop();
    },
  };
}
