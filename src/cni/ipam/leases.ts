/**
 * The lease store: one file per leased address, claimed by link(2) and released under a guard. Where to start looking
 * comes from a cursor, so that an address is not reused at once and a claim costs the same with 5 leases as with 5,000.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { TrivetError } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { CniDeps } from "../deps.ts";
import type { PodIdentity } from "../protocol/environment.ts";
import { type Staged, type Staging, withStaged } from "../state/claim.ts";
import { committedByte, decodeEntry, type EntryState, encodeEntry, textField } from "../state/entry.ts";
import { nullIfAbsent, unlinkGuarded, withGuard } from "../state/guard.ts";
import { type AttachmentKey, type NetworkPaths, networkPaths } from "../state/paths.ts";
import type { Cursors } from "./cursor.ts";
import { type Candidate, candidates, poolSize, type RangeSet } from "./pool.ts";

/** One leased address, with whom it is leased to. */
export interface Lease {
  readonly network: string;
  readonly address: string;
  readonly containerId: string;
  readonly ifname: string;
  readonly pod: PodIdentity;
  readonly state: EntryState;
  /** Milliseconds since the epoch. */
  readonly createdAtMs: number;
}

/** Names taken in a row, from the cursor on, before the directory is read once. */
const BLIND_TRIES = 8;

interface ClaimOptions {
  readonly staging: Staging;
  readonly cursors: Cursors;
  readonly set: RangeSet;
  readonly setIndex: number;
  readonly owner: Omit<Lease, "address" | "state">;
  /** Called before each try, so that an undo knows of a claim whose answer was lost. */
  readonly trying: (address: string) => void;
}

/** Leases an address of the set, as pending. Throws kind `exhausted` if all are taken. */
export async function claimLease(options: ClaimOptions): Promise<string> {
  const { staging, cursors, set, setIndex, owner } = options;
  const cursor = staging.paths.cursor(setIndex);
  const start = (await cursors.next(cursor)) % poolSize(set);
  const claimed = await withStaged(staging, encodeEntry("pending", owner), (staged) =>
    claimFirstFree(options, staged, start),
  );
  if (!claimed) throw exhausted(owner.network, set);
  await cursors.leased(cursor, { start, place: claimed.place });
  return claimed.address;
}

async function claimFirstFree(
  { staging, set, owner, trying }: ClaimOptions,
  staged: Staged,
  start: bigint,
): Promise<Candidate | undefined> {
  const { files, paths } = staging;
  const claim = (candidate: Candidate) => {
    trying(candidate.address);
    return staged.claim(paths.lease(candidate.address));
  };
  let tries = 0;
  for (const candidate of candidates(set, start)) {
    if (tries === BLIND_TRIES) break;
    tries += 1;
    if (await claim(candidate)) return candidate;
  }
  // Callers that start at the same moment would go on in step, and meet at every name: spread them.
  const spread = (start + spreadOf(owner.containerId)) % poolSize(set);
  for (;;) {
    const taken = new Set((await files.list(paths.leases)).map(({ name }) => name));
    let anyFree = false;
    for (const candidate of candidates(set, spread)) {
      if (taken.has(candidate.address)) continue;
      anyFree = true;
      if (await claim(candidate)) return candidate;
    }
    if (!anyFree) return undefined;
  }
}

function spreadOf(containerId: string): bigint {
  return createHash("sha256").update(containerId).digest().readBigUInt64BE();
}

function exhausted(network: string, set: RangeSet): TrivetError {
  const all = [...candidates(set, 0n)].length;
  return new TrivetError({
    kind: "exhausted",
    op: "lease.claim",
    subject: network,
    message: `network ${network} has no free address: all ${all} are leased; add a range, or delete pods`,
  });
}

/** Whether a lease file's content belongs to this attachment. */
function heldBy(key: AttachmentKey): (content: Buffer) => boolean {
  return (content) => {
    const value = decodeEntry(content)?.value;
    return (
      value !== undefined &&
      textField(value, "containerId") === key.containerId &&
      textField(value, "ifname") === key.ifname
    );
  };
}

/** Marks the lease as committed. False if it is not this attachment's. */
export function commitLease(files: Files, path: string, key: AttachmentKey): Promise<boolean> {
  return withGuard(files, { path, holds: heldBy(key), act: (file) => file.write(committedByte, 0) });
}

/** Frees the address if it is leased to this attachment. */
export function releaseLease(files: Files, path: string, key: AttachmentKey): Promise<boolean> {
  return unlinkGuarded(files, { path, holds: heldBy(key) });
}

/** Addresses leased to an attachment, by reading every lease: for what a killed ADD left, never for an ordinary call. */
export async function findLeases(files: Files, paths: NetworkPaths, key: AttachmentKey): Promise<string[]> {
  const isHeld = heldBy(key);
  const found: string[] = [];
  for (const { name } of (await nullIfAbsent(files.list(paths.leases))) ?? []) {
    const content = await nullIfAbsent(files.read(paths.lease(name)));
    if (content && isHeld(content)) found.push(name);
  }
  return found;
}

/** Every lease of every network of this boot, sorted by network and address text. For people and tools. */
export async function listLeases(
  { files, bootId }: Pick<CniDeps, "files" | "bootId">,
  stateDir: string,
): Promise<Lease[]> {
  const boot = join(stateDir, bootId);
  const leases: Lease[] = [];
  for (const { name: network } of (await nullIfAbsent(files.list(boot))) ?? []) {
    const paths = networkPaths(boot, network);
    for (const { name: address } of (await nullIfAbsent(files.list(paths.leases))) ?? []) {
      const lease = await readLease(files, paths, { network, address });
      if (lease) leases.push(lease);
    }
  }
  const sortKey = (lease: Lease) => `${lease.network} ${lease.address}`;
  return leases.sort((left, right) => (sortKey(left) < sortKey(right) ? -1 : 1));
}

/** One lease; undefined where the address is free. */
export async function readLease(
  files: Files,
  paths: NetworkPaths,
  { network, address }: Pick<Lease, "network" | "address">,
): Promise<Lease | undefined> {
  const content = await nullIfAbsent(files.read(paths.lease(address)));
  const entry = content && decodeEntry(content);
  if (!entry) return undefined;
  const { value, state } = entry;
  const pod = (value.pod ?? {}) as Record<string, unknown>;
  return {
    network,
    address,
    containerId: textField(value, "containerId"),
    ifname: textField(value, "ifname"),
    pod: {
      namespace: textField(pod, "namespace"),
      name: textField(pod, "name"),
      uid: textField(pod, "uid"),
    },
    state,
    createdAtMs: typeof value.createdAtMs === "number" ? value.createdAtMs : 0,
  };
}
