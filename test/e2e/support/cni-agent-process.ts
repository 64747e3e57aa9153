/**
 * The CNI agent as a process of its own, so that a test can start it inside a network namespace and kill it: arguments are socket
 * and state directory. On SIGUSR2 it prints how many bytes it holds after a full garbage collection.
 */
import { startCniAgent } from "../../../src/cni/agent.ts";
import { createCniDeps } from "../../../src/commands/host.ts";
import { createLog } from "../../../src/observe/log.ts";

const [socketPath = "", stateDir = ""] = process.argv.slice(2);
const log = createLog("agent", "error");
const agent = await startCniAgent({ socketPath, stateDir, deps: await createCniDeps(), log });
process.stdout.write("ready\n");
process.on("SIGUSR2", () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  process.stdout.write(`${heapUsed + external}\n`);
});
process.once("SIGTERM", () => {
  void agent.stop({ timeoutMs: 10_000 }).then(() => {
    process.exitCode = 0;
  });
});
