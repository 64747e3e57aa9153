/**
 * What the runtime asks for one pod: the capabilities in `runtimeConfig`, the conventions' older `args.cni`, and CNI_ARGS.
 * For an address and a MAC the first of these wins, in this order; annotations of the pod, where the configuration allows them,
 * come last.
 */
import { formatAddress, type IpAddress, parseAddress } from "../ipam/address.ts";
import { type AllowedOption, annotationOptions, parseAnnotations } from "./annotations.ts";
import { anyCase } from "./any-case.ts";
import type { AddressArgs } from "./args.ts";
import { type PortMapping, parsePortMappings } from "./port-mapping.ts";
import { isObject, type JsonObject, type Problems } from "./problems.ts";

/** The wishes for one pod, checked each by itself. */
export interface RuntimeConfig {
  readonly portMappings: readonly PortMapping[];
  /** At most one is taken from each range set. */
  readonly ips: readonly RequestedAddress[];
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  /** Range sets before the configured ones, unparsed. */
  readonly ipRanges: readonly unknown[];
  /** In the form of a result. */
  readonly dns: JsonObject | undefined;
}

/** An address that somebody asked for, and where: for messages. */
export interface RequestedAddress {
  readonly address: IpAddress;
  readonly key: string;
}

interface Sources {
  readonly config: JsonObject;
  readonly asked: AddressArgs;
}

/** The capabilities that a conflist may declare for the plugin. */
export const capabilities = {
  portMappings: "portmappings",
  ips: "ips",
  mac: "mac",
  ipRanges: "ipranges",
  dns: "dns",
  podAnnotations: "io.kubernetes.cri.pod-annotations",
} as const;

const known: readonly string[] = Object.values(capabilities);

/** Reports to `problems`: code 2 for a capability that is not ours, 7 for a value that cannot be. */
export function parseRuntimeConfig({ config, asked }: Sources, problems: Problems): RuntimeConfig {
  const runtime = readObject(config.runtimeConfig, "runtimeConfig", problems);
  for (const [key, value] of Object.entries(runtime)) {
    if (known.includes(key)) continue;
    const why = "trivet has no such capability: declare it for the plugin of the chain that has it";
    problems.unsupported(`runtimeConfig.${key}`, value, why);
  }
  const args = isObject(config.args) && isObject(config.args.cni) ? anyCase(config.args.cni) : {};
  const allowed = readAllowed(config.allowedAnnotations, problems);
  const annotations = runtime[capabilities.podAnnotations];
  const wishes = parseAnnotations({ annotations, allowed }, problems);
  const ips = firstOf([
    ["runtimeConfig.ips", runtime.ips],
    ["args.cni.ips", args.ips],
    ["CNI_ARGS IP", asked.ip?.split(",")],
    [annotationOptions.address, wishes.address?.split(",")],
  ]);
  const mac = firstOf([
    ["runtimeConfig.mac", runtime.mac || undefined],
    ["args.cni.mac", args.mac || undefined],
    ["CNI_ARGS MAC", asked.mac],
    [annotationOptions.mac, wishes.mac],
  ]);
  return {
    portMappings: parsePortMappings(runtime.portmappings, problems),
    ips: ips ? parseAddresses(ips, problems) : [],
    mac: mac && parseMac(mac, problems),
    mtu: wishes.mtu,
    ipRanges: readRanges(runtime.ipranges, problems),
    dns: parseDns(runtime.dns, problems),
  };
}

/** As the IPAM plugin of another: the capabilities that are about addresses, and no opinion on the others. */
export function parseIpamWishes(
  { config, asked }: Sources,
  problems: Problems,
): Pick<RuntimeConfig, "ips" | "ipRanges"> {
  const runtime = readObject(config.runtimeConfig, "runtimeConfig", problems);
  const args = isObject(config.args) && isObject(config.args.cni) ? anyCase(config.args.cni) : {};
  const ips = firstOf([
    ["runtimeConfig.ips", runtime.ips],
    ["args.cni.ips", args.ips],
    ["CNI_ARGS IP", asked.ip?.split(",")],
  ]);
  return {
    ips: ips ? parseAddresses(ips, problems) : [],
    ipRanges: readRanges(runtime.ipranges, problems),
  };
}

