/** A configuration for a plugin that is tried without one: an address from host-local, or from the plugin itself where it is ours. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Json } from "./rule.ts";

const network = "conformance";

/** `scratch`: where state goes that would otherwise lie on the machine. */
export function defaultConf(plugin: string, scratch: string): Json {
  const type = basename(plugin);
  const ranges = [[{ subnet: "203.0.113.128/25" }]];
  if (type.startsWith("trivet")) {
    return {
      name: network,
      type,
      stateDir: join(scratch, "state"),
      socket: join(scratch, "cni.sock"),
      ipam: { ranges },
    };
  }
  const ipam = { type: "host-local", ranges, dataDir: join(scratch, "host-local") };
  const bridge = type === "bridge" ? { bridge: "conf0", isGateway: true } : {};
  return { name: network, type, ...bridge, ipam };
}

/** The plugin's part of a configuration file, whether that is a list or a single plugin. Throws an Error that says what is wrong. */
export function readConf(path: string, plugin: string): Json {
  const file = JSON.parse(readFileSync(path, "utf8")) as Json;
  const { plugins = [file], name = network } = file as { plugins?: Json[]; name?: string };
  const found = plugins.find(({ type }) => type === basename(plugin)) ?? plugins[0];
  if (!found) throw new Error(`${path} names no plugin`);
  return { ...found, name };
}
