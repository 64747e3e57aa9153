/** What the plugin says on stdout (SPEC.md, "ADD Success" and "Error"): results in the form of each version, and errors. */
import { TrivetError } from "../../errors.ts";
import { isObject, type JsonObject } from "./problems.ts";
import { isSupportedVersion, newestVersion, type SpecVersion } from "./versions.ts";

/** What ADD made, in no version's form. */
export interface Attached {
  readonly hostLink: { readonly name: string; readonly mac: string };
  readonly podLink: { readonly name: string; readonly mac: string; readonly netns: string };
  readonly addresses: readonly {
    readonly address: string;
    readonly prefixLength: number;
    readonly gateway: string;
  }[];
  readonly routes: readonly { readonly dst: string; readonly gw: string }[];
}

interface ResultOptions {
  readonly cniVersion: SpecVersion;
  readonly attached: Attached;
  readonly dns: JsonObject | undefined;
  readonly prevResult: JsonObject | undefined;
}

/** The result of ADD. What plugins before us made stays in front, so that their indexes stay right. */
export function encodeResult({ cniVersion, attached, dns, prevResult }: ResultOptions): string {
  const before = {
    interfaces: listIn(prevResult, "interfaces"),
    ips: listIn(prevResult, "ips"),
    routes: listIn(prevResult, "routes"),
  };
  const { hostLink, podLink } = attached;
  const result = {
    ...prevResult,
    cniVersion,
    interfaces: [
      ...before.interfaces,
      { name: hostLink.name, mac: hostLink.mac },
      { name: podLink.name, mac: podLink.mac, sandbox: podLink.netns },
    ],
    ips: [
      ...before.ips,
      ...attached.addresses.map(({ address, prefixLength, gateway }) => ({
        // 1.0.0 removed the field; 0.3.1 and 0.4.0 demand it.
        ...(cniVersion === "1.0.0" ? {} : { version: address.includes(":") ? "6" : "4" }),
        address: `${address}/${prefixLength}`,
        gateway,
        interface: before.interfaces.length + 1,
      })),
    ],
    routes: [...before.routes, ...attached.routes],
    dns: dns ?? prevResult?.dns ?? {},
  };
  return `${JSON.stringify(result)}\n`;
}

function listIn(result: JsonObject | undefined, key: string): unknown[] {
  const value = result?.[key];
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new TrivetError({
    kind: "invalid",
    op: "netconf.parse",
    subject: `prevResult.${key}`,
    message: `prevResult.${key} is no list: an earlier plugin of the chain returned a wrong result`,
  });
}

/** The addresses, without prefix length, that a result names: CHECK compares them with ours. */
export function addressesOf(result: JsonObject): string[] {
  return listIn(result, "ips").flatMap((ip) => {
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
