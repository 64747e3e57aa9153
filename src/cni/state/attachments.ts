/**
 * One record per attachment. ADD claims it before anything else and completes it at its end; DEL removes it last. So
 * whatever an ADD made, there is a record that leads to it, and a DEL that finds none has nothing to look for.
 */
import type { Files } from "../../host/files.ts";
import { parseAddress, parseCidr } from "../ipam/address.ts";
import type { ContainerInterface, PodIdentity } from "../protocol/environment.ts";
import type { LinkMode } from "../protocol/link-mode.ts";
import { isPort, type PortMapping, portProtocols } from "../protocol/port-mapping.ts";
import { isObject, type JsonObject } from "../protocol/problems.ts";
import { type Staging, withStaged } from "./claim.ts";
import { decodeEntry, type EntryState, encodeEntry, textField } from "./entry.ts";
import { nullIfAbsent, unlinkGuarded, withGuard } from "./guard.ts";
import type { AttachmentKey, NetworkPaths } from "./paths.ts";

/** A route of the pod; `gw` is missing where the destination is on the link. */
export interface RecordedRoute {
  readonly dst: string;
  readonly gw?: string | undefined;
}

/** What the DEL of another IPAM plugin needs: its type, and what its ADD was run with. */
export interface RecordedIpam {
  readonly type: string;
  readonly conf: JsonObject;
  /** CNI_PATH and CNI_ARGS. */
  readonly path: string;
  readonly args: string;
}

/** What is known of an attachment: enough for DEL to work from nothing else. */
export interface Attachment extends AttachmentKey {
  readonly hostLink: string;
  readonly hostMac: string;
  readonly podMac: string;
  readonly netns: string;
  /** In decimal. With the path it tells whether that namespace still is the one. */
  readonly netnsInode: string;
  readonly pod: PodIdentity;
  /** Empty until the record is committed. */
  readonly addresses: readonly string[];
  /** Milliseconds since the epoch. */
  readonly createdAtMs: number;
  /** How the link is connected; `ipam`: its plugin makes the link and we lease only. Absent in records of earlier releases. */
  readonly mode?: LinkMode["mode"] | "ipam" | undefined;
  /** No MTU was configured: the link has that of the underlay, and follows it. */
  readonly followsMtu?: boolean | undefined;
  /** The bridge, in that mode. */
  readonly bridge?: string | undefined;
  /** Networks that are masqueraded for this pod, as CIDRs: so that lost rules can be made again from records alone. */
  readonly masquerade?: readonly string[] | undefined;
  /** Host ports, so that DEL finds their map elements without a configuration. */
  readonly ports?: readonly PortMapping[] | undefined;
  /** The routes that the pod got, so that CHECK knows them when another IPAM plugin gave them. */
  readonly routes?: readonly RecordedRoute[] | undefined;
  /** The IPAM plugin that leased the addresses, where it was not ours. */
  readonly ipam?: RecordedIpam | undefined;
  /** Tells the record of one ADD from that of another for the same attachment. */
  readonly claim: string;
}

/** An attachment as it was read, with its state. */
export interface AttachmentRecord extends Attachment {
  readonly state: EntryState;
}

/** The record, undefined where there is none, `unreadable` where its content is not that of this attachment. */
export async function readAttachment(
  files: Files,
  paths: NetworkPaths,
  key: ContainerInterface,
): Promise<AttachmentRecord | "unreadable" | undefined> {
  const bytes = await nullIfAbsent(files.read(paths.attachment(key)));
  return bytes && decodeAttachment(bytes, key);
}

/** The content of a record's file. */
export function decodeAttachment(bytes: Buffer, key: ContainerInterface): AttachmentRecord | "unreadable" {
  const found = parseAttachment(bytes);
  const isOfKey = found?.containerId === key.containerId && found.ifname === key.ifname;
  return isOfKey ? found : "unreadable";
}

const modes = ["routed", "bridge", "ipam"] as const;
const linkName = /^[^/:\s]{1,15}$/;

