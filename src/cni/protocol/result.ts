/** What the plugin says on stdout (SPEC.md, "ADD Success" and "Error"): results in the form of each version, and errors. */
import { TrivetError } from "../../errors.ts";
import { isObject, type JsonObject } from "./problems.ts";
import { toVersion } from "./result-version.ts";
import { isSupportedVersion, newestVersion, type SpecVersion } from "./versions.ts";

interface AttachedLink {
  readonly name: string;
  readonly mac: string;
  /** Told from 1.1.0 on. */
  readonly mtu?: number | undefined;
}

/** What ADD made, in no version's form. */
export interface Attached {
  /** The bridge that the host's end is a port of. */
  readonly bridge?: AttachedLink | undefined;
  readonly hostLink: AttachedLink;
  readonly podLink: AttachedLink & { readonly netns: string };
  readonly addresses: readonly ResultAddress[];
  readonly routes: readonly { readonly dst: string; readonly gw?: string | undefined }[];
}

/** An address as a result names it. */
export interface ResultAddress {
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string | undefined;
}

interface ResultOptions {
  readonly cniVersion: SpecVersion;
  readonly attached: Attached;
  readonly dns: JsonObject | undefined;
  readonly prevResult: JsonObject | undefined;
}

/** The result of ADD. What plugins before us made stays in front, so that their indexes stay right. */
export function encodeResult({ cniVersion, attached, dns, prevResult }: ResultOptions): string {
  const previous = prevResult && toVersion(prevResult, "1.1.0");
  const before = {
    interfaces: listIn(previous, "interfaces"),
    ips: listIn(previous, "ips"),
    routes: listIn(previous, "routes"),
  };
  const { bridge, hostLink, podLink } = attached;
  const hostLinks = [...(bridge ? [bridge] : []), hostLink];
  const result = {
    ...previous,
    interfaces: [
      ...before.interfaces,
      ...hostLinks.map(describeLink),
      { ...describeLink(podLink), sandbox: podLink.netns },
    ],
    ips: [
      ...before.ips,
      ...attached.addresses.map((address) => ({
        ...describeAddress(address),
        interface: before.interfaces.length + hostLinks.length,
      })),
    ],
    routes: [...before.routes, ...attached.routes],
    dns: dns ?? previous?.dns ?? {},
  };
  return `${JSON.stringify(toVersion(result, cniVersion))}\n`;
}

const describeLink = ({ name, mac, mtu }: AttachedLink) => ({ name, mac, ...(mtu ? { mtu } : {}) });

const describeAddress = ({ address, prefixLength, gateway }: ResultAddress) => ({
  address: `${address}/${prefixLength}`,
  ...(gateway ? { gateway } : {}),
});

interface IpamResultOptions extends Pick<Attached, "addresses" | "routes"> {
  readonly cniVersion: SpecVersion;
  readonly dns: JsonObject | undefined;
}

/** The result of an IPAM plugin: it has no interfaces, and its addresses none either (SPEC.md, "Delegated plugins"). */
export function encodeIpamResult({ cniVersion, addresses, routes, dns }: IpamResultOptions): string {
  const result = { ips: addresses.map(describeAddress), routes, dns: dns ?? {} };
  return `${JSON.stringify(toVersion(result, cniVersion))}\n`;
}

/** A list of a result, empty where it is missing. Throws kind `invalid` for what is no list. */
export function listIn(result: JsonObject | undefined, key: string, subject = "prevResult"): unknown[] {
  const value = result?.[key];
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new TrivetError({
    kind: "invalid",
    op: "netconf.parse",
    subject: `${subject}.${key}`,
    message: `${subject}.${key} is no list: an earlier plugin of the chain returned a wrong result`,
  });
}

/** The addresses, without prefix length, that a result of any version names: CHECK compares them with ours. */
export function addressesOf(result: JsonObject): string[] {
  return listIn(toVersion(result, newestVersion), "ips").flatMap((ip) => {
    const address = isObject(ip) ? ip.address : undefined;
    return typeof address === "string" ? [address.replace(/\/.*/, "")] : [];
  });
}

interface ErrorOptions {
  /** As the configuration had it: what is no version of ours gives our newest. */
  readonly cniVersion: unknown;
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

/** An error object with its line end. Empty `details` are left out. */
export function encodeError({ cniVersion, code, msg, details }: ErrorOptions): string {
  const body = {
    cniVersion: isSupportedVersion(cniVersion) ? cniVersion : newestVersion,
    code,
    msg,
    ...(details ? { details } : {}),
  };
  return `${JSON.stringify(body)}\n`;
}
