/**
 * Trivet as the IPAM plugin of another plugin (`ipam.type` is trivet, `type` is not): leases and records only, no link. DEL, GC and
 * STATUS are those of the whole plugin, since they go by the record and by the ranges.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { AddOutcome } from "./add.ts";
import type { CallContext } from "./context.ts";
import { hostLinkName, linkMac } from "./datapath/names.ts";
import { formatAddress } from "./ipam/address.ts";
import { allocate, confirm, verify } from "./ipam/allocate.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import type { IpamRoleConfig } from "./protocol/netconf.ts";
import { encodeIpamResult } from "./protocol/result.ts";
import { claimRecord } from "./record.ts";
import { type Attachment, commitAttachment, readAttachment, unclaimAttachment } from "./state/attachments.ts";
import { makeNetworkDirectories, networkPaths } from "./state/paths.ts";
import { createUndo } from "./undo.ts";

/** Leases addresses for an interface that another plugin makes. All or none, as with our own links. */
export async function addAsIpam(
  context: CallContext,
  call: AttachmentCall,
  config: IpamRoleConfig,
): Promise<AddOutcome> {
  const { deps, signal } = context;
  const undo = createUndo();
  const pending = describe(context, call, config);
  const paths = networkPaths(join(config.stateDir, deps.bootId), config.name);
  const prefix = paths.stagingPrefix(pending);
  const staging = { files: deps.files, paths, prefix, nonce: pending.claim };
  try {
    await makeNetworkDirectories(deps.files, paths);
    signal.throwIfAborted();
    undo.register(async () => {
      await unclaimAttachment(staging, pending);
    });
    await claimRecord(deps, staging, pending);
    const { addresses, routes, dns } = await allocate({
      context,
      staging,
      config,
      attachment: pending,
      undo,
    });
    signal.throwIfAborted();
    const attachment = { ...pending, addresses: addresses.map(({ address }) => address) };
    const lost = (await confirm(staging, attachment)) !== undefined;
    if (lost || !(await commitAttachment(staging, attachment))) throw takenAway(call);
    const stdout = encodeIpamResult({
      cniVersion: config.cniVersion,
      addresses,
      routes: routes.map(({ destination, gateway }) => ({
        dst: `${formatAddress(destination.base)}/${destination.prefixLength}`,
        ...(gateway ? { gw: gateway } : {}),
      })),
      dns: config.dns ?? dns,
    });
    return { stdout, addresses: attachment.addresses };
  } catch (error) {
    throw await undo.unwind(error);
  }
}

/** The link's name and MAC are by the rule, though there is no such link: so all that reads records can go on. */
function describe(
  { deps }: CallContext,
  { containerId, ifname, netns, pod }: AttachmentCall,
  { name: network }: IpamRoleConfig,
): Attachment {
  const key = { network, containerId, ifname };
  const handle = deps.netns.open(netns);
  handle?.close();
  if (!handle) {
    const message = `CNI_NETNS is ${netns}, where there is no network namespace`;
    throw new TrivetError({ kind: "environment", op: "netns.open", subject: netns, message });
  }
  return {
    ...{ ...key, netns, pod, addresses: [], mode: "ipam" },
    hostLink: hostLinkName(key),
    hostMac: linkMac("host", key),
    podMac: linkMac("pod", key),
    netnsInode: handle.inode.toString(),
    createdAtMs: deps.clock.nowMs(),
    claim: deps.nonce(),
  };
}

function takenAway({ containerId, ifname }: AttachmentCall): TrivetError {
  return new TrivetError({
    kind: "precondition",
    op: "attachment.commit",
    subject: containerId,
    message: `the lease for ${ifname} of ${containerId} was removed while ADD was running: did a DEL come?`,
  });
}

/** The leases of the attachment are there. Gives its addresses. */
export async function checkAsIpam(
  context: CallContext,
  call: AttachmentCall,
  config: IpamRoleConfig,
): Promise<readonly string[]> {
  const paths = networkPaths(join(config.stateDir, context.deps.bootId), config.name);
  const record = await readAttachment(context.deps.files, paths, call);
  const unknown = record === undefined || record === "unreadable";
  const problems = unknown
    ? [`network ${config.name} has no lease for ${call.ifname} of this container`]
    : await verify({ context, paths, record });
  if (!unknown && problems.length === 0) return record.addresses;
  throw new TrivetError({
    kind: unknown ? "not-found" : "precondition",
    op: "lease.check",
    subject: call.containerId,
    message: `check of container ${call.containerId}: ${problems.join("; ")}`,
  });
}
