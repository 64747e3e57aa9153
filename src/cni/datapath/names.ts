/** Names and MACs of a veth pair, from the attachment alone: so a DEL that has nothing but its arguments finds the link. */
import { createHash } from "node:crypto";
import type { AttachmentKey } from "../state/paths.ts";

/** The host in the eyes of every pod: link-local, so it can collide with no pod network (RFC 3927). */
export const podGateway = "169.254.1.1";

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
  const [first = 0, ...rest] = digest(end, key).subarray(0, 6);
  const bytes = [(first & 0xfc) | 0x02, ...rest];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
