/** Claims the record of an attachment for ADD, and clears away an attachment: what ADD finds of a dead one, and DEL. */
import { TrivetError } from "../errors.ts";
import { clearHostPorts } from "./datapath/clear-ports.ts";
import { deleteHostLink } from "./datapath/host-link.ts";
import { hostLinkName, linkMac } from "./datapath/names.ts";
import type { CniDeps, CniStep } from "./deps.ts";
import { release } from "./ipam/allocate.ts";
import {
  type Attachment,
  type AttachmentRecord,
  claimAttachment,
  type RecordedIpam,
  readAttachment,
  removeAttachment,
} from "./state/attachments.ts";
import { clearStaging, type Staging } from "./state/claim.ts";
import type { AttachmentKey, NetworkPaths } from "./state/paths.ts";
import { timed } from "./timed.ts";

type Found = AttachmentRecord | "unreadable" | undefined;

/** Throws kind `conflict` if the attachment exists, and touches nothing of it; a dead one is cleared away first. */
export async function claimRecord(deps: CniDeps, staging: Staging, attachment: Attachment): Promise<void> {
  if (await claimAttachment(staging, attachment)) return;
  const found = await readAttachment(deps.files, staging.paths, attachment);
  if (await isAlive(deps, attachment, found)) throw duplicate(attachment, found);
  await clearAttachment(deps, staging.paths, { key: attachment });
  if (await claimAttachment(staging, attachment)) return;
  throw duplicate(attachment, found);
}

/** A link or the namespace of the earlier ADD is still there. */
async function isAlive({ netlink, netns }: CniDeps, key: AttachmentKey, found: Found): Promise<boolean> {
  const host = netlink.connect();
  try {
    if (await host.link(hostLinkName(key))) return true;
  } finally {
    host.close();
  }
  if (found === undefined || found === "unreadable") return false;
  const handle = netns.open(found.netns);
  handle?.close();
  return handle?.inode.toString() === found.netnsInode;
}

function duplicate({ network, containerId, ifname }: Attachment, found: Found): TrivetError {
  const detail =
    found === undefined || found === "unreadable"
      ? "another call is working on it"
      : `${found.state}, in ${found.netns}, since ${new Date(found.createdAtMs).toISOString()}` +
        (found.addresses.length > 0 ? `, with ${found.addresses.join(" and ")}` : "");
  return new TrivetError({
    kind: "conflict",
    op: "attachment.claim",
    subject: containerId,
    message: `container ${containerId} already has ${ifname} in network ${network} (${detail}): DEL it first`,
  });
}

interface Clearing {
  readonly key: AttachmentKey;
  /** Who leases where no record says it. */
  readonly fallback?: RecordedIpam | undefined;
}

/**
 * Removes link, leases, staged files and record of an attachment, the record last. Gives the addresses that it freed. Needs
 * neither namespace nor configuration, and nothing happens where there is nothing.
 */
export async function clearAttachment(
  deps: CniDeps,
  paths: NetworkPaths,
  { key, fallback }: Clearing,
): Promise<string[]> {
  const found = await readAttachment(deps.files, paths, key);
  const freed = await clearParts(deps, { paths, key, found, fallback });
  if (found === undefined) return freed;
  await timed(deps, { command: "DEL", step: "record" }, () =>
    removeAttachment(deps.files, paths.attachment(key)),
  );
  return freed;
}

interface Parts extends Clearing {
  readonly paths: NetworkPaths;
  readonly found: Found;
}

/** All that the record leads to, but not the record. Takes no guard of the record: its caller may hold it. */
export async function clearParts(deps: CniDeps, { paths, key, found, fallback }: Parts): Promise<string[]> {
  const during = <T>(step: CniStep, work: () => Promise<T>) => timed(deps, { command: "DEL", step }, work);
  await during("rules", () => clearHostPorts(deps, { paths, key, found }));
  // An address is free only once no route leads to the old pod any more.
  await during("link", () => deleteHostLink(deps.netlink, hostEndOf(key, found)));
  const freed = await during("addresses", () => release({ deps, paths, key, found, fallback }));
  await clearStaging(deps.files, paths, paths.stagingPrefix(key));
  return freed;
}

/** From the record, should a later release name links otherwise; without one, by the rule. */
function hostEndOf(key: AttachmentKey, found: Found): Pick<Attachment, "hostLink" | "hostMac"> {
  if (found !== undefined && found !== "unreadable") return found;
  return { hostLink: hostLinkName(key), hostMac: linkMac("host", key) };
}
