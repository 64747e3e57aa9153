/**
 * One look at the state of a network: leases first, then records, then whether their pods live. In this order a pod that comes
 * or goes meanwhile looks alive at worst. Changes nothing.
 */
import { join } from "node:path";
import type { Files } from "../../host/files.ts";
import type { CniDeps } from "../deps.ts";
import { parseAddress } from "../ipam/address.ts";
import { decodeLease, type Lease } from "../ipam/leases.ts";
import type { ContainerInterface } from "../protocol/environment.ts";
import { type AttachmentRecord, decodeAttachment } from "../state/attachments.ts";
import { nullIfAbsent } from "../state/guard.ts";
import { type AttachmentKey, type NetworkPaths, networkPaths } from "../state/paths.ts";
import { hasLink, whyDead } from "./alive.ts";
import type { Finding } from "./finding.ts";
import type { LiveSandboxes } from "./live-sandboxes.ts";

/** What a look needs of the world. */
export type ObserveDeps = Pick<CniDeps, "files" | "netns" | "netlink" | "clock" | "bootId">;

interface ObserveOptions {
  readonly stateDir: string;
  /** Undefined where no CRI socket is configured. */
  readonly sandboxes?: LiveSandboxes | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is wrong in one network. Rejects if the runtime does not answer: without it nothing is known for certain. */
export async function observeNetwork(
  deps: ObserveDeps,
  network: string,
  { stateDir, sandboxes, signal }: ObserveOptions,
): Promise<Finding[]> {
  const paths = networkPaths(join(stateDir, deps.bootId), network);
  const staged = await names(deps.files, paths.staging);
  const leases = await readLeases(deps.files, paths, network);
  const records = await readRecords(deps.files, paths, network);
  const judged = await judgeRecords(deps, records);
  const dead = new Set(judged.flatMap((one) => (one.kind === "dead attachment" ? [one.subject] : [])));
  const missing = missingLeases(leases, records);
  const findings = [
    ...judged,
    ...judgeLeases(network, leases, records, paths),
    ...missing.filter((one) => one.kind !== "missing lease" || !dead.has(attachmentText(one.record))),
    ...staged.map((name) => describeStaged(network, name)),
  ];
  // Asked last, and only where there is somebody to speak for.
  const suspect = findings.some(({ kind }) => kind === "dead attachment");
  if (!sandboxes || !suspect) return findings;
  const ready = await sandboxes.list(signal);
  return findings.filter((one) => one.kind !== "dead attachment" || !ready.has(one.record.containerId));
}

interface Against {
  readonly paths: NetworkPaths;
  readonly network: string;
  /** The attachments that the runtime has. */
  readonly valid: readonly ContainerInterface[];
  /** What was made later is not in the runtime's list yet. */
  readonly beforeMs: number;
}

/** For GC: all that belongs to no valid attachment, whether its pod looks alive or not. */
export async function observeAgainst(
  { files, clock }: Pick<CniDeps, "files" | "clock">,
  { paths, network, valid, beforeMs }: Against,
): Promise<Finding[]> {
  const staged = await names(files, paths.staging);
  const leases = await readLeases(files, paths, network);
  const records = await readRecords(files, paths, network);
  const kept = new Set(valid.map((key) => paths.attachmentName(key)));
  const prefixes = new Set(valid.map((key) => paths.stagingPrefix(key)));
  const ofValid = (name: string) => prefixes.has(name.replace(/[^:]*$/, ""));
  const invalid = records.filter(({ name }) => !kept.has(name));
  const missing = missingLeases(leases, records).filter(
    (one) => one.kind === "missing lease" && kept.has(paths.attachmentName(one.record)),
  );
  const nowMs = clock.nowMs();
  // Only a clock that was set back since makes it later than now.
  const made = ({ createdAtMs = 0 }: Finding) => createdAtMs <= beforeMs || createdAtMs > nowMs;
  return [
    ...invalid.flatMap((one) => condemn(network, one)),
    ...judgeLeases(network, leases, records, paths),
    ...missing,
    ...staged.filter((name) => !ofValid(name)).map((name) => describeStaged(network, name)),
  ].filter(made);
}

function condemn(network: string, { name, content, record, key }: ReadRecord): Finding[] {
  const reason = "the runtime does not have it among its valid attachments";
  if (record) return [{ kind: "dead attachment", ...about(record, reason), record, content }];
  const facts = { network, subject: name, pod: "", reason, createdAtMs: undefined };
  return key ? [{ kind: "unreadable record", ...facts, key, content }] : [];
}

async function names(files: Files, directory: string): Promise<string[]> {
  return ((await nullIfAbsent(files.list(directory))) ?? []).map(({ name }) => name);
}

interface ReadLease {
  readonly address: string;
  readonly content: Buffer;
  readonly lease: Lease | undefined;
}

async function readLeases(files: Files, paths: NetworkPaths, network: string): Promise<ReadLease[]> {
  const leases: ReadLease[] = [];
  for (const address of await names(files, paths.leases)) {
    const content = await nullIfAbsent(files.read(paths.lease(address)));
    if (!content) continue;
    const decoded = decodeLease(content, { network, address });
    leases.push({ address, content, lease: decoded?.containerId ? decoded : undefined });
  }
  return leases;
}

interface ReadRecord {
  readonly name: string;
  readonly content: Buffer;
  readonly record: AttachmentRecord | undefined;
  /** From the name; undefined where that holds only a digest and the record cannot be read. */
  readonly key: AttachmentKey | undefined;
}

async function readRecords(files: Files, paths: NetworkPaths, network: string): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  for (const name of await names(files, paths.attachments)) {
    const content = await nullIfAbsent(files.read(join(paths.attachments, name)));
    if (content) records.push(readRecord({ name, content, network, paths }));
  }
  return records;
}

