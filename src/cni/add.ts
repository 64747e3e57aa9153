/**
 * ADD (SPEC.md): record, leases, link, commit, in this order. Each step's undo is registered first; whatever goes wrong, what
 * this call made is taken back and nothing else is touched. A call that is killed leaves a record for DEL to work from.
 */
import { join } from "node:path";
import { isKind, TrivetError } from "../errors.ts";
import type { NetnsHandle } from "../host/netns.ts";
import type { HostPort } from "../host/nft.ts";
import type { CallContext } from "./context.ts";
import { type AttachedLink, attachLink } from "./datapath/attach.ts";
import { flowsBefore, forgetFlows } from "./datapath/flows.ts";
import { ensureForwarding } from "./datapath/forwarding.ts";
import { checkHostPorts, needsLoopback, planHostPorts } from "./datapath/host-ports.ts";
import { addressMac, hostLinkName, linkMac } from "./datapath/names.ts";
import { describeRoute, type EffectiveRoute, effectiveAddresses, effectiveRoutes } from "./datapath/plan.ts";
import { removeHostPorts } from "./datapath/remove-ports.ts";
import type { CniDeps, CniStep } from "./deps.ts";
import { formatNetwork, type IpNetwork } from "./ipam/address.ts";
import { type AllocatedAddress, type Allocation, allocate, confirm } from "./ipam/allocate.ts";
import { recordedIpam } from "./ipam/foreign.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import type { NetworkConfig } from "./protocol/netconf.ts";
import { type Attached, encodeResult } from "./protocol/result.ts";
import { claimRecord } from "./record.ts";
import { type Attachment, commitAttachment, unclaimAttachment } from "./state/attachments.ts";
import type { Staging } from "./state/claim.ts";
import { makeNetworkDirectories, networkPaths } from "./state/paths.ts";
import { timed } from "./timed.ts";
import { createUndo, type Undo } from "./undo.ts";

/** What a successful ADD gives its caller. */
export interface AddOutcome {
  /** For stdout. */
  readonly stdout: string;
  readonly addresses: readonly string[];
}

/**
 * Attaches one interface. Throws kinds `environment` (no such namespace), `conflict` (it exists already),
 * `exhausted` (no address free), `deadline`, and whatever the kernel refused.
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
    throw await undo.unwind(error);
  } finally {
    netns.close();
  }
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
  const during = <T>(step: CniStep, work: () => Promise<T>) => timed(deps, { command: "ADD", step }, work);
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
  await during("record", () => claimRecord(deps, staging, pending));
  const allocation = await during("addresses", () =>
    allocate({ context, staging, config, attachment: pending, undo }),
  );
  const plan = planAttachment(config, pending, allocation);
  // Only now: an ADD that has no room or no address must not have touched the kernel.
  await during("rules", () => prepareHost({ context, call, config, netns, undo }, plan));
  const { attachment, ports } = plan;
  const link = await during("link", () =>
    attachLink({
      ...{ deps, netns, attachment, undo, signal, mtu: config.mtu, link: config.link },
      ...{ addresses: plan.addresses, routes: plan.routes, loopback: needsLoopback(ports) },
    }),
  );
  const kept = await during("flows", () => forgetFlows(deps, flowsBefore(ports)));
  if (kept) log.warn("connections to host ports may go where they went before", { error: kept.message });
  // The result is made before the commit: a prevResult that cannot be extended must not leave a committed attachment.
  const { cniVersion, prevResult } = config;
  const dns = config.dns ?? allocation.dns;
  const stdout = encodeResult({ cniVersion, attached: describe(plan, link), dns, prevResult });
  await during("commit", () => commit(staging, attachment));
  return { stdout, addresses: attachment.addresses };
}

/** What the attachment is to be, once its addresses are known. */
interface AttachmentPlan {
  readonly attachment: Attachment;
  readonly addresses: readonly AllocatedAddress[];
  readonly routes: readonly EffectiveRoute[];
  readonly ports: readonly HostPort[];
  /** To be masqueraded. */
  readonly networks: readonly IpNetwork[];
}

function planAttachment(config: NetworkConfig, pending: Attachment, allocation: Allocation): AttachmentPlan {
  const addresses = effectiveAddresses(config.link.mode, allocation.addresses);
  const routes = effectiveRoutes(allocation.routes, addresses);
  const texts = addresses.map(({ address }) => address);
  const ports = planHostPorts(config.portMappings, texts);
  checkHostPorts(config.portMappings, ports);
  const networks = config.ipMasq ? allocation.subnets : [];
  const onBridge = config.link.mode === "bridge" && config.mac === undefined;
  const attachment = {
    ...pending,
    podMac: onBridge ? addressMac(config.name, texts[0] ?? "") : pending.podMac,
    addresses: texts,
    routes: routes.map(describeRoute),
    ...(networks.length > 0 && { masquerade: networks.map(formatNetwork) }),
  };
  return { attachment, addresses, routes, ports, networks };
}

/** What pods share: forwarding and rules. Rules come before the link, since they may say that a port is taken. */
async function prepareHost({ context, config, undo }: Attaching, plan: AttachmentPlan): Promise<void> {
  const { deps, log, rules, signal } = context;
  const { attachment, addresses, ports, networks } = plan;
  const families = addresses.map(({ family }) => family);
  await ensureForwarding(deps, families, log);
  signal.throwIfAborted();
  if (ports.length > 0) undo.register(() => removeHostPorts(deps.nft, ports));
  const bridge = config.link.mode === "bridge" ? config.link.bridge : undefined;
  await rules.ensure({ key: attachment, stateDir: config.stateDir, networks, ports, bridge });
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
    ...(config.mtu === undefined && { followsMtu: true }),
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

function describe(
  { attachment, addresses, routes }: AttachmentPlan,
  { mtu, bridge }: AttachedLink,
): Attached {
  const { hostLink, hostMac, podMac, ifname, netns } = attachment;
  return {
    ...(bridge && { bridge: { name: bridge.name, mac: bridge.mac } }),
    hostLink: { name: hostLink, mac: hostMac, mtu },
    podLink: { name: ifname, mac: podMac, mtu, netns },
    addresses,
    routes: routes.map(describeRoute),
  };
}
