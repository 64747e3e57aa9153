/** The parts of an `ipam` configuration that say which addresses of the ranges are kept back, for how long and for whom. */
import { type IpAddress, type IpNetwork, networkOf, parseAddress, parseCidr } from "../ipam/address.ts";
import { isObject, type JsonObject, type Problems, refuseUnknownKeys } from "./problems.ts";

/** An address that only some pods get, and get first. */
export interface Reservation {
  readonly address: IpAddress;
  /** `namespace/name`, in which `*` stands for any characters but a slash. */
  readonly pod: string;
}

/** How addresses are given out. */
export interface PoolOptions {
  readonly reservations: readonly Reservation[];
  /** A released address rests for this long, unless nothing else is free. 0: not at all. */
  readonly cooldownMs: number;
  /** A pod gets the address back that the last pod of its namespace and name had, if that is free. */
  readonly sticky: boolean;
}

/** What is said of a network that has none of these keys. */
export const plainPool: PoolOptions = { reservations: [], cooldownMs: 0, sticky: false };

const MAX_COOLDOWN_SECONDS = 86_400;
const podPattern = /^[a-z0-9*]([a-z0-9.*-]*[a-z0-9*])?\/[a-z0-9*]([a-z0-9.*-]*[a-z0-9*])?$/;

/** Keys `reservations`, `cooldownSeconds` and `sticky`. */
export function parsePoolOptions(ipam: JsonObject, problems: Problems): PoolOptions {
  const { cooldownSeconds = 0, sticky = false } = ipam;
  const good = typeof cooldownSeconds === "number" && cooldownSeconds >= 0;
  if (!good || cooldownSeconds > MAX_COOLDOWN_SECONDS) {
    const why = `it must be a number of seconds from 0 to ${MAX_COOLDOWN_SECONDS}`;
    problems.invalid("ipam.cooldownSeconds", cooldownSeconds, why);
  }
  if (typeof sticky !== "boolean") problems.invalid("ipam.sticky", sticky, "it must be true or false");
  return {
    reservations: listOf(ipam, "reservations", problems).flatMap((value, index) =>
      parseReservation(value, `ipam.reservations[${index}]`, problems),
    ),
    cooldownMs: good ? Math.round(cooldownSeconds * 1000) : 0,
    sticky: sticky === true,
  };
}

function listOf(ipam: JsonObject, key: string, problems: Problems): readonly unknown[] {
  const value = ipam[key] ?? [];
  if (Array.isArray(value)) return value;
  problems.invalid(`ipam.${key}`, value, "it must be a list");
  return [];
}

function parseReservation(value: unknown, path: string, problems: Problems): Reservation[] {
  if (!isObject(value)) {
    problems.invalid(path, value, "it must be an object with address and pod");
    return [];
  }
  refuseUnknownKeys({ value, path, known: ["address", "pod"], problems });
  const address = typeof value.address === "string" ? parseAddress(value.address) : undefined;
  const pod = typeof value.pod === "string" && podPattern.test(value.pod) ? value.pod : undefined;
  if (!address) problems.invalid(`${path}.address`, value.address, "it must be an address");
  if (!pod) {
    const why = "it must be NAMESPACE/NAME of a pod, where * stands for any characters";
    problems.invalid(`${path}.pod`, value.pod, why);
  }
  return address && pod ? [{ address, pod }] : [];
}

/** Key `exclude`: addresses and networks that are never leased. */
export function parseExclude(ipam: JsonObject, problems: Problems): IpNetwork[] {
  return listOf(ipam, "exclude", problems).flatMap((value, index) => {
    const text = typeof value === "string" ? value : "";
    const single = parseAddress(text);
    const cidr = single ? { address: single, prefixLength: single.family === 4 ? 32 : 128 } : parseCidr(text);
    if (cidr) return [networkOf(cidr)];
    const why = "it must be an address or a network such as 10.88.0.64/28";
    problems.invalid(`ipam.exclude[${index}]`, value, why);
    return [];
  });
}

/** Whether a pod is one of those that a pattern means. */
export function matchesPod(
  pattern: string,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): boolean {
  if (namespace === "" || name === "") return false;
  const [left = "", right = ""] = pattern.split("/");
  return matches(left, namespace) && matches(right, name);
}

/** Linear in both lengths, unlike a regular expression made of the pattern. */
function matches(pattern: string, text: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return first === text;
  const last = rest.pop() ?? "";
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last))
    return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}
