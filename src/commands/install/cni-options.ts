/** What `trivet install cni` takes from its flags, and the files that follow from it. */
import { access, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { type ConflistChoices, conflistName, encodeConflist } from "../../cni/install/conflist.ts";
import type { WantedFile } from "../../cni/install/files.ts";
import { defaultSocket } from "../../cni/protocol/defaults.ts";
import { parseConfig } from "../../cni/protocol/netconf.ts";
import { TrivetError } from "../../errors.ts";
import { packageRoot } from "../../host/package-root.ts";

export const defaultBinDir = "/opt/cni/bin";
export const defaultConfDir = "/etc/cni/net.d";
const defaultRuntime = "/opt/trivet/current/bin/trivet";

/** As commander gives them. */
export interface CniFlags {
  readonly binDir: string;
  readonly confDir: string;
  readonly client?: string;
  readonly runtime: string;
  readonly name: string;
  readonly subnet?: readonly string[];
  readonly mode?: "routed" | "bridge";
  readonly mtu?: string;
  readonly masq: boolean;
  readonly socket?: string;
  readonly leaseDir?: string;
  readonly loopback?: boolean;
  readonly selfTest: boolean;
  /** What becomes of a conflist that we did not write, or that was edited since. */
  readonly edited?: "keep" | "replace";
}

/** With those of the verb. */
export interface InstallFlags extends CniFlags {
  readonly stateDir: string;
  readonly dryRun?: boolean;
}

const list = (value: string, before: string[] | undefined) => [...(before ?? []), value];

/** The flags of the pod network. */
export function addCniOptions(command: Command): void {
  command
    .option(
      "--subnet <cidr>",
      "pod addresses, may be repeated; without it the node's podCIDRs from the API server",
      list,
    )
    .addOption(
      new Option("--mode <mode>", "routed or bridge (default: routed)").choices(["routed", "bridge"]),
    )
    .option("--mtu <bytes>", "of the pods' interfaces (default: that of the default route's)")
    .option("--no-masq", "do not masquerade what pods send out of the pod network")
    .option("--name <name>", "of the network", "trivet")
    .option("--bin-dir <dir>", "the runtime's plugins", defaultBinDir)
    .option("--conf-dir <dir>", "the runtime's network configurations", defaultConfDir)
    .option("--socket <path>", `the agent's, where it is not ${defaultSocket}`)
    .option("--lease-dir <dir>", "the plugin's stateDir, where it is not the default one")
    .option("--client <file>", "the static client (default: that of this installation)")
    .option("--runtime <file>", "what the client starts when the agent is away", defaultRuntime)
    .option("--loopback", "also be the plugin loopback, if there is none")
    .option("--no-self-test", "do not try the network on a namespace before anything is changed")
    .addOption(
      new Option("--edited <what>", "what to do with a conflist that was edited, or is another's").choices([
        "keep",
        "replace",
      ]),
    );
}

/** Root's alone: whoever can open the client could hold the lock by which its callers take turns. */
const PROGRAM_MODE = 0o700;
const TEXT_MODE = 0o644;

function invalid(subject: string, message: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "install.options", subject, message });
}

/** The runtime starts the client in a directory of its own, and the record is read in another one. */
export function withAbsolutePaths(flags: InstallFlags): InstallFlags {
  const { binDir, confDir, stateDir, runtime } = flags;
  const absolute = { binDir, confDir, stateDir, runtime };
  return {
    ...flags,
    ...Object.fromEntries(Object.entries(absolute).map(([key, path]) => [key, resolve(path)])),
  };
}

/** The conflist's text. Throws kind `invalid` with every problem that the plugin itself would find in it. */
export function conflistOf({ name, subnet = [], mode, mtu, masq, socket, leaseDir }: InstallFlags): string {
  if (mtu !== undefined && !/^\d+$/.test(mtu))
    throw invalid("--mtu", `--mtu is "${mtu}": it must be a number`);
  const choices: ConflistChoices = {
    ...{ name, subnets: subnet, mode, masquerade: masq, socket, stateDir: leaseDir },
    mtu: mtu === undefined ? undefined : Number(mtu),
  };
  const text = encodeConflist(choices);
  const { plugins } = JSON.parse(trialOf(text)) as { plugins: [Record<string, unknown>] };
  parseConfig({ ...plugins[0], name, cniVersion: "1.0.0" });
  return text;
}

/** Nobody has these addresses: they are for documentation (RFC 5737). */
const standIn = "192.0.2.0/24";

/**
 * The conflist for a node whose podCIDRs nobody has learned yet, as when its DaemonSet comes first: with a range that stands in for them.
 * One with ranges of its own is given as it is.
 */
export function trialOf(text: string): string {
  const conflist = JSON.parse(text) as { plugins: Record<string, unknown>[] };
  const [plugin, ...others] = conflist.plugins;
  const { source } = (plugin?.ipam ?? {}) as { source?: unknown };
  if (source === undefined) return text;
  const trial = { ...plugin, ipMasq: false, ipam: { ranges: [[{ subnet: standIn }]] } };
  return JSON.stringify({ ...conflist, plugins: [trial, ...others] });
}

/**
 * The programs to be put in place: the client, what it falls back on, and the loopback plugin if it is wanted and missing, or ours
 * already.
 */
export async function programsOf(
  flags: InstallFlags,
  { isOurs, isThere }: Record<"isOurs" | "isThere", (path: string) => Promise<boolean>>,
): Promise<WantedFile[]> {
  const { binDir, runtime, loopback } = flags;
  const bytes = await readFile(await clientPath(flags.client));
  const beside = {
    path: join(binDir, ".trivet-standalone"),
    bytes: Buffer.from(`${runtime}\n`),
    mode: TEXT_MODE,
  };
  const files = [{ path: join(binDir, "trivet"), bytes, mode: PROGRAM_MODE }, beside];
  const path = join(binDir, "loopback");
  const wanted = (loopback && !(await isThere(path))) || (await isOurs(path));
  if (wanted) files.push({ path, bytes, mode: PROGRAM_MODE });
  return files;
}

export const conflistFile = (flags: InstallFlags, text: string): WantedFile => ({
  path: join(flags.confDir, conflistName),
  bytes: Buffer.from(text),
  mode: TEXT_MODE,
});

/** As the client's build names processors. */
const architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** In a checkout `make cni` builds it; beside a bundle it lies in a directory of its own. */
async function clientPath(given: string | undefined): Promise<string> {
  const names = [`cni/trivet-${architecture}`, "cni/trivet", "dist/cni/trivet"];
  const candidates = given ? [given] : names.map((path) => join(packageRoot, path));
  for (const path of candidates) {
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  const remedy = given
    ? "give the path of the static client"
    : "build it with 'make cni', or name it with --client";
  throw invalid("--client", `the static client is not at ${candidates.join(" or ")}: ${remedy}`);
}
