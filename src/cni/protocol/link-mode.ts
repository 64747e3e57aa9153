/**
 * How a pod's link is connected to the host: `mode` of the network configuration, and the keys of the bridge mode, named as
 * the reference bridge names its own.
 */
import type { JsonObject, Problems } from "./problems.ts";

/** A routed pod has a link of its own with host routes; a bridged one is a port of a bridge that all pods share. */
export type LinkMode =
  | { readonly mode: "routed" }
  | {
      readonly mode: "bridge";
      /** The interface's name on the host. Made where it is missing. */
      readonly bridge: string;
      /** A pod reaches itself through its own host port. */
      readonly hairpin: boolean;
      /** Pods on the bridge do not reach one another (bridge port isolation of the kernel). */
      readonly isolated: boolean;
    };

/** The bridge's name where the configuration gives none. */
export const defaultBridge = "trivet0";
const MAX_IFNAME_BYTES = 15;
const bridgeKeys = ["bridge", "hairpinMode", "portIsolation"] as const;

/**
 * Keys: `mode` is `routed` (the default) or `bridge`. In bridge mode `bridge`, `hairpinMode` (default true: host ports need
 * it) and `portIsolation` (default false). Elsewhere these keys are refused, so that nobody believes in a bridge that is not there.
 */
export function parseLinkMode(config: JsonObject, problems: Problems): LinkMode {
  const { mode = "routed" } = config;
  if (mode !== "routed" && mode !== "bridge") {
    problems.invalid("mode", mode, "it must be routed or bridge");
    return { mode: "routed" };
  }
  if (mode === "routed") {
    for (const key of bridgeKeys) {
      if (config[key] === undefined) continue;
      problems.invalid(
        key,
        config[key],
        "it belongs to the mode bridge: set mode to bridge, or leave it out",
      );
    }
    return { mode };
  }
  const { bridge = defaultBridge } = config;
  const goodName =
    typeof bridge === "string" &&
    Buffer.byteLength(bridge) <= MAX_IFNAME_BYTES &&
    /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(bridge) &&
    !["all", "default", "lo"].includes(bridge);
  if (!goodName) {
    const why = `it must be the name of an interface: at most ${MAX_IFNAME_BYTES} letters, digits, dots, dashes`;
    problems.invalid("bridge", bridge, why);
  }
  return {
    mode,
    bridge: String(bridge),
    hairpin: readFlag(config, { key: "hairpinMode", fallback: true }, problems),
    isolated: readFlag(config, { key: "portIsolation", fallback: false }, problems),
  };
}

interface Flag {
  readonly key: string;
  readonly fallback: boolean;
}

/** A key that is true or false. */
export function readFlag(config: JsonObject, { key, fallback }: Flag, problems: Problems): boolean {
  const value = config[key] ?? fallback;
  if (typeof value === "boolean") return value;
  problems.invalid(key, value, "it must be true or false");
  return fallback;
}
