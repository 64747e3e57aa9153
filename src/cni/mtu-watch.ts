/**
 * Watches the MTU of the interface with the default route, from which pods' links have theirs. A change is told, and on request
 * applied to the links of pods whose configuration names none; otherwise only new pods get it. Never touches links of others.
 */
import { join } from "node:path";
import { asTrivetError, isKind, TrivetError } from "../errors.ts";
import { ensureDirectory, replaceFile } from "../host/files.ts";
import type { Log } from "../observe/log.ts";
import { findMtu, MIN_MTU_IPV6 } from "./datapath/mtu.ts";
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
  const now = await findUnderlay(deps);
  onMtu?.(Math.min(now.mtu4, now.mtu6));
  const before = await lastSeen(deps, stateDir);
  if (before?.mtu4 === now.mtu4 && before.mtu6 === now.mtu6) return;
  if (before !== undefined) {
    const changed = apply ? await applyMtu(options, now) : undefined;
    log.warn(
      apply
        ? "the MTU of the underlay has changed"
        : "the MTU of the underlay has changed: only new pods get it",
      {
        ...{ before4: before.mtu4, before6: before.mtu6, ...now },
        ...(changed === undefined ? {} : { podsChanged: changed }),
      },
    );
  }
  // Last, so that a look that was cut off is repeated.
  await ensureDirectory(deps.files, stateDir, DIRECTORY_MODE);
  await replaceFile(deps.files, fileIn(stateDir), Buffer.from(`${JSON.stringify(now)}\n`), FILE_MODE);
}

/** What a pod of each family alone gets: their default routes may lead by different interfaces. */
interface Underlay {
  readonly mtu4: number;
  readonly mtu6: number;
}

async function findUnderlay({ netlink }: Deps): Promise<Underlay> {
  const host = netlink.connect();
  try {
    return { mtu4: await findMtu(host, [4]), mtu6: await findMtu(host, [6]) };
  } finally {
    host.close();
  }
}

const fileIn = (stateDir: string): string => join(stateDir, "underlay.json");

async function lastSeen({ files }: Deps, stateDir: string): Promise<Underlay | undefined> {
  const bytes = await nullIfAbsent(files.read(fileIn(stateDir)));
  try {
    const { mtu4, mtu6 } = JSON.parse(bytes?.toString("utf8") ?? "{}") as Partial<Underlay>;
    return typeof mtu4 === "number" && typeof mtu6 === "number" ? { mtu4, mtu6 } : undefined;
  } catch {
    return undefined;
  }
}

/** How many pods have the new MTU. One that cannot be changed is told, and does not keep the others from it. */
async function applyMtu({ deps, stateDir, log }: MtuWatchOptions, underlay: Underlay): Promise<number> {
  let changed = 0;
  for (const record of await ownAttachments(deps, stateDir)) {
    if (record.mode === "ipam" || !record.followsMtu) continue;
    try {
      if (await applyTo(deps, record, mtuFor(record, underlay))) changed += 1;
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

/** Throws kind `unsupported` where IPv6 would end: below its smallest MTU the kernel takes the pod's addresses away, for good. */
function mtuFor({ addresses, hostLink }: AttachmentRecord, { mtu4, mtu6 }: Underlay): number {
  const has4 = addresses.some((address) => !address.includes(":"));
  const has6 = addresses.some((address) => address.includes(":"));
  const mtu = Math.min(...(has4 ? [mtu4] : []), ...(has6 ? [mtu6] : []));
  if (!has6 || mtu >= MIN_MTU_IPV6) return mtu;
  const message = `it has an IPv6 address, which needs at least ${MIN_MTU_IPV6}, and the underlay has ${mtu}`;
  throw new TrivetError({ kind: "unsupported", op: "mtu.apply", subject: hostLink, message });
}

async function applyTo({ netlink, netns }: Deps, record: AttachmentRecord, mtu: number): Promise<boolean> {
  const host = netlink.connect();
  try {
    const link = await host.link(record.hostLink);
    if (link?.mac !== record.hostMac || link.mtu === mtu) return false;
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
