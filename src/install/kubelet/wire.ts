/**
 * Puts the kubelet behind the proxy, and takes it back if it is not well there. Everything that is changed goes through the journal;
 * whatever kills this process, the guard or the next run takes it back. Called while the installation is locked.
 */
import { TrivetError } from "../../errors.ts";
import { dropEntry, isOurs } from "../entries.ts";
import { createJournal, journalDirectory } from "../journal.ts";
import type { Restored } from "../restore.ts";
import { lookAt } from "../state.ts";
import type { NodeDeps } from "./deps.ts";
import { findKubelet } from "./detect.ts";
import type { Edit } from "./edits.ts";
import type { NodeProcess } from "./facts.ts";
import { locateEdits } from "./located.ts";
import { beginWiring, forgetWiring, type Pending, readWiring, settleWiring, type Wiring } from "./record.ts";
import { lastLogLines, restartKubelet } from "./restart.ts";
import { type Verdict, watchKubelet } from "./watch.ts";

export interface Work {
  readonly wiring: Wiring;
  readonly pending: Pending;
  readonly edits: readonly Edit[];
  /** The kubelet as it runs now. */
  readonly process: NodeProcess;
  /** Resolves when somebody watches who takes everything back if this process dies. */
  startGuard(): Promise<void>;
}

/** Gives the new kubelet's process id. Throws what went wrong, after everything is as it was. */
export async function wireKubelet(deps: NodeDeps, work: Work): Promise<number> {
  const { wiring } = work;
  const edits = await locateEdits(deps, work.edits);
  await adoptForeignChanges(deps, edits);
  await work.startGuard();
  await beginWiring(deps, wiring, work.pending);
  try {
    await writeEdits(deps, edits);
    deps.tell(`restarting the kubelet: ${wiring.restart}`);
    await restartKubelet(deps, wiring.restart, wiring.withinMs);
    deps.tell(
      `watching ${wiring.healthUrl} and the kubelet's connections for up to ${wiring.withinMs / 1000} s`,
    );
    const { proxy, healthUrl, withinMs, settleMs } = wiring;
    const verdict = await watchKubelet(deps, { before: work.process, proxy, healthUrl, withinMs, settleMs });
    if (!verdict.isWell)
      throw failure(`behind the proxy the kubelet did not come back well: ${verdict.reason}`);
    await settleWiring(deps);
    return verdict.pid;
  } catch (error) {
    const lines = await lastLogLines(deps, wiring);
    const log = lines.length === 0 ? "" : `\nits last lines:\n${lines.map((line) => `  ${line}`).join("\n")}`;
    throw failure(`${(error as Error).message}; ${await takeBack(deps, wiring)}${log}`, error);
  }
}

const failure = (message: string, cause?: unknown) =>
  new TrivetError({ kind: "io", op: "kubelet.wire", subject: "kubelet", message, cause });

/** In words what became of it: this comes after a failure, which must be told in any case. */
async function takeBack(deps: NodeDeps, wiring: Wiring): Promise<string> {
  deps.tell("taking it back");
  try {
    const { verdict, kept } = await unwireKubelet(deps);
    if (kept.length > 0)
      return `${kept.join(", ")} was changed by somebody else meanwhile and is left as it is`;
    if (verdict.isWell) return "every file is as it was, and the kubelet is well";
    return `every file is as it was, but the kubelet is not well yet: ${verdict.reason}`;
  } catch (error) {
    return `taking it back failed too: ${(error as Error).message}; type: trivet bypass, or: ${wiring.restart}`;
  }
}

/** A file that somebody wrote anew since we last did, as `kubeadm upgrade` does, is from now on what is brought back. */
async function adoptForeignChanges(
  { files, stateDir, tell }: NodeDeps,
  edits: readonly Edit[],
): Promise<void> {
  for (const entry of await createJournal({ files, stateDir }).entries()) {
    if (entry.owner !== "kubelet" || !edits.some(({ path }) => path === entry.path)) continue;
    if (isOurs(entry, await lookAt(files, entry.path))) continue;
    tell(`${entry.path} was written anew since it was last wired: as it is now it will be restored`);
    await dropEntry(files, journalDirectory(stateDir), entry.name);
  }
}

const NEW_FILE_MODE = 0o644;

async function writeEdits({ files, stateDir }: NodeDeps, edits: readonly Edit[]): Promise<void> {
  const journal = createJournal({ files, stateDir });
  for (const { path, before, after } of edits) {
    const found = await files.read(path).catch((error: TrivetError) => {
      if (error.kind === "not-found") return undefined;
      throw error;
    });
    if (found?.toString("utf8") !== before) throw failure(`${path} was changed by somebody else just now`);
    const mode = before === undefined ? NEW_FILE_MODE : (await files.stat(path)).mode;
    await journal.replace({ path, content: Buffer.from(after), mode, owner: "kubelet" });
  }
}

/** What became of every file, and of the kubelet. */
export interface Unwired {
  readonly restored: readonly Restored[];
  /** Files that somebody else has changed: they stay. */
  readonly kept: readonly string[];
  readonly verdict: Verdict;
}

/**
 * Restores every file, restarts the kubelet and watches it. Can be run again after it was killed: what is recorded is forgotten last.
 * Where nothing is recorded it does nothing.
 */
export async function unwireKubelet(deps: NodeDeps, { force = false } = {}): Promise<Unwired> {
  const { files, stateDir } = deps;
  const wiring = await readWiring(deps);
  const before = await runningKubelet(deps);
  const restored = await createJournal({ files, stateDir }).restore({ owner: "kubelet", force });
  const kept = restored.filter(({ outcome }) => outcome === "changed").map(({ path }) => path);
  if (!wiring) {
    // The bypass script was here before.
    if (kept.length === 0) await forgetWiring(deps);
    return { restored, kept, verdict: { isWell: true, pid: before?.pid ?? 0 } };
  }
  const { restart, healthUrl, settleMs } = wiring;
  const withinMs = patienceMs(wiring);
  deps.tell(`restarting the kubelet: ${restart}`);
  await restartKubelet(deps, restart, withinMs);
  const verdict = await watchKubelet(deps, { before, proxy: undefined, healthUrl, withinMs, settleMs });
  if (kept.length === 0) await forgetWiring(deps);
  return { restored, kept, verdict };
}

/** For how long to wait on the way back, for each of the two: there is no other way from there. */
export const patienceMs = ({ withinMs }: Pick<Wiring, "withinMs">): number => Math.max(withinMs, 60_000);

async function runningKubelet(deps: NodeDeps): Promise<NodeProcess | undefined> {
  try {
    return findKubelet(await deps.listProcesses()).process;
  } catch {
    return undefined;
  }
}