function parseAttachment(bytes: Buffer): AttachmentRecord | undefined {
  const entry = decodeEntry(bytes);
  if (!entry) return undefined;
  const { state, value } = entry;
  const text = (key: string) => textField(value, key);
  const pod = (value.pod ?? {}) as Record<string, unknown>;
  // DEL goes by these: a link or a lease of a name that cannot be would keep it from ever succeeding.
  const addresses = Array.isArray(value.addresses) ? value.addresses : [undefined];
  if (!addresses.every(isAddress) || !linkName.test(text("hostLink"))) return undefined;
  return {
    state,
    network: text("network"),
    containerId: text("containerId"),
    ifname: text("ifname"),
    hostLink: text("hostLink"),
    hostMac: text("hostMac"),
    podMac: text("podMac"),
    netns: text("netns"),
    netnsInode: text("netnsInode"),
    pod: {
      namespace: textField(pod, "namespace"),
      name: textField(pod, "name"),
      uid: textField(pod, "uid"),
    },
    addresses,
    createdAtMs: typeof value.createdAtMs === "number" ? value.createdAtMs : 0,
    claim: text("claim"),
    mode: modes.find((mode) => mode === value.mode),
    followsMtu: value.followsMtu === true,
    bridge: text("bridge") || undefined,
    masquerade: Array.isArray(value.masquerade) ? value.masquerade.filter(isCidr) : undefined,
    ports: Array.isArray(value.ports) ? value.ports.flatMap(parsePort) : undefined,
    routes: Array.isArray(value.routes) ? value.routes.flatMap(parseRoute) : undefined,
    ipam: parseRecordedIpam(value.ipam),
  };
}

/** Nothing for what cannot be a host port: an element of that kind was never made. */
function parsePort(value: unknown): PortMapping[] {
  if (!isObject(value)) return [];
  const { hostPort, containerPort, hostIp } = value;
  const protocol = portProtocols.find((name) => name === value.protocol);
  if (!isPort(hostPort) || !isPort(containerPort) || !protocol) return [];
  return [{ hostPort, containerPort, protocol, hostIp: isAddress(hostIp) ? hostIp : undefined }];
}

function parseRoute(value: unknown): RecordedRoute[] {
  if (!isObject(value) || typeof value.dst !== "string") return [];
  return [{ dst: value.dst, ...(typeof value.gw === "string" ? { gw: value.gw } : {}) }];
}

function parseRecordedIpam(value: unknown): RecordedIpam | undefined {
  if (!isObject(value) || typeof value.type !== "string" || !isObject(value.conf)) return undefined;
  return {
    type: value.type,
    conf: value.conf,
    path: textField(value, "path"),
    args: textField(value, "args"),
  };
}

function isCidr(value: unknown): value is string {
  return typeof value === "string" && parseCidr(value) !== undefined;
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && parseAddress(value) !== undefined;
}

/** Whether the attachment was free; its record is there now, pending. */
export function claimAttachment(staging: Staging, attachment: Attachment): Promise<boolean> {
  const path = staging.paths.attachment(attachment);
  return withStaged(staging, encodeEntry("pending", attachment), (staged) => staged.claim(path));
}

/** Completes the record. False if it is not there any more: a DEL came in between. */
export function commitAttachment(staging: Staging, attachment: Attachment): Promise<boolean> {
  const path = staging.paths.attachment(attachment);
  return withStaged(staging, encodeEntry("committed", attachment), (staged) =>
    withGuard(staging.files, { path, holds: isRecordOf(attachment), act: () => staged.replace(path) }),
  );
}

/** Takes back a claim of this call; the record of an earlier one stays. */
export function unclaimAttachment(staging: Staging, attachment: Attachment): Promise<boolean> {
  const path = staging.paths.attachment(attachment);
  return unlinkGuarded(staging.files, { path, holds: isRecordOf(attachment) });
}

function isRecordOf(attachment: Attachment): (content: Buffer) => boolean {
  return (content) => {
    const found = parseAttachment(content);
    return (
      found?.containerId === attachment.containerId &&
      found.ifname === attachment.ifname &&
      found.claim === attachment.claim
    );
  };
}

/** Removes the record, whatever its content: its name alone says whose it is. */
export function removeAttachment(files: Files, path: string): Promise<boolean> {
  return unlinkGuarded(files, { path, holds: () => true });
}
