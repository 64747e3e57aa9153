/**
 * Results in the form of one version of the specification, from whichever they came in. Goes by what is there and not by the
 * version that a result claims, since runtimes put the configuration's version on results that they pass on. Pure.
 */
import { isObject, type JsonObject } from "./problems.ts";
import { isAtLeast, type SpecVersion } from "./versions.ts";

/** What 1.1.0 added, by list. Older versions do not know the fields, and strict readers refuse them. */
const since110 = {
  interfaces: ["mtu", "socketPath", "pciID"],
  routes: ["mtu", "advmss", "priority", "table", "scope"],
} as const;

/** The same result in another version's form, which it then names. Lists of a wrong form are passed on as they are. */
export function toVersion(result: JsonObject, cniVersion: SpecVersion): JsonObject {
  const { ip4, ip6, ...rest } = result;
  const modern = ip4 === undefined && ip6 === undefined ? rest : fromOld({ ip4, ip6, rest });
  const named = { ...modern, cniVersion };
  return mapLists(named, (list, entry) => {
    if (list === "ips") return addressIn(entry, cniVersion);
    return isAtLeast(cniVersion, "1.1.0") ? entry : without(entry, since110[list]);
  });
}

type List = "interfaces" | "ips" | "routes";

function mapLists(result: JsonObject, convert: (list: List, entry: JsonObject) => JsonObject): JsonObject {
  const converted = (["interfaces", "ips", "routes"] as const).flatMap((list) => {
    const entries = result[list];
    if (!Array.isArray(entries)) return [];
    const map = (entry: unknown) => (isObject(entry) ? convert(list, entry) : entry);
    return [[list, entries.map(map)] as const];
  });
  return { ...result, ...Object.fromEntries(converted) };
}

/** 1.0.0 removed the field `version` from addresses; 0.3.1 and 0.4.0 demand it. */
function addressIn(entry: JsonObject, cniVersion: SpecVersion): JsonObject {
  const { version: _, ...address } = entry;
  if (isAtLeast(cniVersion, "1.0.0")) return address;
  return { version: String(address.address).includes(":") ? "6" : "4", ...address };
}

function without(entry: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(entry).filter(([key]) => !keys.includes(key)));
}

interface OldResult {
  readonly ip4: unknown;
  readonly ip6: unknown;
  readonly rest: JsonObject;
}

/** 0.1.0 and 0.2.0 had one address of each family, with its routes inside. */
function fromOld({ ip4, ip6, rest }: OldResult): JsonObject {
  const families = [ip4, ip6].filter(isObject);
  const ips = families.map(({ ip, gateway }) => ({ address: ip, ...(gateway ? { gateway } : {}) }));
  const routes = families.flatMap((family) => (Array.isArray(family.routes) ? family.routes : []));
  return { ...rest, ips, routes };
}
