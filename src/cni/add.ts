/**
 * ADD (SPEC.md): record, leases, link, commit, in this order. Each step's undo is registered first; whatever goes wrong, what
 * this call made is taken back and nothing else is touched. A call that is killed leaves a record for DEL to work from.
 */
import { join } from "node:path";
import { isKind, TrivetError } from "../errors.ts";
import type { NetnsHandle } from "../host/netns.ts";
import type { CallContext } from "./context.ts";
import { ensureForwarding } from "./datapath/forwarding.ts";
import { hostLinkName, linkMac, podGateway } from "./datapath/names.ts";
import { type EffectiveRoute, effectiveRoutes, HOST_PREFIX_LENGTH } from "./datapath/plan.ts";
import { attachRouted } from "./datapath/routed.ts";
import type { CniDeps } from "./deps.ts";
import { allocate, confirm } from "./ipam/allocate.ts";
import { recordedIpam } from "./ipam/foreign.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import type { NetworkConfig } from "./protocol/netconf.ts";
import { type Attached, encodeResult } from "./protocol/result.ts";
import { claimRecord } from "./record.ts";
import { type Attachment, commitAttachment, unclaimAttachment } from "./state/attachments.ts";
import type { Staging } from "./state/claim.ts";
import { makeNetworkDirectories, networkPaths } from "./state/paths.ts";
import { createUndo, type Undo } from "./undo.ts";

/** What a successful ADD gives its caller. */
export interface AddOutcome {
  /** For stdout. */
  readonly stdout: string;
  readonly addresses: readonly string[];
}

/**
 * Attaches one interface. Throws kinds `environment` (no such namespace), `conflict` (it exists already),
 * `exhausted` (no address free), `deadline`, and whatever the kernel refused; never `not-found`.
 */
export async function add(
  context: CallContext,
  call: AttachmentCall,
  config: NetworkConfig,
): Promise<AddOutcome> {
  const netns = openSandbox(context.deps, call);
  const undo = createUndo();
  try {
    return await attach({ context, call, config, netns, undo });
  } catch (error) {
    throw keepCleanupPromise(await undo.unwind(error));
  } finally {
    netns.close();
  }
}

/** Code 3 would tell the runtime that it need not clean up, which after an ADD is never ours to say. */
function keepCleanupPromise(error: unknown): unknown {
  if (!isKind(error, "not-found")) return error;
  const { op, subject, message } = error;
  return new TrivetError({ kind: "precondition", op, subject, message, cause: error });
}

function openSandbox({ netns }: CniDeps, call: AttachmentCall): NetnsHandle {
  const refuse = (why: string) =>
    new TrivetError({
      kind: "environment",
      op: "netns.open",
      subject: call.netns,
      message: `CNI_NETNS is ${call.netns}, ${why}`,
    });
  const handle = netns.open(call.netns);
  if (!handle) throw refuse("where there is no network namespace");
  if (!isNetworkNamespace(netns, handle)) {
    handle.close();
    throw refuse("which is a namespace of another kind");
  }
  if (handle.inode === netns.currentInode() && !call.netnsOverride) {
    handle.close();
    throw refuse("which is the host's own namespace: a pod on the host network needs no CNI plugin");
  }
  return handle;
}

/** A namespace file does not say what it is of: setns(2) refuses the wrong kind with EINVAL. */
function isNetworkNamespace(netns: CniDeps["netns"], handle: NetnsHandle): boolean {
  try {
    netns.within(handle, () => undefined);
    return true;
  } catch (error) {
    if (isKind(error, "invalid")) return false;
    handle.close();
    throw error;
  }
}

interface Attaching {
  readonly context: CallContext;
  readonly call: AttachmentCall;
  readonly config: NetworkConfig;
  readonly netns: NetnsHandle;
  readonly undo: Undo;
}

async function attach({ context, call, config, netns, undo }: Attaching): Promise<AddOutcome> {
  const { deps, signal, log } = context;
  const pending = newAttachment({ context, call, config, netns });
  const paths = networkPaths(join(config.stateDir, deps.bootId), config.name);
  const staging = {
    files: deps.files,
    paths,
    prefix: paths.stagingPrefix(pending),
    nonce: pending.claim,
  };
  await makeNetworkDirectories(deps.files, paths);
  signal.throwIfAborted();
  undo.register(async () => {
    await unclaimAttachment(staging, pending);
  });
  await claimRecord(deps, staging, pending);
  const allocation = await allocate({ context, staging, config, attachment: pending, undo });
  // Only now: an ADD that has no room or no address must not have touched the kernel.
  await ensureForwarding(deps, log);
  if (config.ipMasq) {
    await context.masquerade.ensure(allocation.subnets);
  }
  const addresses = allocation.addresses.map(({ address }) => address);
  const routes = effectiveRoutes(allocation.routes);
  const attachment = { ...pending, addresses, routes: routes.map(toRecordedRoute) };
  await attachRouted({ netlink: deps.netlink, netns, attachment, routes, mtu: config.mtu, undo, signal });
  // The result is made before the commit: a prevResult that cannot be extended must not leave a committed attachment.
  const { cniVersion, prevResult } = config;
  const dns = config.dns ?? allocation.dns;
  const stdout = encodeResult({ cniVersion, attached: describe(attachment, routes), dns, prevResult });
  await commit(staging, attachment);
  return { stdout, addresses };
}

function newAttachment({ context: { deps, request }, call, config, netns }: Omit<Attaching, "undo">) {
  const key = { network: config.name, containerId: call.containerId, ifname: call.ifname };
  return {
    ...key,
    hostLink: hostLinkName(key),
    hostMac: linkMac("host", key),
    podMac: config.mac ?? linkMac("pod", key),
    netns: call.netns,
    netnsInode: netns.inode.toString(),
    pod: call.pod,
    addresses: [],
    createdAtMs: deps.clock.nowMs(),
    mode: config.link.mode,
    ...(config.link.mode === "bridge" ? { bridge: config.link.bridge } : {}),
    ...(config.portMappings.length > 0 ? { ports: config.portMappings } : {}),
    ipam: recordedIpam(request),
    claim: deps.nonce(),
  } satisfies Attachment;
}

async function commit(staging: Staging, attachment: Attachment): Promise<void> {
  const lost = await confirm(staging, attachment);
  if (lost !== undefined) throw takenAway(attachment, `its lease of ${lost}`);
  if (!(await commitAttachment(staging, attachment))) throw takenAway(attachment, "its record");
}

function takenAway({ containerId, ifname, network }: Attachment, what: string): TrivetError {
  return new TrivetError({
    kind: "precondition",
    op: "attachment.commit",
    subject: containerId,
    message: `${what} was removed while ADD of ${ifname} of ${containerId} to ${network} was running: did a DEL come?`,
  });
}

function describe(attachment: Attachment, routes: readonly EffectiveRoute[]): Attached {
  const { hostLink, hostMac, podMac, ifname, netns, addresses } = attachment;
  return {
    hostLink: { name: hostLink, mac: hostMac },
    podLink: { name: ifname, mac: podMac, netns },
    addresses: addresses.map((address) => ({
      address,
      prefixLength: HOST_PREFIX_LENGTH,
      gateway: podGateway,
    })),
    routes: routes.map(toRecordedRoute),
  };
}

function toRecordedRoute({ destination, prefixLength, gateway }: EffectiveRoute) {
  return { dst: `${destination}/${prefixLength}`, gw: gateway };
}