function readObject(value: unknown, key: string, problems: Problems): JsonObject {
  if (value === undefined || value === null) return {};
  if (isObject(value)) return anyCase(value);
  problems.invalid(key, value, "it must be an object");
  return {};
}

type Source = readonly [key: string, value: unknown];

function firstOf(sources: readonly Source[]): Source | undefined {
  return sources.find(([, value]) => {
    const empty = Array.isArray(value) && value.length === 0;
    return value !== undefined && value !== null && !empty;
  });
}

function parseAddresses([key, value]: Source, problems: Problems): RequestedAddress[] {
  if (!Array.isArray(value)) {
    problems.invalid(key, value, "it must be a list of addresses");
    return [];
  }
  const seen = new Set<string>();
  return value.flatMap((text: unknown) => {
    // The prefix length, where one is written, is that of the range: pods do not choose it.
    const address =
      typeof text === "string" ? parseAddress(text.trim().replace(/\/[0-9]{1,3}$/, "")) : undefined;
    if (!address) problems.invalid(key, text, "it must be an address such as 10.88.0.9");
    if (!address || seen.has(formatAddress(address))) return [];
    seen.add(formatAddress(address));
    return [{ address, key }];
  });
}

function parseMac([key, value]: Source, problems: Problems): string | undefined {
  const mac = typeof value === "string" ? value.trim().toLowerCase().replaceAll("-", ":") : "";
  const good = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) && mac !== "00:00:00:00:00:00";
  const unicast = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
  if (good && unicast) return mac;
  problems.invalid(key, value, "it must be the MAC of one interface, such as 02:00:5e:00:00:01");
  return undefined;
}

/** Lists of ranges, with the empty texts that Go sends for what is not set taken out. */
function readRanges(value: unknown, problems: Problems): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    problems.invalid("runtimeConfig.ipRanges", value, "it must be a list of lists of ranges");
    return [];
  }
  const named = { subnet: "subnet", rangestart: "rangeStart", rangeend: "rangeEnd", gateway: "gateway" };
  const rename = (range: unknown): unknown => {
    if (!isObject(range)) return range;
    const present = Object.entries(anyCase(range)).filter(([, text]) => text !== "");
    return Object.fromEntries(present.map(([key, text]) => [named[key as keyof typeof named] ?? key, text]));
  };
  return value.map((set: unknown) => (Array.isArray(set) ? set.map(rename) : set));
}

/** The capability says `servers` and `searches`, a result `nameservers` and `search`. */
function parseDns(value: unknown, problems: Problems): JsonObject | undefined {
  const dns = readObject(value, "runtimeConfig.dns", problems);
  const list = (key: string): readonly string[] => {
    const texts = dns[key];
    if (texts === undefined || texts === null) return [];
    if (Array.isArray(texts) && texts.every((text) => typeof text === "string")) return texts;
    problems.invalid(`runtimeConfig.dns.${key}`, texts, "it must be a list of texts");
    return [];
  };
  const result = { nameservers: list("servers"), search: list("searches"), options: list("options") };
  const given = Object.entries(result).filter(([, texts]) => texts.length > 0);
  return given.length > 0 ? Object.fromEntries(given) : undefined;
}

function readAllowed(value: unknown, problems: Problems): AllowedOption[] {
  if (value === undefined || value === null) return [];
  const names = Object.keys(annotationOptions) as AllowedOption[];
  const good = Array.isArray(value) && value.every((name) => names.includes(name));
  if (good) return value as AllowedOption[];
  problems.invalid("allowedAnnotations", value, `it must be a list of some of ${names.join(", ")}`);
  return [];
}
