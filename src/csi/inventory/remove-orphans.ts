/**
 * Removes orphans, each looked at once more right before: volumes go the way of DeleteVolume, with its lock and its check
 * of the mount table. What is quarantined is never touched.
 */
import { join } from "node:path";
import { asTrivetError } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { Mounts } from "../../host/mount.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import { volumeOfMountRoot } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import type { Pools } from "../pool/pools.ts";
import { discardStaged } from "../pool/staging.ts";
import { parseTrashName, retainedKey, trashKey } from "../pool/trash-name.ts";
import { invalid, refusal } from "../refusal.ts";
import type { Orphan, OrphanKind } from "./facts.ts";

/** What removing takes. */
export interface RemoveOrphansDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly lock: KeyedLock;
  readonly pools: Pools;
  /** As DeleteVolume does. */
  deleteVolume(id: string): Promise<void>;
}

/** An orphan, and what became of it. */
export interface RemovedOrphan extends Orphan {
  /** `found`: it was not to be removed. `failed`: `reason` says why it is still there. */
  readonly outcome: "removed" | "found" | "failed";
  readonly reason?: string;
}

/**
 * Those that may be removed; with `subjects` only these, which must be among them: `invalid` otherwise, and nothing is
 * changed.
 */
export function chooseOrphans(orphans: readonly Orphan[], subjects: readonly string[]): readonly Orphan[] {
  if (subjects.length === 0) return orphans.filter(({ removal }) => removal === "yes");
  return subjects.map((subject) => {
    const orphan = orphans.find((candidate) => candidate.subject === subject);
    if (!orphan)
      throw invalid("--delete", `names "${subject}", which is no orphan: see "trivet storage orphans"`);
    if (orphan.removal !== "no") return orphan;
    throw invalid(
      "--delete",
      `names "${subject}" (${orphan.kind}), which this command does not remove: ${orphan.detail}`,
    );
  });
}

/** One after another. Never throws: what cannot be removed is told. */
export async function removeOrphans(
  deps: RemoveOrphansDeps,
  orphans: readonly Orphan[],
  chosen: readonly Orphan[],
): Promise<readonly RemovedOrphan[]> {
  const outcomes: RemovedOrphan[] = [];
  for (const orphan of orphans) {
    if (!chosen.includes(orphan)) {
      outcomes.push({ ...orphan, outcome: "found" });
      continue;
    }
    try {
      await removers[orphan.kind]?.(deps, orphan);
      outcomes.push({ ...orphan, outcome: "removed" });
    } catch (error) {
      const { message } = asTrivetError(error, "orphan.remove", orphan.subject);
      outcomes.push({ ...orphan, outcome: "failed", reason: message });
    }
  }
  return outcomes;
}

type Remove = (deps: RemoveOrphansDeps, orphan: Orphan) => Promise<void>;

const removers: Partial<Record<OrphanKind, Remove>> = {
  "volume without PersistentVolume": (deps, { subject }) => deps.deleteVolume(subject),
  async "left in staging"(deps, orphan) {
    const pool = await poolOf(deps, orphan);
    const name = orphan.subject.slice(pool.name.length + 1);
    // Whoever builds a volume holds its lock; a volume of this name is not built meanwhile.
    await deps.lock.run([name], async () => {
      const entry = await discardStaged(deps.files, pool.layout, name);
      pool.ledger.enter(trashKey(entry), 0);
    });
    pool.trash.kick();
  },
  async "mount of a deleted volume"({ mounts }, { subject }) {
    const top = (await mounts.list()).filter(({ mountPoint }) => mountPoint === subject).at(-1);
    if (!top) return;
    if (volumeOfMountRoot(top.root) === undefined) {
      throw refusal("precondition", subject, `something else was mounted at ${subject} meanwhile`);
    }
    await mounts.unmount(subject);
  },
  async retained(deps, orphan) {
    const pool = await poolOf(deps, orphan);
    const { layout, ledger, trash } = pool;
    const { subject: entry } = orphan;
    const id = parseTrashName(entry)?.id;
    if (!id) throw refusal("precondition", entry, `${entry} is not the driver's: remove it by hand`);
    await deps.lock.run([id], async () => {
      await deps.files.rename(join(layout.retained, entry), join(layout.trash, entry));
      ledger.move(retainedKey(entry), trashKey(entry));
      await Promise.all([deps.files.sync(layout.retained), deps.files.sync(layout.trash)]);
    });
    trash.kick();
  },
};

async function poolOf({ pools }: RemoveOrphansDeps, orphan: Orphan): Promise<OpenPool> {
  const pool = pools.all.find(({ config }) => config.name === orphan.pool);
  if (!pool) throw refusal("bug", orphan.subject, `${orphan.subject} is in no pool`);
  return pool.use();
}
