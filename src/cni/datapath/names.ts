/** Names and MACs of a veth pair, from the attachment alone: so a DEL that has nothing but its arguments finds the link. */
import { createHash } from "node:crypto";
import type { AttachmentKey } from "../state/paths.ts";

/** The host in the eyes of every routed pod: link-local, so it can collide with no pod network (RFC 3927, RFC 4291). */
export const podGateways: Readonly<Record<4 | 6, string>> = { 4: "169.254.1.1", 6: "fe80::1" };

/** 2 + 13 is what an interface name can hold; 52 bits are enough for the pods of one node. */
const HASH_CHARACTERS = 13;

function digest(purpose: string, { network, containerId, ifname }: AttachmentKey): Buffer {
  return createHash("sha256").update([purpose, network, containerId, ifname].join("\0")).digest();
}

/** The name of the host's end, such as `tv3683e1bf966c1`. Later releases must keep finding links of this name. */
export function hostLinkName(key: AttachmentKey): string {
  return `tv${digest("link", key).toString("hex").slice(0, HASH_CHARACTERS)}`;
}

/** Locally administered and unicast. Given at creation: a MAC that is set later, udev may replace first. */
export function linkMac(end: "host" | "pod", key: AttachmentKey): string {
  return macOf(digest(end, key));
}

/**
 * Of a pod on a bridge: from its address, so that whoever gets the address next has the same one. What others have learned of
 * the address stays right, and nobody needs to be told.
 */
export function addressMac(network: string, address: string): string {
  return macOf(createHash("sha256").update(["address", network, address].join("\0")).digest());
}

/** Of a bridge: its own, not that of one of its ports, and another one on every node. */
export function bridgeMac(name: string, bootId: string): string {
  return macOf(createHash("sha256").update(["bridge", bootId, name].join("\0")).digest());
}

function macOf(bytes: Buffer): string {
  const [first = 0, ...rest] = bytes.subarray(0, 6);
  return [(first & 0xfc) | 0x02, ...rest].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
