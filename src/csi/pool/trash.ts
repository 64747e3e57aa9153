/**
 * Removes deleted volumes in the background, a few at a time, and gives their reservations back; what its class keeps
 * for a while stays until its time is up. Nothing is removed before its way into the trash is durable: a power cut
 * would otherwise bring a volume back without its data.
 */
import { join } from "node:path";
import type { Clock } from "../../host/clock.ts";
import type { Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import { createAlarm } from "../alarm.ts";
import { forEachBounded } from "../bounded.ts";
import { isMissing } from "../volume/read.ts";
import type { PoolLayout } from "./layout.ts";
import type { Ledger } from "./ledger.ts";
import { createQuiet } from "./quiet.ts";
import { trashKey } from "./trash-name.ts";

/**
 * Trees that are removed at once: a huge one does not hold up the others, and calls keep most of the disk's time. Each
 * may hold a thread of the pool for as long as the disk takes, such as for a discard.
 */
const REMOVALS = 2;
/** A container that outlives its pod, say, has an image open: its space is to come back when it ends. */
const RETRY_MS = 300_000;
/** Less than a caller's own patience. btrfs gives the space of a subvolume back after seconds only. */
const MAKE_ROOM_MS = 5_000;

/** The remover of one open pool. */
export interface Trash {
  /** A call is about to wait for the disk: a removal that has not started lets it, and those that follow closely, pass. */
  giveWay(): void;
  /** Starts removing what is in the trash, or lets the removal that is under way look again. */
  kick(): void;
  /** Resolves when what may go is gone, or after five seconds: for who finds no room while some is on its way back. */
  makeRoom(): Promise<void>;
  /** Says until when an entry stays; without it, it goes at the next kick. */
  keep(entry: string, untilMs: number): void;
  /** When an entry that is being kept will go. */
  keptUntil(entry: string): number | undefined;
  /** No removal of this entry starts any more; false where one has started. `keep` and `forget` take that back. */
  reclaim(entry: string): boolean;
  /** The entry is durable: whoever put it there has synced both directories since. */
  settled(entry: string): void;
  /** The entry is none any more. */
  forget(entry: string): void;
  /** Resolves when nothing is being removed. What failed stays, and is tried again later. */
  idle(): Promise<void>;
  /** No further removal starts. */
  stop(): void;
}

/** Where it removes and where it complains. */
export interface TrashDeps {
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  /** Takes apart what is no tree of files, such as a loop device. */
  dismantle(wrapper: string): Promise<void>;
  /** How long no call has come before a removal starts; absent: it starts at once. */
  readonly quietMs?: number;
  /** Whether calls have more use for the room than for the disk's time; absent: they never have. */
  isTight?(): Promise<boolean>;
}

/** An idle remover: `kick` starts it. */
export function createTrash(deps: TrashDeps, layout: PoolLayout, ledger: Ledger): Trash {
  const { files, clock, log, quietMs = 0 } = deps;
  const kept = new Map<string, number>();
  const removing = new Set<string>();
  const settled = new Set<string>();
  let running: Promise<void> | undefined;
  let again = false;
  const quiet = createQuiet(clock, quietMs);
  const end = new AbortController();
  const failed = (error: unknown) => {
    log.warn("trash not emptied: tried again in some minutes", {
      ...{ path: layout.trash, error: (error as Error).message },
    });
    wake.at(clock.nowMs() + RETRY_MS);
  };
  const emptyOnce = async () => {
    const isDue = (name: string) => (kept.get(name) ?? 0) <= clock.nowMs();
    const names = (await files.list(layout.trash)).map(({ name }) => name).filter(isDue);
    if (names.length === 0) return;
    if (names.some((name) => !settled.has(name))) await settleAll(files, layout);
    await forEachBounded(names, REMOVALS, async (name) => {
      if (end.signal.aborted || !isDue(name)) return;
      removing.add(name);
      await remove(deps, join(layout.trash, name)).then(() => {
        trash.forget(name);
        ledger.release(trashKey(name));
      }, failed);
      removing.delete(name);
    });
  };
  const run = async () => {
    do {
      if (quietMs > 0 && !(await deps.isTight?.().catch(() => true))) await quiet.wait(end.signal);
      again = false;
      await emptyOnce().catch(failed);
    } while (again && !end.signal.aborted);
    running = undefined;
  };
  const wake = createAlarm(clock, () => {
    trash.kick();
    // What is due goes now.
    for (const untilMs of kept.values()) if (untilMs > clock.nowMs()) wake.at(untilMs);
  });
  const trash: Trash = {
    giveWay: quiet.called,
    kick() {
      again = true;
      if (!end.signal.aborted) running ??= run();
    },
    makeRoom() {
      trash.kick();
      return withinBound(clock, running);
    },
    keep(entry, untilMs) {
      kept.set(entry, untilMs);
      wake.at(untilMs);
    },
    keptUntil: (entry) => kept.get(entry),
    reclaim(entry) {
      if (removing.has(entry)) return false;
      kept.set(entry, Number.POSITIVE_INFINITY);
      return true;
    },
    idle: async () => running,
    settled: (entry) => void settled.add(entry),
    forget(entry) {
      kept.delete(entry);
      settled.delete(entry);
    },
    stop() {
      end.abort();
      wake.stop();
    },
  };
  return trash;
}

async function settleAll(files: Files, { volumes, snapshots, trash }: PoolLayout): Promise<void> {
  await Promise.all([volumes, snapshots, trash].map((path) => files.sync(path)));
}

async function withinBound(clock: Clock, work: Promise<void> | undefined): Promise<void> {
  const bound = new AbortController();
  await Promise.race([work, clock.sleep(MAKE_ROOM_MS, bound.signal).catch(() => undefined)]);
  bound.abort();
}

/** A removal that is reported as failed may have happened all the same: then its reservation is to go, too. */
async function remove({ files, dismantle }: TrashDeps, path: string): Promise<void> {
  try {
    await dismantle(path);
    await files.removeTree(path);
  } catch (error) {
    if (!(await isMissing(files, path))) throw error;
  }
}
