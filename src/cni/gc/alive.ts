/**
 * Whether a pod still uses an attachment, by the kernel alone: its namespace is where it was, or its link is still there. The state
 * of a pod in Kubernetes says nothing: a pod that has ended there may still run here.
 */
import { hostLinkName, linkMac } from "../datapath/names.ts";
import type { CniDeps } from "../deps.ts";
import type { AttachmentRecord } from "../state/attachments.ts";
import type { AttachmentKey } from "../state/paths.ts";

type Kernel = Pick<CniDeps, "netns" | "netlink">;

/** An ADD ends within its limit and a grace; one that is older than this was killed. */
const PENDING_MS = 120_000;

/** Why it is dead, as the end of a sentence; undefined if it lives or may live. */
export async function whyDead(
  kernel: Kernel,
  record: AttachmentRecord,
  nowMs: number,
): Promise<string | undefined> {
  if (record.state === "pending") {
    // A clock that was set back makes old records young: so the distance counts, in either direction.
    const ageMs = Math.abs(nowMs - record.createdAtMs);
    if (ageMs < PENDING_MS) return undefined;
    return "its ADD was never finished";
  }
  if (isNamespaceThere(kernel, record)) return undefined;
  if (await hasLink(kernel, record)) return undefined;
  if (record.mode === "ipam") return `its namespace ${record.netns} is gone`;
  return `its namespace ${record.netns} and its link ${record.hostLink} are gone`;
}

function isNamespaceThere({ netns }: Kernel, { netns: path, netnsInode }: AttachmentRecord): boolean {
  const handle = netns.open(path);
  handle?.close();
  return handle?.inode.toString() === netnsInode;
}

/** Whether the host has the link of this attachment. For a record that cannot be read, by the rule of names. */
export async function hasLink(
  { netlink }: Kernel,
  key: AttachmentKey & Partial<Pick<AttachmentRecord, "hostLink" | "hostMac">>,
): Promise<boolean> {
  const host = netlink.connect();
  try {
    const link = await host.link(key.hostLink ?? hostLinkName(key));
    return link !== undefined && link.mac === (key.hostMac ?? linkMac("host", key));
  } finally {
    host.close();
  }
}
