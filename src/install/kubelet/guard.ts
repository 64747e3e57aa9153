/**
 * The dead man's switch: a process beside the installer that takes everything back if the installer ends before it is done, as it does
 * when the connection breaks that it was started over. It waits for the lock that the installer holds: the kernel lets that go, whatever
 * ends its holder. One that hangs is killed.
 */
import { TrivetError } from "../../errors.ts";
import { whileLocked } from "../lock.ts";
import { clearMark, readMark, setMark } from "../marks.ts";
import type { NodeDeps } from "./deps.ts";
import { readPending } from "./record.ts";
import { unwireKubelet } from "./wire.ts";

export interface Guarded {
  /** Which installer: another one is none of its business. */
  readonly nonce: string;
  /** For how long the installer may take. */
  readonly deadlineMs: number;
  /** Ends a process at once. */
  readonly kill: (pid: number) => void;
}

const READY_WITHIN_MS = 20_000;
const POLL_MS = 50;

/** What the guard's process does. Resolves when the installer is done, or everything is taken back. */
export async function standGuard(deps: NodeDeps, { nonce, deadlineMs, kill }: Guarded): Promise<void> {
  await setMark(deps, "kubelet-guard", nonce);
  const timer = setTimeout(() => void killInstaller(deps, nonce, kill).catch(() => undefined), deadlineMs);
  await whileLocked(deps.files, deps.stateDir, async () => {
    clearTimeout(timer);
    if ((await readPending(deps))?.nonce === nonce) {
      deps.tell("the installer has ended before the kubelet was well: taking it back");
      const { verdict, kept } = await unwireKubelet(deps);
      for (const path of kept) deps.tell(`${path} was changed by somebody else and is left as it is`);
      deps.tell(
        verdict.isWell ? "the kubelet is as it was, and well" : `the kubelet is not well: ${verdict.reason}`,
      );
    }
    if ((await readMark(deps, "kubelet-guard")) === nonce) await clearMark(deps, "kubelet-guard");
  });
}

async function killInstaller(deps: NodeDeps, nonce: string, kill: Guarded["kill"]): Promise<void> {
  const pending = await readPending(deps);
  if (pending?.nonce !== nonce) return;
  const processes = await deps.listProcesses();
  const isThere = processes.some(
    ({ pid, startTicks }) => pid === pending.pid && String(startTicks) === pending.startTicks,
  );
  if (!isThere) return;
  deps.tell(`the installer, process ${pending.pid}, hangs: ending it`);
  kill(pending.pid);
}

/** Resolves when the guard says that it watches. Throws kind `deadline` where none comes. */
export async function awaitGuard(deps: NodeDeps, nonce: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < READY_WITHIN_MS; waitedMs += POLL_MS) {
    if ((await readMark(deps, "kubelet-guard")) === nonce) return;
    await deps.clock.sleep(POLL_MS);
  }
  const message = "the process that would take everything back if this one died does not start";
  throw new TrivetError({ kind: "deadline", op: "kubelet.guard", subject: "guard", message });
}
