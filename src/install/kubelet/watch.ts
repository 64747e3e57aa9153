/** Looks at a kubelet after its restart: is it another process, is it healthy, and do its calls go where they should? */
import { basename, dirname } from "node:path";
import type { KubeletDeps } from "./deps.ts";
import { findKubelet } from "./detect.ts";
import type { NodeProcess } from "./facts.ts";

export interface Watched {
  /** The one that must be gone; undefined where none ran. */
  readonly before: Pick<NodeProcess, "pid" | "startTicks"> | undefined;
  readonly healthUrl: string;
  /** The proxy's socket, if it must be connected to it. */
  readonly proxy: string | undefined;
  readonly withinMs: number;
  /** For how long all of that must hold. */
  readonly settleMs: number;
}

/** Well, or why not at the end. */
export type Verdict =
  | { readonly isWell: true; readonly pid: number }
  | { readonly isWell: false; readonly reason: string };

type WatchDeps = Pick<KubeletDeps, "listProcesses" | "sockets" | "getStatus" | "clock">;

const POLL_MS = 250;

/** Resolves as soon as all has held for long enough, at the latest after `withinMs`. */
export async function watchKubelet(deps: WatchDeps, watched: Watched): Promise<Verdict> {
  const { clock } = deps;
  const nowMs = () => Number(clock.monotonicNs() / 1_000_000n);
  const endMs = nowMs() + watched.withinMs;
  let since: { pid: number; ms: number } | undefined;
  for (;;) {
    const seen = await lookOnce(deps, watched);
    if (!seen.isWell) since = undefined;
    else if (since?.pid !== seen.pid) since = { pid: seen.pid, ms: nowMs() };
    if (since && nowMs() - since.ms >= watched.settleMs) return seen;
    if (nowMs() >= endMs) {
      const short = `it was well only for the last ${nowMs() - (since?.ms ?? 0)} ms of the time given`;
      return seen.isWell ? { isWell: false, reason: short } : seen;
    }
    await clock.sleep(POLL_MS);
  }
}

async function lookOnce(deps: WatchDeps, { before, healthUrl, proxy }: Watched): Promise<Verdict> {
  const no = (reason: string): Verdict => ({ isWell: false, reason });
  try {
    const { process } = findKubelet(await deps.listProcesses());
    const { pid, startTicks } = process;
    if (before?.pid === pid && before.startTicks === startTicks)
      return no(`process ${pid} was not restarted`);
    const health = await healthOf(deps, healthUrl);
    if (health !== undefined) return no(health);
    const elsewhere = proxy === undefined ? undefined : await otherThan(deps, pid, proxy);
    if (elsewhere === undefined) return { isWell: true, pid };
    return no(
      `the kubelet is healthy, but process ${pid} is not connected to ${proxy}; it is to ${elsewhere}`,
    );
  } catch (error) {
    return no((error as Error).message);
  }
}

/** Undefined for a process that is connected to the proxy; else the names of what it is connected to. */
export async function otherThan(
  { sockets }: Pick<WatchDeps, "sockets">,
  pid: number,
  proxy: string,
): Promise<string | undefined> {
  const peers = (await sockets.of(pid)).map(({ peer }) => peer).filter(Boolean);
  const name = await sockets.nameAt(proxy);
  if (peers.some((peer) => isOf(proxy, name, peer))) return undefined;
  return [...new Set(peers)].join(", ") || "no named socket";
}

/** Undefined for a kubelet that says that it is well. */
export async function healthOf(
  { getStatus }: Pick<WatchDeps, "getStatus">,
  url: string,
): Promise<string | undefined> {
  try {
    const status = await getStatus(url);
    return status === 200 ? undefined : `${url} answers ${status}`;
  } catch (error) {
    return `${url} does not answer: ${(error as Error).message}`;
  }
}

/** Also a generation of the proxy that is being replaced: each binds a name of its own beside the public one. */
function isOf(path: string, name: string, peer: string): boolean {
  if (peer === path || peer === name) return true;
  const isBeside = dirname(peer) === dirname(name);
  return isBeside && /^\.\d+\./.test(basename(peer)) && /^\.\d+\./.test(basename(name));
}
