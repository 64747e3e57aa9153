/** What a pool is to be, as configured. Pure; whether the disk agrees is found out when the pool is opened. */
import { posix } from "node:path";
import { TrivetError } from "../../errors.ts";
import { invalid } from "../refusal.ts";
import { parseQuantity } from "./quantity.ts";

/** How a pool limits its volumes. `auto` is the best that its disk can do. */
export const backends = ["auto", "quota", "image", "directory"] as const;
/** One of `backends`. */
export type BackendSetting = (typeof backends)[number];

/** The pool that is used when a class names none. */
export const DEFAULT_POOL = "default";

/** How a pool is chosen where a class leaves the choice among several. */
export const poolChoices = ["default", "most-free", "least-used", "round-robin"] as const;
/**
 * One of `poolChoices`. `default`: the pool of that name, or the only one; where a class names several pools, the one
 * with the most free space.
 */
export type PoolChoice = (typeof poolChoices)[number];

/** One pool as configured, by `--pool` or in the configuration file. */
export interface PoolConfig {
  /** Lower-case letters, digits and dashes: it is a class parameter, a file name and a metric label. */
  readonly name: string;
  /** Absolute and normal. */
  readonly path: string;
  readonly backend: BackendSetting;
  /** The most that its volumes may add up to. Absent: the size of the file system. */
  readonly budgetBytes?: number;
  /** What of the disk's free space is never given away, for others who live on it. */
  readonly reserveBytes?: number;
  /** Whether the path must lie on another file system than the state directory: the guard against an unmounted disk. */
  readonly requireMount: boolean;
  /**
   * Whether only classes that name it get volumes in it. CSI does not tell a driver the name of the class, so that "the
   * allowed classes of a pool" can only be those that say so themselves.
   */
  readonly onlyNamed?: boolean;
  /** Whether it gets no new volumes; those that it has go on working. */
  readonly drain?: boolean;
  /**
   * Whether images get all their space when they are made, so that nobody else can take it. Absent: yes. Other kinds of
   * volume have no such space.
   */
  readonly preallocate?: boolean;
}

/** What a pool may be called. */
export const poolNamePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const settingNames = [
  "backend",
  "budget",
  "reserve",
  "requireMount",
  "onlyNamed",
  "drain",
  "preallocate",
] as const;

/**
 * `NAME=PATH[,backend=auto|quota|image|directory][,budget=10Gi][,reserve=1Gi][,requireMount=true|false]
 * [,onlyNamed=true|false][,drain=true|false][,preallocate=true|false]`, as `--pool` takes it.
 */
export function parsePoolFlag(text: string): PoolConfig {
  const [head = "", ...settings] = text.split(",");
  const cut = head.indexOf("=");
  if (cut < 0)
    throw invalid("pool", `"${text}" has no path: write NAME=PATH, as in default=/var/lib/trivet/pool`);
  const name = head.slice(0, cut);
  const given = readSettings(name, settings);
  const quantity = (key: "budget" | "reserve") => {
    const value = given.get(key);
    return value === undefined ? undefined : parseQuantity(`${key} of pool "${name}"`, value);
  };
  return completePool({
    name,
    path: head.slice(cut + 1),
    backend: parseBackend(name, given.get("backend") ?? "auto"),
    budgetBytes: quantity("budget"),
    reserveBytes: quantity("reserve"),
    requireMount: parseYesNo(name, "requireMount", given.get("requireMount")),
    onlyNamed: parseYesNo(name, "onlyNamed", given.get("onlyNamed")),
    drain: parseYesNo(name, "drain", given.get("drain")),
    preallocate: parseYesNo(name, "preallocate", given.get("preallocate")),
  });
}

function readSettings(pool: string, settings: readonly string[]): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (const setting of settings) {
    const [key = "", value] = setting.split(/=(.*)/s);
    if (!settingNames.some((known) => known === key) || value === undefined) {
      throw invalid("pool", `"${pool}" has the setting "${setting}": known are ${settingNames.join("=, ")}=`);
    }
    if (given.has(key)) throw invalid("pool", `"${pool}" sets ${key} twice`);
    given.set(key, value);
  }
  return given;
}

/** A pool of which only what was given is known. */
export type PartialPool = Pick<PoolConfig, "name" | "path" | "backend"> & {
  readonly [K in keyof PoolConfig]?: PoolConfig[K] | undefined;
};

/** With everything that follows from the rest; throws `invalid` for a name or a path that cannot be used. */
export function completePool(pool: PartialPool): PoolConfig {
  const { name, path, backend, budgetBytes, reserveBytes, requireMount, onlyNamed, drain, preallocate } =
    pool;
  return checkPool({
    ...{ name, path, backend, requireMount: requireMount ?? name !== DEFAULT_POOL },
    ...(budgetBytes === undefined ? {} : { budgetBytes }),
    ...(reserveBytes === undefined ? {} : { reserveBytes }),
    ...(onlyNamed ? { onlyNamed } : {}),
    ...(drain ? { drain } : {}),
    ...(preallocate === false ? { preallocate } : {}),
  });
}

function parseBackend(pool: string, text: string): BackendSetting {
  const backend = backends.find((known) => known === text);
  if (backend) return backend;
  throw invalid(`backend of pool "${pool}"`, `is "${text}": known are ${backends.join(", ")}`);
}

function parseYesNo(pool: string, key: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (text === "true" || text === "false") return text === "true";
  throw invalid(`${key} of pool "${pool}"`, `is "${text}": give true or false`);
}

/** The same config if its name and path can be used, else `invalid`. */
function checkPool(pool: PoolConfig): PoolConfig {
  if (!poolNamePattern.test(pool.name)) {
    throw invalid("pool name", `is "${pool.name}": give up to 63 lower-case letters, digits and dashes`);
  }
  const normal = posix.normalize(pool.path).replace(/(.)\/$/, "$1");
  if (!posix.isAbsolute(pool.path) || normal === "/" || pool.path.includes("\0")) {
    throw invalid(`path of pool "${pool.name}"`, `is "${pool.path}": give an absolute directory below /`);
  }
  return { ...pool, path: normal };
}

/** All pools of a node together: names once, and no pool in another. Throws one `invalid` that lists every problem. */
export function checkPools(pools: readonly PoolConfig[]): readonly PoolConfig[] {
  const problems: string[] = [];
  if (pools.length === 0) problems.push("no pool is configured: give at least one");
  const checked = pools.flatMap((pool) => {
    try {
      return [checkPool(pool)];
    } catch (error) {
      if (!(error instanceof TrivetError)) throw error;
      problems.push(error.message);
      return [];
    }
  });
  for (const [index, pool] of checked.entries()) {
    for (const other of checked.slice(0, index)) {
      if (other.name === pool.name) problems.push(`pool "${pool.name}" is configured twice`);
      if (`${pool.path}/`.startsWith(`${other.path}/`) || `${other.path}/`.startsWith(`${pool.path}/`)) {
        problems.push(
          `pools "${other.name}" and "${pool.name}" lie in one another: ${other.path}, ${pool.path}`,
        );
      }
    }
  }
  if (problems.length > 0) throw invalid("pools", `cannot be used: ${problems.join("; ")}`);
  return checked;
}
