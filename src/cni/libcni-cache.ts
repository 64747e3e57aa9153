/**
 * The files in which libcni remembers what it gave to a container: `<cache>/results/<network>-<container>-<interface>`, a JSON
 * object of kind `cniCacheV1` (libcni/api.go of containernetworking/cni). Pure: bytes to facts and back.
 */
import { join } from "node:path";
import type { PodIdentity } from "./protocol/environment.ts";
import { isObject, type JsonObject } from "./protocol/problems.ts";
import type { AttachmentKey } from "./state/paths.ts";

/** libcni's own default; containerd and CRI-O keep to it. */
export const defaultCacheDir = "/var/lib/cni";
const KIND = "cniCacheV1";

/** What a cache file says. */
export interface CachedAttachment extends AttachmentKey {
  /** Empty in files of old releases, unless the result names it. */
  readonly netns: string;
  readonly pod: PodIdentity;
}

/** Where the files lie. */
export function cacheDirectory(cacheDir: string): string {
  return join(cacheDir, "results");
}

/** The file of one attachment. */
export function cacheFileName({ network, containerId, ifname }: AttachmentKey): string {
  return `${network}-${containerId}-${ifname}`;
}

/** What happens when DEL reads the file: it is used, or DEL fails for as long as it is there. */
export function isUsableCache(bytes: Buffer): boolean {
  const value = parseObject(bytes);
  if (!value) return false;
  // Anything that is not of the kind is taken for a result in the form of releases before 0.7.
  const result = value.kind === KIND ? value.result : value;
  return isObject(result) && typeof result.cniVersion === "string";
}

/** Undefined for what is no file of kind `cniCacheV1`. */
export function decodeCache(bytes: Buffer): CachedAttachment | undefined {
  const value = parseObject(bytes);
  if (value?.kind !== KIND) return undefined;
  const { networkName, containerId, ifName, netns, cniArgs, result } = value;
  if (typeof networkName !== "string" || typeof containerId !== "string" || typeof ifName !== "string")
    return undefined;
  const args = new Map((Array.isArray(cniArgs) ? cniArgs : []).flatMap(parseArgument));
  return {
    network: networkName,
    containerId,
    ifname: ifName,
    netns: typeof netns === "string" && netns !== "" ? netns : sandboxIn(result, ifName),
    pod: {
      namespace: args.get("K8S_POD_NAMESPACE") ?? "",
      name: args.get("K8S_POD_NAME") ?? "",
      uid: args.get("K8S_POD_UID") ?? "",
    },
  };
}

interface CacheContent {
  readonly key: AttachmentKey;
  readonly netns: string;
  readonly pod: PodIdentity;
  /** The bytes of the configuration list. */
  readonly config: Buffer;
  /** In the list's version. */
  readonly result: JsonObject;
}

/** As libcni writes it. */
export function encodeCache({ key, netns, pod, config, result }: CacheContent): Buffer {
  const args = [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", pod.namespace],
    ["K8S_POD_NAME", pod.name],
    ["K8S_POD_INFRA_CONTAINER_ID", key.containerId],
    ["K8S_POD_UID", pod.uid],
  ];
  const value = {
    kind: KIND,
    containerId: key.containerId,
    config: config.toString("base64"),
    ifName: key.ifname,
    networkName: key.network,
    netns,
    cniArgs: pod.name === "" ? undefined : args,
    result,
  };
  return Buffer.from(JSON.stringify(value));
}

function parseObject(bytes: Buffer): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function parseArgument(pair: unknown): [string, string][] {
  if (!Array.isArray(pair)) return [];
  const [key, value] = pair as unknown[];
  return typeof key === "string" && typeof value === "string" ? [[key, value]] : [];
}

function sandboxIn(result: unknown, ifname: string): string {
  const interfaces = isObject(result) && Array.isArray(result.interfaces) ? result.interfaces : [];
  const found = interfaces.find((one: unknown) => isObject(one) && one.name === ifname && one.sandbox);
  return isObject(found) && typeof found.sandbox === "string" ? found.sandbox : "";
}
