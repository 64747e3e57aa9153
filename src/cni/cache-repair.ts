/**
 * Mends libcni's cache files of our networks. libcni writes them without care, so a power cut leaves empty ones, and then every DEL of
 * that pod fails, for ever, before our plugin is even started. Files of other networks are not touched.
 */
import { join } from "node:path";
import { isKind } from "../errors.ts";
import { replaceFile } from "../host/files.ts";
import type { Log } from "../observe/log.ts";
import type { CniDeps } from "./deps.ts";
import { cacheDirectory, cacheFileName, encodeCache, isUsableCache } from "./libcni-cache.ts";
import { ownAttachments } from "./own-attachments.ts";
import { isObject, type JsonObject } from "./protocol/problems.ts";
import { encodeResult } from "./protocol/result.ts";
import { isSupportedVersion } from "./protocol/versions.ts";
import type { AttachmentRecord } from "./state/attachments.ts";
import { nullIfAbsent } from "./state/guard.ts";
import { listNetworks } from "./state/list-attachments.ts";

/** Where things lie, and who is told. */
export interface CacheRepairOptions {
  readonly deps: Pick<CniDeps, "files" | "bootId" | "clock">;
  readonly stateDir: string;
  /** libcni's directory, with `results` in it. */
  readonly cacheDir: string;
  /** Where network configurations are: they tell which networks are ours. */
  readonly confDir: string;
  readonly log: Log;
}

/** What was done, by file name. */
export interface CacheRepair {
  readonly rebuilt: readonly string[];
  readonly dropped: readonly string[];
}

/** A file that is being written right now is empty for a moment. */
const SETTLED_MS = 10_000;
const FILE_MODE = 0o600;
/** What containerd and CRI-O name sandboxes; it tells a network `pods` from one called `pods-2`. */
const sandboxFile = /^[0-9a-f]{64}-[^/:\s]{1,15}$/;

/** Once, when the agent starts. Files that cannot be mended are told in the log; throws only what listing throws. */
export async function repairCache(options: CacheRepairOptions): Promise<CacheRepair> {
  const { deps, stateDir, cacheDir, log } = options;
  const { files } = deps;
  const directory = cacheDirectory(cacheDir);
  const rebuilt: string[] = [];
  const dropped: string[] = [];
  const entries = await listFiles(files, directory);
  if (entries.length === 0) return { rebuilt, dropped };
  const confs = await readOwnConfs(options);
  const networks = new Set([...confs.keys(), ...(await listNetworks(deps, stateDir))]);
  const records = new Map((await ownAttachments(deps, stateDir)).map((one) => [cacheFileName(one), one]));
  for (const { name } of entries) {
    const record = records.get(name);
    if (!record && !isOfNetwork(name, networks)) continue;
    const path = join(directory, name);
    const bytes = await brokenContent(deps, path);
    if (!bytes) continue;
    const content = record && contentOf(record, confs.get(record.network));
    try {
      if (content) await replaceFile(files, path, content, FILE_MODE);
      else await files.unlink(path);
      (content ? rebuilt : dropped).push(name);
    } catch (error) {
      if (!isKind(error, "not-found"))
        log.warn("a cache file of libcni cannot be mended", { path, error: String(error) });
    }
  }
  if (rebuilt.length + dropped.length > 0) {
    log.warn("libcni's cache had broken files, with which no pod can be deleted: they are mended", {
      rebuilt,
      dropped,
    });
  }
  return { rebuilt, dropped };
}

/** Without directories, which libcni passes over as well. */
async function listFiles(files: CniDeps["files"], directory: string) {
  const entries = (await nullIfAbsent(files.list(directory))) ?? [];
  return entries.filter(({ kind }) => kind !== "directory");
}

function isOfNetwork(name: string, networks: ReadonlySet<string>): boolean {
  for (const network of networks) {
    if (name.startsWith(`${network}-`) && sandboxFile.test(name.slice(network.length + 1))) return true;
  }
  return false;
}

/** The content of a file that has been broken for a while. */
async function brokenContent(
  { files, clock }: CacheRepairOptions["deps"],
  path: string,
): Promise<Buffer | undefined> {
  const bytes = await nullIfAbsent(files.read(path));
  if (!bytes || isUsableCache(bytes)) return undefined;
  const stat = await nullIfAbsent(files.stat(path));
  // A clock that was set back makes old files young: so their distance counts, in either direction.
  const settled = stat && stat.kind === "file" && Math.abs(clock.nowMs() - stat.modifiedMs) >= SETTLED_MS;
  return settled ? bytes : undefined;
}

interface OwnConf {
  readonly bytes: Buffer;
  readonly cniVersion: unknown;
}

/** Configurations with a plugin of ours in them, by the network's name. Unreadable ones are nobody's. */
async function readOwnConfs({ deps, confDir }: CacheRepairOptions): Promise<Map<string, OwnConf>> {
  const found = new Map<string, OwnConf>();
  for (const { name } of await listFiles(deps.files, confDir)) {
    if (!/\.(conf|conflist|json)$/.test(name)) continue;
    const bytes = await nullIfAbsent(deps.files.read(join(confDir, name)));
    const conf = bytes && parse(bytes);
    if (!conf || typeof conf.name !== "string") continue;
    const plugins = Array.isArray(conf.plugins) ? conf.plugins : [conf];
    const isOurs = plugins.some((plugin) => isObject(plugin) && plugin.type === "trivet");
    if (isOurs) found.set(conf.name, { bytes, cniVersion: conf.cniVersion });
  }
  return found;
}

function parse(bytes: Buffer): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What libcni would have written; undefined where too little is known, and DEL then works without the file. */
function contentOf(record: AttachmentRecord, conf: OwnConf | undefined): Buffer | undefined {
  if (!conf || !isSupportedVersion(conf.cniVersion) || record.mode === "ipam") return undefined;
  const text = encodeResult({
    cniVersion: conf.cniVersion,
    attached: {
      hostLink: { name: record.hostLink, mac: record.hostMac },
      podLink: { name: record.ifname, mac: record.podMac, netns: record.netns },
      addresses: record.addresses.map((address) => ({
        address,
        prefixLength: address.includes(":") ? 128 : 32,
        gateway: undefined,
      })),
      routes: record.routes ?? [],
    },
    dns: undefined,
    prevResult: undefined,
  });
  const { netns, pod } = record;
  return encodeCache({ key: record, netns, pod, config: conf.bytes, result: JSON.parse(text) as JsonObject });
}
