/** The real effects for wiring the kubelet, and how its guard is started from this very program. */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { createClock } from "../../host/clock.ts";
import { askCri } from "../../host/cri-identity.ts";
import { createStartDetached } from "../../host/detached.ts";
import { createExec } from "../../host/exec.ts";
import { createFiles } from "../../host/files.ts";
import { getStatus } from "../../host/http-status.ts";
import { createProcessSockets } from "../../host/process-sockets.ts";
import { listProcesses } from "../../host/processes.ts";
import { createSyscalls } from "../../host/syscall.ts";
import type { NodeDeps } from "../../install/kubelet/deps.ts";
import { awaitGuard } from "../../install/kubelet/guard.ts";
import { rootedFiles } from "../../install/rooted-files.ts";
import { searchPath } from "../search-path.ts";

/** Gone with the next boot, and so is the guard. */
export const guardLog = "/run/trivet-kubelet-guard.log";

/** `tell` gets one line at a time. */
export function createKubeletDeps(stateDir: string, tell: (line: string) => void): NodeDeps {
  const syscalls = createSyscalls();
  const exec = createExec(searchPath("/snap/bin"), syscalls);
  return {
    // The guard is started in another directory.
    ...{ stateDir: resolve(stateDir), tell, exec, listProcesses, askCri, getStatus },
    files: rootedFiles(createFiles(syscalls), "/"),
    clock: createClock(),
    sockets: createProcessSockets(syscalls),
    startDetached: createStartDetached(exec, `trivet-kubelet-guard-${process.pid}`),
  };
}

export const createNonce = (): string => randomBytes(8).toString("hex");

/** Starts this program once more, as the guard. Resolves when that says that it watches. */
export async function startGuard(
  deps: NodeDeps,
  guard: { readonly nonce: string; readonly deadlineMs: number },
): Promise<void> {
  const { nonce, deadlineMs } = guard;
  const script = process.argv[1];
  const self = [...process.execArgv, ...(script === undefined ? [] : [script])];
  const verb = [
    "install",
    "kubelet-guard",
    "--nonce",
    nonce,
    "--deadline",
    String(Math.ceil(deadlineMs / 1000)),
  ];
  await deps.startDetached([process.execPath, ...self, ...verb, "--state-dir", deps.stateDir], guardLog);
  await awaitGuard(deps, nonce);
}
