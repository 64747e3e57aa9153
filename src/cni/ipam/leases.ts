/**
 * The lease store: one file per leased address, claimed by link(2) and released under a guard. Where to start looking
 * comes from a cursor, so that an address is not reused at once and a claim costs the same with 5 leases as with 5,000.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { TrivetError } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Files } from "../../host/files.ts";
import type { CniDeps } from "../deps.ts";
import type { PodIdentity } from "../protocol/environment.ts";
import { type PoolOptions, plainPool } from "../protocol/pool-options.ts";
import type { RequestedAddress } from "../protocol/runtime-config.ts";
import { type Staged, type Staging, withStaged } from "../state/claim.ts";
import { committedByte, decodeEntry, type EntryState, encodeEntry, textField } from "../state/entry.ts";
import { nullIfAbsent, withGuard } from "../state/guard.ts";
import { type AttachmentKey, type NetworkPaths, networkPaths } from "../state/paths.ts";
import { parseAddress } from "./address.ts";
import { type Choice, planChoice } from "./choice.ts";
import type { Cursors } from "./cursor.ts";
import { type Candidate, candidates, leasableCount, poolSize, type RangeSet } from "./pool.ts";
import { isResting, putToRest, readSticky, writeSticky } from "./released.ts";

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
export const BLIND_TRIES = 8;

interface ClaimOptions {
  readonly staging: Staging;
  readonly cursors: Cursors;
  readonly set: RangeSet;
  readonly setIndex: number;
  readonly owner: Omit<Lease, "address" | "state">;
  /** By default an address rests for no time, and nothing is kept back. */
  readonly options?: PoolOptions;
  readonly requested?: RequestedAddress | undefined;
  /** Called before each try, so that an undo knows of a claim whose answer was lost. */
  readonly trying: (address: string) => void;
  /** Called where more than four fifths of the set are leased, as far as that was noticed on the way. */
  readonly crowded?: (() => void) | undefined;
}

/** Leases an address of the set, as pending. Throws kind `exhausted` if all are taken, `conflict` for one that was asked for. */
export async function claimLease(claim: ClaimOptions): Promise<string> {
  const { staging, cursors, set, setIndex, owner, options = plainPool, requested } = claim;
  const { files, paths } = staging;
  const family = set[0]?.subnet.base.family ?? 4;
  const previous = options.sticky ? await readSticky(files, paths, { pod: owner.pod, family }) : undefined;
  const choice = planChoice({ set, pod: owner.pod, options, requested, previous });
  const { cooldownMs, sticky } = options;
  const kept = { ...owner, ...(cooldownMs > 0 ? { cooldownMs } : {}), ...(sticky ? { sticky } : {}) };
  return withStaged(staging, encodeEntry("pending", kept), async (staged) => {
    const first = await claimPreferred({ claim, choice, staged });
    if (first) return first.address;
    const cursor = paths.cursor(setIndex);
    const start = (await cursors.next(cursor)) % poolSize(set);
    const found = await claimFirstFree({ claim, choice, staged }, start);
    if (!found) throw exhausted(owner.network, set, choice);
    await cursors.leased(cursor, { start, place: found.place });
    return found.address;
  });
}

interface Claiming {
  readonly claim: ClaimOptions;
  readonly choice: Choice;
  readonly staged: Staged;
}

function tryClaim({ claim, staged }: Claiming, { address }: Candidate): Promise<boolean> {
  claim.trying(address);
  return staged.claim(claim.staging.paths.lease(address));
}

async function claimPreferred(claiming: Claiming): Promise<Candidate | undefined> {
  const { only, preferred, forbidden } = claiming.choice;
  for (const candidate of only ? [only] : preferred) {
    if (only && forbidden.has(only.address)) break;
    if (await tryClaim(claiming, candidate)) return candidate;
  }
  if (only) throw await taken(claiming, only.address);
  return undefined;
}

async function taken({ claim, choice }: Claiming, address: string): Promise<TrivetError> {
  const { staging, owner, requested } = claim;
  const { network } = owner;
  const lease = await readLease(staging.files, staging.paths, { network, address });
  const holder = lease?.pod.name ? `pod ${lease.pod.namespace}/${lease.pod.name}` : lease?.containerId;
  const why = choice.forbidden.has(address)
    ? "is reserved for other pods"
    : `is leased to ${holder ?? "another"}`;
  return new TrivetError({
    kind: "conflict",
    op: "lease.claim",
    subject: address,
    message: `${requested?.key ?? "the request"} asks for ${address}, which ${why} in network ${network}`,
  });
}