function readRecord(file: {
  name: string;
  content: Buffer;
  network: string;
  paths: NetworkPaths;
}): ReadRecord {
  const { name, content, network, paths } = file;
  const split = name.lastIndexOf(":");
  const key = { network, containerId: name.slice(0, split), ifname: name.slice(split + 1) };
  const hashed = name.startsWith("sha256:");
  const claimed = hashed ? keyInside(content, network) : key;
  const record = claimed && decodeAttachment(content, claimed);
  const good = record !== "unreadable" && claimed && paths.attachmentName(claimed) === name;
  return { name, content, record: good ? record : undefined, key: hashed ? undefined : key };
}

/** The key of a record whose name is a digest: from its content, if that is readable. */
function keyInside(content: Buffer, network: string): AttachmentKey | undefined {
  const lease = decodeLease(content, { network, address: "" });
  return lease && { network, containerId: lease.containerId, ifname: lease.ifname };
}

async function judgeRecords(deps: ObserveDeps, records: readonly ReadRecord[]): Promise<Finding[]> {
  const nowMs = deps.clock.nowMs();
  const findings: Finding[] = [];
  for (const { name, content, record, key } of records) {
    if (record) {
      const why = await whyDead(deps, record, nowMs);
      if (why) findings.push({ kind: "dead attachment", ...about(record, why), record, content });
    } else if (key && !(await hasLink(deps, key))) {
      const reason = "its record cannot be read, and it has no link";
      const facts = { network: key.network, subject: name, pod: "", reason, createdAtMs: undefined };
      findings.push({ kind: "unreadable record", ...facts, key, content });
    }
  }
  return findings;
}

function about(record: AttachmentRecord, reason: string) {
  const { network, pod, createdAtMs } = record;
  return { network, subject: attachmentText(record), pod: podName(pod), reason, createdAtMs };
}

const attachmentText = ({ containerId, ifname }: AttachmentRecord) => `${containerId} ${ifname}`;

const podName = ({ namespace, name }: AttachmentRecord["pod"]) => (name ? `${namespace}/${name}` : "");

function judgeLeases(
  network: string,
  leases: readonly ReadLease[],
  records: readonly ReadRecord[],
  paths: NetworkPaths,
): Finding[] {
  const byName = new Map(records.map((record) => [record.name, record]));
  const used = new Set(records.flatMap(({ record }) => record?.addresses ?? []));
  return leases.flatMap(({ address, content, lease }): Finding[] => {
    if (parseAddress(address) === undefined) return [];
    if (!lease) {
      if (used.has(address)) return []; // a missing lease, and repaired as such
      const reason = "its lease cannot be read, and no record names the address";
      const facts = { network, subject: address, pod: "", reason, createdAtMs: undefined };
      return [{ kind: "unreadable lease", ...facts, address, content }];
    }
    const owner = byName.get(paths.attachmentName(lease));
    const unsure = owner && (!owner.record || owner.record.state === "pending");
    if (unsure || owner?.record?.addresses.includes(address)) return [];
    const reason = owner
      ? "the record of its attachment names other addresses"
      : `container ${lease.containerId.slice(0, 13)} has no ${lease.ifname} in this network`;
    const facts = { network, subject: address, pod: podName(lease.pod), createdAtMs: lease.createdAtMs };
    return [{ kind: "lease without record", ...facts, reason, address, content }];
  });
}

/** Of committed attachments whose addresses we lease. */
function missingLeases(leases: readonly ReadLease[], records: readonly ReadRecord[]): Finding[] {
  const readable = new Set(leases.flatMap(({ address, lease }) => (lease ? [address] : [])));
  return records.flatMap(({ record }): Finding[] => {
    if (record?.state !== "committed" || record.ipam) return [];
    const missing = record.addresses.filter((address) => !readable.has(address));
    return missing.map((address) => {
      const facts = about(record, "its pod has the address, but there is no readable lease of it");
      return { kind: "missing lease", ...facts, subject: address, address, record };
    });
  });
}

function describeStaged(network: string, name: string): Finding {
  const reason = "a call that was killed left it";
  return { kind: "staged file", network, subject: name, pod: "", reason, createdAtMs: undefined, name };
}
