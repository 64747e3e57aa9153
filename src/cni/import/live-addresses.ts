/** Which addresses pods have right now, by looking into their namespaces: what host-local has on file may be long dead. */
import { join } from "node:path";
import type { CniDeps } from "../deps.ts";
import { type CachedAttachment, cacheDirectory, decodeCache } from "../libcni-cache.ts";
import { nullIfAbsent } from "../state/guard.ts";
import type { HostLocalLease } from "./host-local.ts";

/** Where container runtimes keep the namespaces of pods. */
export const defaultNetnsDir = "/var/run/netns";

/** The namespace of a pod. */
export interface LiveNamespace {
  readonly path: string;
  /** In decimal. */
  readonly inode: string;
}

interface Search {
  readonly deps: Pick<CniDeps, "files" | "netns" | "netlink">;
  readonly netnsDir: string;
  /** Files of libcni, by container and interface: they name namespaces that lie elsewhere. */
  readonly cached: ReadonlyMap<string, CachedAttachment>;
}

/** For `Search.cached`. */
export const cacheKey = ({ containerId, ifname }: Pick<HostLocalLease, "containerId" | "ifname">): string =>
  `${containerId}:${ifname}`;

/** Everything that libcni has on file, whatever the network. */
export async function readCache(
  { files }: Pick<CniDeps, "files">,
  cacheDir: string,
): Promise<Map<string, CachedAttachment>> {
  const directory = cacheDirectory(cacheDir);
  const found = new Map<string, CachedAttachment>();
  for (const { name } of (await nullIfAbsent(files.list(directory))) ?? []) {
    const bytes = await nullIfAbsent(files.read(join(directory, name)));
    const cached = bytes && decodeCache(bytes);
    if (cached && cached.ifname !== "lo") found.set(cacheKey(cached), cached);
  }
  return found;
}

/** By address and interface, such as `10.42.0.7 eth0`: the namespace that has it. */
export async function findLiveAddresses(
  { deps, netnsDir, cached }: Search,
  leases: readonly HostLocalLease[],
): Promise<Map<string, LiveNamespace>> {
  const ifnames = [...new Set(leases.map(({ ifname }) => ifname))];
  const inDirectory = ((await nullIfAbsent(deps.files.list(netnsDir))) ?? []).map(({ name }) =>
    join(netnsDir, name),
  );
  const fromCache = leases.flatMap((lease) => cached.get(cacheKey(lease))?.netns || []);
  const found = new Map<string, LiveNamespace>();
  for (const path of new Set([...inDirectory, ...fromCache])) {
    for (const [key, namespace] of await addressesIn(deps, path, ifnames)) found.set(key, namespace);
  }
  return found;
}

async function addressesIn(
  { netns, netlink }: Search["deps"],
  path: string,
  ifnames: readonly string[],
): Promise<[string, LiveNamespace][]> {
  const handle = netns.open(path);
  if (!handle) return [];
  try {
    const connection = netlink.connect(handle);
    try {
      const found: [string, LiveNamespace][] = [];
      for (const ifname of ifnames) {
        const link = await connection.link(ifname);
        for (const { address } of link ? await connection.addresses(link.index) : []) {
          found.push([`${address} ${ifname}`, { path, inode: handle.inode.toString() }]);
        }
      }
      return found;
    } finally {
      connection.close();
    }
  } finally {
    handle.close();
  }
}
