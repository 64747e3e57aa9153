/**
 * Takes over what host-local has leased to pods that live, so that no new pod is given their addresses: a record and leases as an
 * IPAM plugin of ours would have made them, which DEL and the sweep free as any others. May be repeated; changes nothing of host-local's.
 */
import { join } from "node:path";
import { hostLinkName, linkMac } from "../datapath/names.ts";
import type { CniDeps } from "../deps.ts";
import { readLease } from "../ipam/leases.ts";
import { defaultCacheDir } from "../libcni-cache.ts";
import {
  type Attachment,
  claimAttachment,
  commitAttachment,
  readAttachment,
  unclaimAttachment,
} from "../state/attachments.ts";
import { type Staging, withStaged } from "../state/claim.ts";
import { decodeEntry, encodeEntry, textField } from "../state/entry.ts";
import { unlinkGuarded } from "../state/guard.ts";
import { makeNetworkDirectories, networkPaths } from "../state/paths.ts";
import { defaultHostLocalDir, type HostLocalLease, readHostLocal } from "./host-local.ts";
import {
  cacheKey,
  defaultNetnsDir,
  findLiveAddresses,
  type LiveNamespace,
  readCache,
} from "./live-addresses.ts";

/** What is to be imported from where. */
export interface ImportOptions {
  readonly deps: CniDeps;
  readonly stateDir: string;
  readonly hostLocalDir?: string;
  readonly netnsDir?: string;
  readonly cacheDir?: string;
  /** Only this network of host-local's. */
  readonly network?: string | undefined;
  /** The name of our network, where it is another. */
  readonly as?: string | undefined;
  /** Otherwise nothing is written. */
  readonly apply: boolean;
}

/** What becomes, or would become, of one address. */
export interface ImportedAddress {
  /** Ours. */
  readonly network: string;
  readonly address: string;
  readonly containerId: string;
  readonly ifname: string;
  /** `namespace/name`; empty where nothing says it. */
  readonly pod: string;
  /**
   * `import`: would be, or has been taken over. `present`: ours already. `conflict`: leased by us to another. `dead`: no pod has
   * it. `unreadable`: the file says nothing.
   */
  readonly outcome: "import" | "present" | "conflict" | "dead" | "unreadable";
  readonly detail: string;
}

/** All imported records carry it, so that an import that was cut off is completed by the next one. */
const CLAIM = "import";

/** Sorted by network and address text. */
export async function importHostLocal(options: ImportOptions): Promise<ImportedAddress[]> {
  const { deps, hostLocalDir = defaultHostLocalDir, netnsDir = defaultNetnsDir } = options;
  const { leases, unreadable } = await readHostLocal(deps.files, hostLocalDir, options.network);
  const cached = await readCache(deps, options.cacheDir ?? defaultCacheDir);
  const live = await findLiveAddresses({ deps, netnsDir, cached }, leases);
  const rows: ImportedAddress[] = unreadable.map(({ network, address, why }) => ({
    ...{ network: options.as ?? network, address, containerId: "", ifname: "", pod: "" },
    ...{ outcome: "unreadable", detail: why },
  }));
  const alive = new Map<string, { leases: HostLocalLease[]; namespace: LiveNamespace }>();
  for (const lease of leases) {
    const namespace = live.get(`${lease.address} ${lease.ifname}`);
    const network = options.as ?? lease.network;
    const pod = podOf(cached.get(cacheKey(lease))?.pod);
    if (!namespace) {
      rows.push({ ...lease, network, pod, outcome: "dead", detail: "no namespace has this address" });
      continue;
    }
    const key = `${network} ${cacheKey(lease)}`;
    const entry = alive.get(key) ?? { leases: [], namespace };
    entry.leases.push({ ...lease, network });
    alive.set(key, entry);
  }
  for (const entry of alive.values()) {
    const [first] = entry.leases;
    const pod = first && cached.get(cacheKey(first))?.pod;
    rows.push(...(await takeOver(options, entry, pod ?? { namespace: "", name: "", uid: "" })));
  }
  const sortKey = ({ network, address }: ImportedAddress) => `${network} ${address}`;
  return rows.sort((left, right) => (sortKey(left) < sortKey(right) ? -1 : 1));
}

