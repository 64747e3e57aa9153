/**
 * Watches the MTU of the interface with the default route, from which pods' links have theirs. A change is told, and on request
 * applied to the links of pods that have the earlier value; otherwise only new pods get it. Never touches links of others.
 */
import { join } from "node:path";
import { asTrivetError, isKind } from "../errors.ts";
import { ensureDirectory, replaceFile } from "../host/files.ts";
import type { Log } from "../observe/log.ts";
import { findMtu } from "./datapath/mtu.ts";
import type { CniDeps } from "./deps.ts";
import { ownAttachments } from "./own-attachments.ts";
import type { AttachmentRecord } from "./state/attachments.ts";
import { nullIfAbsent } from "./state/guard.ts";

type Deps = Pick<CniDeps, "files" | "netns" | "netlink" | "clock" | "bootId">;

/** What to do about a change. */
export interface MtuWatchOptions {
  readonly deps: Deps;
  readonly stateDir: string;
  /** Whether pods that run get the new MTU too. */
  readonly apply: boolean;
  readonly log: Log;
  /** Told the underlay's MTU at each look. Must not throw. */
  readonly onMtu?: ((mtu: number) => void) | undefined;
}

/** A running watch. */
export interface MtuWatch {
  /** One look, after those under way. Never rejects. */
  look(): Promise<void>;
  stop(): Promise<void>;
}

const LOOK_MS = 30_000;
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

/** Begins with a look at once. What was seen last is on file, so that a change while no agent ran is noticed too. */
export function watchMtu(options: MtuWatchOptions): MtuWatch {
  const stopping = new AbortController();
  let turn = Promise.resolve();
  const look = () => {
    turn = turn.then(() =>
      lookOnce(options).catch((error: unknown) => {
        const { message } = asTrivetError(error, "mtu.look", "underlay");
        options.log.warn("the MTU of the underlay could not be looked at", { error: message });
      }),
    );
    return turn;
  };
  const run = async () => {
    while (!stopping.signal.aborted) {
      await look();
      await options.deps.clock.sleep(LOOK_MS, stopping.signal).catch(() => undefined);
    }
  };
  const running = run();
  return {
    look,
    async stop() {
      stopping.abort();
      await Promise.all([running, turn]);
    },
  };
}

async function lookOnce(options: MtuWatchOptions): Promise<void> {
  const { deps, stateDir, log, apply, onMtu } = options;
  const host = deps.netlink.connect();
  const mtu = await findMtu(host).finally(() => host.close());
  onMtu?.(mtu);
  const before = await lastSeen(deps, stateDir);
  if (before === mtu) return;
  if (before !== undefined) {
    const changed = apply ? await applyMtu(options, { before, mtu }) : undefined;
    log.warn(
      apply
        ? "the MTU of the underlay has changed"
        : "the MTU of the underlay has changed: only new pods get it",
      { before, mtu, ...(changed === undefined ? {} : { podsChanged: changed }) },
    );
  }
  // Last, so that a look that was cut off is repeated.
  await ensureDirectory(deps.files, stateDir, DIRECTORY_MODE);
  await replaceFile(deps.files, fileIn(stateDir), Buffer.from(`${JSON.stringify({ mtu })}\n`), FILE_MODE);
}

const fileIn = (stateDir: string): string => join(stateDir, "underlay.json");

async function lastSeen({ files }: Deps, stateDir: string): Promise<number | undefined> {
  const bytes = await nullIfAbsent(files.read(fileIn(stateDir)));
  try {
    const { mtu } = JSON.parse(bytes?.toString("utf8") ?? "{}") as { mtu?: unknown };
    return typeof mtu === "number" ? mtu : undefined;
  } catch {
    return undefined;
  }
}

interface Change {
  readonly before: number;
  readonly mtu: number;
}

/** How many pods have the new MTU. One that cannot be changed is told, and does not keep the others from it. */
async function applyMtu({ deps, stateDir, log }: MtuWatchOptions, change: Change): Promise<number> {
  let changed = 0;
  for (const record of await ownAttachments(deps, stateDir)) {
    if (record.mode === "ipam") continue;
    try {
      if (await applyTo(deps, record, change)) changed += 1;
    } catch (error) {
      // A pod that is being deleted just now.
      if (isKind(error, "not-found")) continue;
      const { message } = asTrivetError(error, "mtu.apply", record.hostLink);
      log.warn("a pod keeps its MTU", {
        containerId: record.containerId,
        ifname: record.ifname,
        error: message,
      });
    }
  }
  return changed;
}

async function applyTo(
  { netlink, netns }: Deps,
  record: AttachmentRecord,
  { before, mtu }: Change,
): Promise<boolean> {
  const host = netlink.connect();
  try {
    const link = await host.link(record.hostLink);
    // Another value was configured, and is not from the underlay.
    if (link?.mac !== record.hostMac || link.mtu !== before) return false;
    const handle = netns.open(record.netns);
    try {
      if (handle?.inode.toString() !== record.netnsInode) return false;
      const pod = netlink.connect(handle);
      try {
        await pod.apply([{ op: "link.mtu", name: record.ifname, mtu }]);
      } finally {
        pod.close();
      }
    } finally {
      handle?.close();
    }
    await host.apply([{ op: "link.mtu", name: record.hostLink, mtu }]);
    return true;
  } finally {
    host.close();
  }
}
