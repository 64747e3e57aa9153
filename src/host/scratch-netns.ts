/** Network namespaces for trying something out, made and removed by the program `ip`. */
import { type Exec, execOrThrow } from "./exec.ts";

const TIMEOUT_MS = 10_000;

/** `name` must be new. Throws kind `not-found` or `io` where `ip` is missing or refuses. */
export async function makeScratchNetns(
  exec: Exec,
  name: string,
): Promise<{ readonly path: string; remove(): Promise<void> }> {
  await execOrThrow(exec, ["ip", "netns", "add", name], { timeoutMs: TIMEOUT_MS });
  return {
    path: `/run/netns/${name}`,
    async remove() {
      await execOrThrow(exec, ["ip", "netns", "del", name], { timeoutMs: TIMEOUT_MS });
    },
  };
}