const podOf = (pod: { namespace: string; name: string } | undefined): string =>
  pod?.name ? `${pod.namespace}/${pod.name}` : "";

interface Living {
  readonly leases: readonly HostLocalLease[];
  readonly namespace: LiveNamespace;
}

/** All addresses of one interface of a pod: together or not at all. */
async function takeOver(
  { deps, stateDir, apply }: ImportOptions,
  { leases, namespace }: Living,
  pod: Attachment["pod"],
): Promise<ImportedAddress[]> {
  const [{ network, containerId, ifname }] = leases as [HostLocalLease];
  const key = { network, containerId, ifname };
  const paths = networkPaths(join(stateDir, deps.bootId), network);
  const staging: Staging = {
    files: deps.files,
    paths,
    prefix: paths.stagingPrefix(key),
    nonce: deps.nonce(),
  };
  const row = (address: string, outcome: ImportedAddress["outcome"], detail: string): ImportedAddress => ({
    ...{ ...key, address, pod: podOf(pod), outcome, detail },
  });
  const addresses = leases.map(({ address }) => address);
  const holders = new Map<string, string>();
  for (const address of addresses) {
    const lease = await readLease(deps.files, paths, { network, address });
    if (lease)
      holders.set(
        address,
        lease.containerId === containerId && lease.ifname === ifname ? "" : lease.containerId,
      );
  }
  const taken = [...holders.values()].find((holder) => holder !== "");
  if (taken !== undefined) {
    return addresses.map((address) =>
      row(address, "conflict", `trivet has leased it to ${holders.get(address) || taken}`),
    );
  }
  const record = await readAttachment(deps.files, paths, key);
  const complete = record !== undefined && record !== "unreadable" && record.state === "committed";
  if (complete && holders.size === addresses.length) {
    return addresses.map((address) =>
      row(address, "present", record.claim === CLAIM ? "imported before" : "a pod of trivet"),
    );
  }
  if (record !== undefined && (record === "unreadable" || record.claim !== CLAIM)) {
    return addresses.map((address) =>
      row(address, "conflict", "trivet has another record of this interface"),
    );
  }
  if (apply) {
    const attachment: Attachment = {
      ...{ ...key, hostLink: hostLinkName(key), hostMac: linkMac("host", key), podMac: linkMac("pod", key) },
      ...{ netns: namespace.path, netnsInode: namespace.inode, pod, addresses, mode: "ipam", claim: CLAIM },
      createdAtMs: deps.clock.nowMs(),
    };
    await makeNetworkDirectories(deps.files, paths);
    const lost = await write(staging, attachment);
    if (lost)
      return addresses.map((address) => row(address, "conflict", `${lost} was leased by trivet just now`));
  }
  return addresses.map((address) => row(address, "import", namespace.path));
}

/** The address that somebody else got first, if any: then nothing of this remains. */
async function write(staging: Staging, attachment: Attachment): Promise<string | undefined> {
  const { files, paths } = staging;
  await claimAttachment(staging, attachment);
  const { network, containerId, ifname, pod, createdAtMs } = attachment;
  const owner = encodeEntry("committed", { network, containerId, ifname, pod, createdAtMs });
  const ours = (content: Buffer) => {
    const value = decodeEntry(content)?.value ?? {};
    return textField(value, "containerId") === containerId && textField(value, "ifname") === ifname;
  };
  const claimed: string[] = [];
  for (const address of attachment.addresses) {
    const path = paths.lease(address);
    if (await withStaged(staging, owner, (staged) => staged.claim(path))) claimed.push(address);
    else if (!ours(await files.read(path))) {
      for (const one of claimed) await unlinkGuarded(files, { path: paths.lease(one), holds: ours });
      await unclaimAttachment(staging, attachment);
      return address;
    }
  }
  await commitAttachment(staging, attachment);
  return undefined;
}
