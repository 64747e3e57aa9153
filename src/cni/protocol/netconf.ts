/**
 * The network configuration on stdin (SPEC.md, "Plugin configuration objects"). Two depths: its identity is all that DEL
 * reads, so that a changed or broken rest never keeps a pod from being deleted; ADD and CHECK take all of it.
 */
import { TrivetError } from "../../errors.ts";
import type { AddressArgs } from "./args.ts";
import { defaultSocket, defaultStateDir } from "./defaults.ts";
import { identifierPattern } from "./environment.ts";
import { type IpamConfig, type OwnIpam, ownIpamType, parseIpam, parseOwnIpam } from "./ipam-config.ts";
import { type LinkMode, parseLinkMode, readFlag } from "./link-mode.ts";
import type { PortMapping } from "./port-mapping.ts";
import { createProblems, isObject, type JsonObject, type Problems } from "./problems.ts";
import { parseIpamWishes, parseRuntimeConfig } from "./runtime-config.ts";
import { parseVersion, type SpecVersion } from "./versions.ts";

/** The name becomes that of a directory. */
const MAX_NAME_LENGTH = 200;
const MIN_MTU = 68;
const MAX_MTU = 65_535;
const MIN_IPV6_MTU = 1_280;
const noArgs: AddressArgs = { ip: undefined, mac: undefined };

/** What says which network a call is about, and where its state lies. */
export interface NetworkIdentity {
  readonly cniVersion: SpecVersion;
  readonly name: string;
  /** Absolute. Leases and attachments of all networks are below it. */
  readonly stateDir: string;
}

/** All that ADD and CHECK go by. */
export interface NetworkConfig extends NetworkIdentity {
  readonly link: LinkMode;
  readonly ipam: IpamConfig;
  /** Host ports that the runtime asks for; those without a host port are left out. */
  readonly portMappings: readonly PortMapping[];
  /** The pod's MAC, in lower case, where the runtime asks for one. */
  readonly mac: string | undefined;
  /** Undefined: that of the interface with the default route. */
  readonly mtu: number | undefined;
  readonly ipMasq: boolean;
  /** Handed to the runtime as it is. */
  readonly dns: JsonObject | undefined;
  /** The result of the plugins before us in the chain. */
  readonly prevResult: JsonObject | undefined;
}

/** What we go by as the IPAM plugin of another plugin, whose own keys are none of our business. */
export interface IpamRoleConfig extends NetworkIdentity {
  readonly ipam: OwnIpam;
  readonly dns: JsonObject | undefined;
}

/** Whether another plugin calls us for its addresses: it hands its whole configuration on, with its own type. */
export function isIpamRole({ type, ipam }: JsonObject): boolean {
  return isObject(ipam) && ipam.type === ownIpamType && type !== ownIpamType;
}

/** The JSON on stdin. Throws kind `decode`. */
export function decodeConfig(stdin: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw decodeError(stdin.trim() === "" ? "stdin is empty" : `stdin is no JSON: ${why}`);
  }
  if (!isObject(value)) throw decodeError("stdin holds JSON that is no object");
  return value;
}

function decodeError(why: string): TrivetError {
  return new TrivetError({
    kind: "decode",
    op: "netconf.decode",
    subject: "stdin",
    message: `${why}: the runtime must send a network configuration`,
  });
}

/** Throws kinds `version` and `invalid`. */
export function parseIdentity(config: JsonObject): NetworkIdentity {
  const problems = createProblems(String(config.name ?? ""));
  const identity = readIdentity(config, problems);
  problems.throwIfAny();
  return identity;
}

function readIdentity(config: JsonObject, problems: Problems): NetworkIdentity {
  const cniVersion = parseVersion(config.cniVersion);
  const { name } = config;
  if (typeof name !== "string" || !identifierPattern.test(name)) {
    problems.invalid("name", name, `it must match ${identifierPattern.source}`);
  } else if (name.length > MAX_NAME_LENGTH) {
    problems.invalid("name", name, `it must not be longer than ${MAX_NAME_LENGTH} characters`);
  }
  const stateDir = readPath(config, { key: "stateDir", fallback: defaultStateDir }, problems);
  return { cniVersion, name: String(name), stateDir };
}

/**
 * All of it, with what the runtime asks for this pod; `asked` comes from CNI_ARGS. Unknown keys at the top are left alone: runtimes
 * and the chain put theirs there.
 */
export function parseConfig(config: JsonObject, asked: AddressArgs = noArgs): NetworkConfig {
  const problems = createProblems(String(config.name ?? ""));
  const identity = readIdentity(config, problems);
  const link = parseLinkMode(config, problems);
  readPath(config, { key: "socket", fallback: defaultSocket }, problems);
  const { mtu = 0 } = config;
  const goodMtu = typeof mtu === "number" && Number.isInteger(mtu) && (mtu === 0 || mtu >= MIN_MTU);
  if (!goodMtu || mtu > MAX_MTU) {
    problems.invalid("mtu", mtu, `it must be a number from ${MIN_MTU} to ${MAX_MTU}, or 0 to find it out`);
  }
  const runtime = parseRuntimeConfig({ config, asked }, problems);
  const ipam = parseIpam(config.ipam, problems, runtime);
  const effectiveMtu = runtime.mtu ?? (mtu === 0 ? undefined : Number(mtu));
  refuseSmallMtu(effectiveMtu, ipam, problems);
  const result = {
    ...identity,
    link,
    ipam,
    portMappings: runtime.portMappings,
    mac: runtime.mac,
    mtu: effectiveMtu,
    ipMasq: readFlag(config, { key: "ipMasq", fallback: false }, problems),
    dns: runtime.dns ?? readObject(config, "dns", problems),
    prevResult: readObject(config, "prevResult", problems),
  };
  problems.throwIfAny();
  return result;
}

/** The part of another plugin's configuration that is ours; `asked` comes from CNI_ARGS. */
export function parseIpamRole(config: JsonObject, asked: AddressArgs = noArgs): IpamRoleConfig {
  const problems = createProblems(String(config.name ?? ""));
  const identity = readIdentity(config, problems);
  const ipam = parseOwnIpam(config.ipam, problems, parseIpamWishes({ config, asked }, problems));
  const dns = isObject(config.ipam) ? readObject(config.ipam, "dns", problems) : undefined;
  problems.throwIfAny();
  return { ...identity, ipam, dns };
}

/** The kernel takes IPv6 off a link that is smaller (RFC 8200, section 5): the pod would lose half of its addresses. */
function refuseSmallMtu(mtu: number | undefined, ipam: IpamConfig, problems: Problems): void {
  if (mtu === undefined || mtu >= MIN_IPV6_MTU || ipam.kind !== "own") return;
  const hasIpv6 = ipam.rangeSets.flat().some(({ subnet }) => subnet.base.family === 6);
  if (hasIpv6) problems.invalid("mtu", mtu, `IPv6 needs at least ${MIN_IPV6_MTU}`);
}

function readPath(
  config: JsonObject,
  { key, fallback }: { readonly key: string; readonly fallback: string },
  problems: Problems,
): string {
  const value = config[key] ?? fallback;
  const good = typeof value === "string" && value.startsWith("/") && !value.includes("\0");
  if (!good) problems.invalid(key, value, "it must be an absolute path");
  return String(value);
}

function readObject(config: JsonObject, key: string, problems: Problems): JsonObject | undefined {
  const value = config[key];
  if (value === undefined || value === null) return undefined;
  if (isObject(value)) return value;
  problems.invalid(key, value, "it must be an object");
  return undefined;
}
