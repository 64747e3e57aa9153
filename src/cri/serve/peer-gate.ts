/**
 * Lets only some users through to a listener. Who is at the other end is asked of the host; a connection whose user cannot
 * be told is refused. Refusals are logged once in a while for each user, since an agent that is refused tries for ever.
 */
import type { Socket } from "node:net";
import type { Log } from "../../observe/log.ts";

/** What a gate needs. */
export interface PeerGateOptions {
  /** The listener's name, for the log. */
  readonly listener: string;
  /** Whose connections pass. Root is no exception: it has the main socket. */
  readonly uids: readonly number[];
  /** The user at the other end. May throw, as for a socket that is closed already. */
  readonly peerOf: (socket: Socket) => { readonly uid: number; readonly pid: number };
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

const SAY_EVERY_MS = 60_000;
/** More users than this are refused in one line. */
const MAX_USERS = 100;

/** Says of each accepted connection whether it may stay. */
export function createPeerGate({
  listener,
  uids,
  peerOf,
  log,
  nowMs,
}: PeerGateOptions): (socket: Socket) => boolean {
  const allowed = new Set(uids);
  const refused = new Map<string, { count: number; nextMs: number }>();

  function say(user: string, fields: { readonly pid?: number; readonly reason?: string }): void {
    if (!refused.has(user) && refused.size >= MAX_USERS) refused.clear();
    const entry = refused.get(user) ?? { count: 0, nextMs: 0 };
    refused.set(user, entry);
    entry.count += 1;
    if (nowMs() < entry.nextMs) return;
    log.warn("connection refused: its user may not use this listener", {
      listener,
      user,
      connections: entry.count,
      ...fields,
    });
    entry.count = 0;
    entry.nextMs = nowMs() + SAY_EVERY_MS;
  }

  return (socket) => {
    try {
      const { uid, pid } = peerOf(socket);
      if (allowed.has(uid)) return true;
      say(String(uid), { pid });
    } catch (error) {
      say("unknown", { reason: error instanceof Error ? error.message : String(error) });
    }
    return false;
  };
}
