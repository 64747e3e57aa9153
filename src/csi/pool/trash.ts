/**
 * Removes deleted volumes in the background, one after another, and gives their reservations back. Nothing is removed
 * before its way into the trash is durable: a power cut would otherwise bring a volume back without its data.
 */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import { isMissing } from "../volume/read.ts";
import type { PoolLayout } from "./layout.ts";
import type { Ledger } from "./ledger.ts";

/** The remover of one open pool. */
export interface Trash {
  /** Starts removing what is in the trash, or lets the removal that is under way look again. */
  kick(): void;
  /** Resolves when nothing is being removed. What failed stays, and is tried again at the next kick. */
  idle(): Promise<void>;
  /** No further removal starts. */
  stop(): void;
}

/** The ledger's key of what lies in the trash under `entry`. */
export function trashKey(entry: string): string {
  return `trash/${entry}`;
}

/** Whether a key of the ledger stands for remains in the trash. */
export function isTrashKey(key: string): boolean {
  return key.startsWith("trash/");
}

/** Where it removes and where it complains. */
export interface TrashDeps {
  readonly files: Files;
  readonly log: Log;
}

/** An idle remover: `kick` starts it. */
export function createTrash({ files, log }: TrashDeps, layout: PoolLayout, ledger: Ledger): Trash {
  let running: Promise<void> | undefined;
  let again = false;
  let stopped = false;
  const failed = (error: unknown) => {
    log.warn("trash not emptied: tried again at the next delete or start", {
      ...{ path: layout.trash, error: (error as Error).message },
    });
  };
  const emptyOnce = async () => {
    const entries = await files.list(layout.trash);
    if (entries.length === 0) return;
    await files.sync(layout.volumes);
    await files.sync(layout.trash);
    for (const { name } of entries) {
      if (stopped) return;
      const release = () => ledger.release(trashKey(name));
      await remove(files, join(layout.trash, name)).then(release, failed);
    }
  };
  const run = async () => {
    do {
      again = false;
      await emptyOnce().catch(failed);
    } while (again && !stopped);
    running = undefined;
  };
  return {
    kick() {
      again = true;
      if (!stopped) running ??= run();
    },
    idle: async () => running,
    stop() {
      stopped = true;
    },
  };
}

/** A removal that is reported as failed may have happened all the same: then its reservation is to go, too. */
async function remove(files: Files, path: string): Promise<void> {
  try {
    await files.removeTree(path);
  } catch (error) {
    if (!(await isMissing(files, path))) throw error;
  }
}
