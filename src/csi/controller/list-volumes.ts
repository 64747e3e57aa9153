/**
 * ListVolumes: the volumes of all pools in the order of their ids, a page at a time. Which ids there are is known without
 * looking at a disk; only the volumes of the page are read.
 */
import { forEachBounded } from "../bounded.ts";
import type { Pools } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import { parseVolumeId, type VolumeId } from "../volume/id.ts";
import type { ListVolumesRequest } from "../wire.ts";
import { describeVolume, type GetVolumeDeps, type VolumeEntry } from "./get-volume.ts";

/** Volumes looked at at once. */
const READS = 16;
/** Set before an id, so that a token is taken for nothing else. */
const TOKEN_PREFIX = "after-";

/** The handler of ListVolumes (specification, "ListVolumes"). */
export function listVolumesHandler(deps: GetVolumeDeps) {
  return async ({ max_entries, starting_token }: ListVolumesRequest) => {
    if (max_entries < 0) throw invalid("max_entries", `is ${max_entries}: give 0 for all, or how many`);
    const after = parseToken(starting_token);
    // The ids are known once every pool that can be opened has been.
    await Promise.all(deps.pools.all.map(({ use }) => use().catch(() => undefined)));
    const page = pageOf(idsIn(deps.pools), after, max_entries === 0 ? Number.POSITIVE_INFINITY : max_entries);
    const found = new Map<string, VolumeEntry>();
    await forEachBounded(page.ids, READS, async (id) => {
      const entry = await describeVolume(deps, id);
      if (entry) found.set(id, entry);
    });
    // One that was deleted meanwhile is left out: the next page begins where it would have.
    const entries = page.ids.flatMap((id) => found.get(id) ?? []);
    const last = page.ids.at(-1);
    return { entries, next_token: page.hasMore && last !== undefined ? `${TOKEN_PREFIX}${last}` : "" };
  };
}

function parseToken(token: string): VolumeId | undefined {
  if (token === "") return undefined;
  const id = token.startsWith(TOKEN_PREFIX) ? parseVolumeId(token.slice(TOKEN_PREFIX.length)) : undefined;
  if (id) return id;
  const message = `starting_token is "${token}", which no page has ended with: begin again without one`;
  throw refusal("busy", "starting_token", message); // the specification wants ABORTED
}

/** Those that can be served and those that are set apart. */
function* idsIn({ all }: Pools): Iterable<VolumeId> {
  for (const { ledger } of all) {
    for (const key of ledger.entries().keys()) {
      const id = parseVolumeId(key.startsWith("quarantine/") ? key.slice("quarantine/".length) : key);
      if (id) yield id;
    }
  }
}

/** The `max` smallest ids after `after`, found without sorting all of them. */
function pageOf(ids: Iterable<VolumeId>, after: VolumeId | undefined, max: number) {
  let kept: VolumeId[] = [];
  let dropped = false;
  const trim = () => {
    kept.sort();
    dropped ||= kept.length > max;
    kept = kept.slice(0, max);
  };
  for (const id of ids) {
    if (after !== undefined && id <= after) continue;
    kept.push(id);
    if (kept.length >= 2 * max + READS) trim();
  }
  trim();
  return { ids: kept, hasMore: dropped };
}
