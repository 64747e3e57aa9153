/**
 * What must be known of a wired kubelet after the installer has ended: by the guard, by the next run, by the removal. One line of JSON in
 * the mark `kubelet-wiring`; the mark `kubelet-pending` says that it is not settled yet, and by whom it is being done.
 */
import { TrivetError } from "../../errors.ts";
import { clearMark, readMark, setMark } from "../marks.ts";
import type { NodeDeps } from "./deps.ts";

export interface Wiring {
  /** As a line for the shell. */
  readonly restart: string;
  readonly service: string;
  readonly healthUrl: string;
  /** The socket of the proxy, and that of the runtime which the kubelet had before. */
  readonly proxy: string;
  readonly runtime: string;
  /** Where its log is, if not in the journal of systemd. */
  readonly log: string | undefined;
  readonly withinMs: number;
  readonly settleMs: number;
}

/** An installer at work. */
export interface Pending {
  readonly nonce: string;
  readonly pid: number;
  /** In decimal: with the pid it names the process for good. */
  readonly startTicks: string;
}

type Store = Pick<NodeDeps, "files" | "stateDir">;

/** Before anything is changed. The mark that something is pending comes last: with it everything else is there. */
export async function beginWiring(store: Store, wiring: Wiring, pending: Pending): Promise<void> {
  await setMark(store, "kubelet-restart", wiring.restart);
  await setMark(store, "kubelet-wiring", JSON.stringify(wiring));
  await setMark(store, "kubelet-pending", JSON.stringify(pending));
}

/** It is as it should be, and stays so. */
export const settleWiring = (store: Store): Promise<void> => clearMark(store, "kubelet-pending");

/** Nothing is wired any more. A guard that still watches needs its mark no longer: it was to say that it had begun. */
export async function forgetWiring(store: Store): Promise<void> {
  const names = ["kubelet-pending", "kubelet-wiring", "kubelet-restart", "kubelet-guard"] as const;
  for (const name of names) await clearMark(store, name);
}

/** Undefined where nothing is wired. */
export const readWiring = (store: Store): Promise<Wiring | undefined> =>
  read<Wiring>(store, "kubelet-wiring");

/** Undefined where no installer is at work, nor was killed at it. */
export const readPending = (store: Store): Promise<Pending | undefined> =>
  read<Pending>(store, "kubelet-pending");

async function read<T>(store: Store, name: "kubelet-wiring" | "kubelet-pending"): Promise<T | undefined> {
  const text = await readMark(store, name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    const message = `the mark ${name} in ${store.stateDir}/install/marks cannot be read: restore the kubelet with 'trivet bypass'`;
    throw new TrivetError({ kind: "invalid", op: "kubelet.record", subject: name, message, cause });
  }
}