async function claimFirstFree(claiming: Claiming, start: bigint): Promise<Candidate | undefined> {
  const { claim, choice } = claiming;
  const { staging, set, owner, options = plainPool } = claim;
  const { files, paths } = staging;
  // The pod's own time: it was taken when this ADD began.
  const age = { nowMs: owner.createdAtMs, cooldownMs: options.cooldownMs };
  const rests = async ({ address }: Candidate) =>
    age.cooldownMs > 0 && (await isResting(files, { paths, address }, age));
  let tries = 0;
  for (const candidate of candidates(set, start)) {
    if (tries === BLIND_TRIES) break;
    if (choice.forbidden.has(candidate.address)) continue;
    tries += 1;
    if (await rests(candidate)) continue;
    if (await tryClaim(claiming, candidate)) return candidate;
  }
  // Callers that start at the same moment would go on in step, and meet at every name: spread them.
  const spread = (start + spreadOf(owner.containerId)) % poolSize(set);
  for (;;) {
    const taken = new Set((await files.list(paths.leases)).map(({ name }) => name));
    if (BigInt(taken.size) * 5n > leasableCount(set) * 4n) claim.crowded?.();
    const resting: Candidate[] = [];
    let anyFree = false;
    for (const candidate of candidates(set, spread)) {
      if (taken.has(candidate.address) || choice.forbidden.has(candidate.address)) continue;
      if (await rests(candidate)) {
        resting.push(candidate);
        continue;
      }
      anyFree = true;
      if (await tryClaim(claiming, candidate)) return candidate;
    }
    // Better an address that has not rested than a pod that does not start.
    for (const candidate of resting) if (await tryClaim(claiming, candidate)) return candidate;
    if (!anyFree) return undefined;
  }
}

function spreadOf(containerId: string): bigint {
  return createHash("sha256").update(containerId).digest().readBigUInt64BE();
}

function exhausted(network: string, set: RangeSet, { forbidden }: Choice): TrivetError {
  const all = leasableCount(set) - BigInt(forbidden.size);
  const kept = forbidden.size > 0 ? `, and ${forbidden.size} more are reserved for other pods` : "";
  return new TrivetError({
    kind: "exhausted",
    op: "lease.claim",
    subject: network,
    message: `network ${network} has no free address: all ${all} are leased${kept}; add a range, or delete pods`,
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

interface ReleaseOptions {
  readonly files: Files;
  readonly clock: Pick<Clock, "nowMs">;
  readonly paths: NetworkPaths;
  readonly address: string;
  /** Whether the lease is still the one that is to be released. */
  readonly holds: (content: Buffer) => boolean;
}

/** Frees the address if it is leased to this attachment. */
export function releaseLease(options: Omit<ReleaseOptions, "holds">, key: AttachmentKey): Promise<boolean> {
  return releaseIf({ ...options, holds: heldBy(key) });
}

/** Frees the address if its lease holds what the caller means. */
export async function releaseIf({ files, clock, paths, address, holds }: ReleaseOptions): Promise<boolean> {
  let value: Readonly<Record<string, unknown>> = {};
  const path = paths.lease(address);
  const released = await withGuard(files, {
    path,
    holds(content) {
      value = decodeEntry(content)?.value ?? {};
      return holds(content);
    },
    act: (file) =>
      value.cooldownMs
        ? putToRest(files, { paths, address, file, nowMs: clock.nowMs() })
        : files.unlink(path),
  });
  const family = parseAddress(address)?.family ?? 4;
  if (released && value.sticky) await writeSticky(files, paths, { pod: podOf(value), family, address });
  return released;
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
  return content && decodeLease(content, { network, address });
}

/** Undefined for bytes that are no lease. */
export function decodeLease(
  content: Buffer,
  { network, address }: Pick<Lease, "network" | "address">,
): Lease | undefined {
  const entry = decodeEntry(content);
  if (!entry) return undefined;
  const { value, state } = entry;
  return {
    network,
    address,
    containerId: textField(value, "containerId"),
    ifname: textField(value, "ifname"),
    pod: podOf(value),
    state,
    createdAtMs: typeof value.createdAtMs === "number" ? value.createdAtMs : 0,
  };
}

function podOf(value: Readonly<Record<string, unknown>>): PodIdentity {
  const pod = (value.pod ?? {}) as Record<string, unknown>;
  return {
    namespace: textField(pod, "namespace"),
    name: textField(pod, "name"),
    uid: textField(pod, "uid"),
  };
}
