/**
 * Runs a network's plugins as libcni does: in order for ADD and CHECK, backwards for DEL, each with the network's name and version and
 * the result of the one before. For trying a configuration out; runtimes have libcni for it.
 */
import { TrivetError } from "../../errors.ts";
import type { Exec } from "../../host/exec.ts";
import { isObject, type JsonObject } from "../protocol/problems.ts";

/** A network of one or more plugins. */
export interface Network {
  readonly name: string;
  /** The newest of `cniVersion` and `cniVersions` that we know. */
  readonly cniVersion: string;
  readonly disableCheck: boolean;
  readonly plugins: readonly (JsonObject & { readonly type: string })[];
}

const knownVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/** A `.conflist`, or a `.conf` with a single plugin. Throws kind `invalid`, naming `path`. */
export function parseNetwork(text: string, path: string): Network {
  const refuse = (why: string) =>
    new TrivetError({ kind: "invalid", op: "conflist.parse", subject: path, message: `${path} ${why}` });
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw refuse(`is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isObject(file)) throw refuse("holds no object");
  const { name, cniVersion, cniVersions, disableCheck, plugins = [file] } = file;
  if (typeof name !== "string" || name === "") throw refuse("has no name");
  if (!Array.isArray(plugins) || plugins.length === 0) throw refuse("names no plugins");
  const typed = plugins.filter(
    (plugin): plugin is JsonObject & { type: string } =>
      isObject(plugin) && typeof plugin.type === "string" && /^[^/]+$/.test(plugin.type),
  );
  if (typed.length < plugins.length) throw refuse("has a plugin without a type that is a plain file name");
  const offered = [cniVersion, ...(Array.isArray(cniVersions) ? cniVersions : [])].map(String);
  const version = knownVersions.filter((known) => offered.includes(known)).at(-1);
  if (!version) throw refuse(`has no cniVersion that is one of ${knownVersions.join(", ")}`);
  return { name, cniVersion: version, disableCheck: String(disableCheck) === "true", plugins: typed };
}

/** The container that the network is tried on. */
export interface TrialContainer {
  readonly id: string;
  readonly netns: string;
  readonly ifname: string;
}

export interface ChainCall {
  readonly network: Network;
  readonly container: TrialContainer;
  /** Where the plugins are, in the order of the search. */
  readonly pluginDirs: readonly string[];
  /** What ADD gave, for CHECK and DEL. */
  readonly prevResult?: JsonObject | undefined;
}

export interface ChainDeps {
  readonly exec: Exec;
  /** Whether there is a program at this path. */
  readonly isProgram: (path: string) => Promise<boolean>;
}

const CALL_TIMEOUT_MS = 90_000;

/** The last result; undefined for CHECK and DEL. Throws kind `precondition` with what the plugin said. */
export async function runChain(
  deps: ChainDeps,
  command: "ADD" | "CHECK" | "DEL",
  { network, container, pluginDirs, prevResult }: ChainCall,
): Promise<JsonObject | undefined> {
  const { name, cniVersion } = network;
  let result = prevResult;
  const plugins = command === "DEL" ? [...network.plugins].reverse() : network.plugins;
  for (const plugin of plugins) {
    const program = await findPlugin(deps, pluginDirs, plugin.type);
    const conf = { ...plugin, name, cniVersion, ...(result ? { prevResult: result } : {}) };
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: container.id,
      CNI_NETNS: container.netns,
      CNI_IFNAME: container.ifname,
      CNI_PATH: pluginDirs.join(":"),
    };
    const done = await deps.exec([program], { env, stdin: JSON.stringify(conf), timeoutMs: CALL_TIMEOUT_MS });
    if (done.exitCode !== 0) throw failed(`${command} by ${program}`, `failed: ${whyOf(done)}`);
    if (command === "ADD") result = parseResult(done.stdout, `${command} by ${program}`);
  }
  return command === "ADD" ? result : undefined;
}

async function findPlugin({ isProgram }: ChainDeps, dirs: readonly string[], type: string): Promise<string> {
  for (const dir of dirs) if (await isProgram(`${dir}/${type}`)) return `${dir}/${type}`;
  throw failed(type, `is not in ${dirs.join(", ")}`);
}

function whyOf({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): string {
  try {
    const { code, msg, details } = JSON.parse(stdout) as { code?: number; msg?: string; details?: string };
    return `${msg}${details ? `; ${details}` : ""} (code ${code})`;
  } catch {
    return (stdout || stderr).trim() || "it said nothing";
  }
}

function parseResult(stdout: string, what: string): JsonObject {
  try {
    const value: unknown = JSON.parse(stdout);
    if (isObject(value)) return value;
  } catch {
    // Said below.
  }
  throw failed(what, "printed no result");
}

function failed(subject: string, why: string): TrivetError {
  return new TrivetError({ kind: "precondition", op: "chain.run", subject, message: `${subject} ${why}` });
}

/** Whether the network's version has CHECK, and the network wants it. */
export const hasCheck = ({ cniVersion, disableCheck }: Network): boolean =>
  !disableCheck && !cniVersion.startsWith("0.3.");
