/**
 * A volume as a btrfs subvolume, limited by its quota group: the kernel stops a writer with EDQUOT, growing is one call,
 * and a copy is a snapshot of one moment that takes no time and no space.
 *
 * The limit is on what the subvolume references, shared or not: that is what its owner sees as its size, and it stays the
 * same when a snapshot is made. `max_excl` would let a volume grow by its size again after each snapshot. Full quotas, not
 * simple ones: those charge shared data to its writer for ever, so that a clone would count nothing and a volume would
 * fill with what only its snapshots still keep. statfs on btrfs knows no quota groups: `df` shows the disk.
 */
import { isKind } from "../../errors.ts";
import type { Btrfs } from "../../host/btrfs.ts";
import type { Clock } from "../../host/clock.ts";
import type { Copier } from "../../host/copy-tree.ts";
import type { Files } from "../../host/files.ts";
import { wrapperLayout } from "../pool/layout.ts";
import { invalid, refusal } from "../refusal.ts";
import { isMissing } from "../volume/read.ts";
import type { Backend, PlacedVolume } from "./backend.ts";
import { keepCounting, limitTree, usageOfTree } from "./btrfs-limit.ts";
import { createDirectoryBackend } from "./directory.ts";
import { setTopDirectory } from "./top-directory.ts";

/** What a pool on btrfs takes. */
export interface BtrfsDeps {
  readonly files: Files;
  readonly btrfs: Btrfs;
  readonly copier: Copier;
  readonly clock: Pick<Clock, "sleep">;
}

/** Metadata that the kernel sets aside before a write counts too: smaller volumes could hold next to nothing. */
const MINIMUM_BYTES = 16_777_216;
/** How long a removal waits for the kernel to give the space back, before it goes on without. */
const GIVE_BACK_MS = 60_000;
const POLL_MS = 100;
const POLL_MAX_MS = 2_000;

/** The backend of any number of pools: all its state is on the disk. */
export function createBtrfsBackend(deps: BtrfsDeps): Backend {
  const { files, btrfs } = deps;
  const directory = createDirectoryBackend(deps);
  const dataOf = ({ wrapper }: PlacedVolume) => wrapperLayout(wrapper).data;
  const enforce = async (volume: PlacedVolume): Promise<void> => {
    const wrong = await limitTree(btrfs, dataOf(volume), volume.record.sizeBytes);
    if (wrong !== undefined)
      throw refusal("precondition", volume.record.id, `volume ${volume.record.id}: ${wrong}`);
  };
  return {
    ...directory,
    ...{ name: "btrfs", how: "btrfs subvolumes with quota groups", enforced: true, consistentCopies: true },
    ...{ minimumBytes: MINIMUM_BYTES, granularityBytes: 4096 },
    async build(volume) {
      refuseInodes(volume);
      await btrfs.createSubvolume(dataOf(volume));
      await setTopDirectory(files, dataOf(volume), volume.record);
      await enforce(volume);
      await btrfs.commit(volume.wrapper);
      return {};
    },
    unsynced: () => [],
    async copy(volume, from, { signal }) {
      refuseInodes(volume);
      signal.throwIfAborted();
      await refuseNested(btrfs, from);
      await btrfs.snapshot(dataOf(from), dataOf(volume), false);
      await enforce(volume);
      await btrfs.commit(volume.wrapper);
      return {};
    },
    async reinstate(volume) {
      await enforce(volume);
      await keepCounting(btrfs, volume.wrapper);
    },
    grow: enforce,
    async usage(volume) {
      const { sizeBytes } = volume.record;
      const { availableBytes } = await files.space(volume.wrapper);
      const used = await usageOfTree(btrfs, dataOf(volume));
      const available = Math.max(0, Math.min(sizeBytes - used, availableBytes));
      // btrfs has no fixed number of inodes.
      return { bytes: { total: sizeBytes, used, available } };
    },
    async problem(volume) {
      const wrong = (await directory.problem(volume)) ?? (await keepCounting(btrfs, volume.wrapper));
      return wrong ?? limitTree(btrfs, dataOf(volume), volume.record.sizeBytes);
    },
    dismantle: (wrapper) => dismantle(deps, wrapper),
  };
}

function refuseInodes({ record }: PlacedVolume): void {
  if (record.inodes === undefined) return;
  throw invalid("parameters.inodes", `is ${record.inodes}: btrfs cannot limit inodes, leave it out`);
}

/** A snapshot shows a subvolume within as an empty directory: a copy that lacks data must not pass for a copy. */
async function refuseNested(btrfs: Btrfs, { wrapper, record }: PlacedVolume): Promise<void> {
  const { data } = wrapperLayout(wrapper);
  const id = await btrfs.subvolume(data);
  if (id === undefined) {
    throw refusal("unsupported", record.id, `${record.id} is no subvolume: it cannot become a btrfs volume`);
  }
  const nested = await btrfs.nested(wrapper, id);
  if (nested.length === 0) return;
  throw refusal(
    "precondition",
    record.id,
    `${record.id} holds ${nested.length} subvolumes that its pod made, and a snapshot would leave them out: delete them in the pod`,
  );
}

/** Destroys the subvolume with all that tenants made in it, and waits until its space is really free. */
async function dismantle({ files, btrfs, clock }: BtrfsDeps, wrapper: string): Promise<void> {
  const { data } = wrapperLayout(wrapper);
  const id = (await isMissing(files, data)) ? undefined : await subvolumeOrNone(btrfs, data);
  if (id === undefined) return;
  const ids = [...(await btrfs.nested(wrapper, id)), id];
  for (const each of ids) await btrfs.destroySubvolume(wrapper, each);
  await btrfs.commit(wrapper); // wakes the kernel's cleaner, which works on what is committed
  let pollMs = POLL_MS;
  for (
    let waitedMs = 0;
    waitedMs < GIVE_BACK_MS && (await anyExists(btrfs, wrapper, ids));
    waitedMs += pollMs
  ) {
    await clock.sleep(pollMs);
    pollMs = Math.min(2 * pollMs, POLL_MAX_MS);
  }
  for (const each of ids) {
    await btrfs.removeQgroup(wrapper, each).catch((error) => {
      // Newer kernels have removed it; with quotas off there is none; one that is not given back yet stays behind.
      if (!isKind(error, "not-found", "precondition", "unavailable", "io")) throw error;
    });
  }
  // To drop a large subvolume makes the kernel stop counting for the whole file system.
  await keepCounting(btrfs, wrapper);
}

async function anyExists(btrfs: Btrfs, path: string, ids: readonly number[]): Promise<boolean> {
  for (const id of ids) if (await btrfs.exists(path, id)) return true;
  return false;
}

/** A directory on another file system, or a plain one, is left to whoever removes trees. */
async function subvolumeOrNone(btrfs: Btrfs, path: string): Promise<number | undefined> {
  try {
    return await btrfs.subvolume(path);
  } catch (error) {
    if (isKind(error, "unsupported", "not-found")) return undefined;
    throw error;
  }
}
