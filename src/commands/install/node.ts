/**
 * `trivet install`: the runtime, the proxy's units and the CNI plugin onto this node. The order is that of trust: the new runtime is tried
 * before anything uses it, the proxy hands over to it, and only then the pod network changes, its conflist last. Run again, it changes
 * nothing, or completes what was cut off.
 */
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { TrivetError } from "../../errors.ts";
import { execOrThrow } from "../../host/exec.ts";
import { packageRoot } from "../../host/package-root.ts";
import type { Outcome } from "../../install/journal.ts";
import { readRelease } from "../../install/release.ts";
import {
  currentLink,
  placeRelease,
  readLinks,
  removeOldReleases,
  runtimeRoot,
  switchBack,
  switchTo,
} from "../../install/runtime.ts";
import { putUnits, readUnits } from "../../install/units.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { installCni } from "./cni.ts";
import { addCniOptions, type CniFlags, conflistOf } from "./cni-options.ts";
import {
  addSystemOptions,
  openSystem,
  progress,
  type System,
  type SystemFlags,
  withSystem,
} from "./context.ts";
import { copyFromPod } from "./from-pod.ts";
import { installSettings, settingsPath, upstreamPath } from "./node-settings.ts";
import { isReleaseRun, runningProxies } from "./running.ts";

const components = ["runtime", "cri", "cni"] as const;
type Component = (typeof components)[number];

export interface InstallFlags extends SystemFlags, CniFlags {
  readonly components?: readonly Component[];
  readonly without?: readonly Component[];
  readonly bundle?: string;
  readonly upstream?: string;
  readonly fromPod?: boolean;
  readonly hostPid?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

/** Adds flags and action to `trivet install` itself. */
export function defineInstallNode(command: Command): void {
  command
    .enablePositionalOptions()
    .option("--components <list>", `some of ${components.join(",")} (default: all)`, parseComponents)
    .option("--without <part>", "leave a part out; may be repeated", addPart)
    .option("--bundle <dir>", "the bundle to install (default: the one that this program is part of)")
    .option(
      "--upstream <address>",
      "the container runtime's socket, unix:///PATH (default: the one that is there)",
    )
    .option("--from-pod", "this runs in a pod with hostPID: install onto its node")
    .option(
      "--host-pid <pid>",
      "with --from-pod: a process that sees the node as it is (default: the first one, or what started this container)",
    )
    .option("--force", "overwrite files of the installation that somebody changed since")
    .option("--dry-run", "only say what would be done");
  addSystemOptions(command);
  command.optionsGroup("Options of the pod network:");
  addCniOptions(command);
  command.addHelpText(
    "after",
    `
What is there already is left alone, so that it can be run again at any time; a newer version takes over from an older one
under load. The kubelet is told of the proxy by a step of its own, 'trivet install kubelet'. 'trivet rollback' goes back to
the version before, 'trivet uninstall' takes everything away and restores what was there.

Example:
  trivet install --subnet 10.244.3.0/24`,
  );
  command.action((flags: InstallFlags) => runInstall(flags));
}

function parseComponents(value: string): Component[] {
  const wanted = value.split(",").filter(Boolean);
  const known = components.filter((component) => wanted.includes(component));
  if (known.length === new Set(wanted).size && known.length > 0) return known;
  const message = `--components is "${value}": it must be some of ${components.join(",")}`;
  throw new TrivetError({ kind: "invalid", op: "install.options", subject: "--components", message });
}

function addPart(value: string, before: readonly Component[] = []): Component[] {
  const known = components.find((component) => component === value);
  if (known) return [...before, known];
  const message = `--without is "${value}": it must be one of ${components.join(", ")}`;
  throw new TrivetError({ kind: "invalid", op: "install.options", subject: "--without", message });
}

type Rows = string[][];

const wantedOf = ({ components: given = components, without = [] }: InstallFlags): readonly Component[] =>
  given.filter((component) => !without.includes(component));

async function runInstall(flags: InstallFlags): Promise<void> {
  // Every mistake in the settings before anything is changed.
  if (wantedOf(flags).includes("cni")) conflistOf(flags);
  if (flags.upstream !== undefined) upstreamPath(flags.upstream);
  if (flags.fromPod) return copyFromPod(flags, bundleOf(flags));
  const rows: Rows = [];
  const wanted = wantedOf(flags);
  const install = async (system: System) => {
    try {
      if (wanted.includes("runtime")) await installRuntime(system, flags, rows);
      if (wanted.includes("cri")) await installProxy(system, flags, rows);
      if (wanted.includes("cni")) await installNetwork(system, flags, rows);
      if (!flags.dryRun) await removeOld(system, rows);
    } finally {
      if (rows.length > 0) print(formatTable(["PART", "WHAT", "OUTCOME"], rows));
    }
  };
  if (flags.dryRun) await install(await openSystem(flags));
  else await withSystem(flags, install);
  if (rows.every(([, , outcome]) => isQuiet(outcome))) print("nothing was to be done\n");
}

const quiet = ["unchanged", "active", "not run", "kept"];
const isQuiet = (outcome: string | undefined) => quiet.some((word) => outcome?.startsWith(word));

/** In a checkout `make bundle` builds it. */
export function bundleOf({ bundle }: Pick<InstallFlags, "bundle">): string {
  if (bundle !== undefined) return resolve(bundle);
  return packageRoot.endsWith("/dist/trivet") || !isCheckout ? packageRoot : join(packageRoot, "dist/trivet");
}

/** Sources run as such; a bundle has none. */
const isCheckout = import.meta.filename.endsWith(".ts");

const said = (outcome: Outcome, flags: InstallFlags) =>
  flags.dryRun && outcome !== "unchanged" ? `would be ${outcome}` : outcome;

async function installRuntime(system: System, flags: InstallFlags, rows: Rows): Promise<void> {
  const { files, ownFiles, journal } = system;
  const { dryRun, force } = flags;
  const bundle = bundleOf(flags);
  const release = await readRelease({ files: ownFiles, bundle, node: process.execPath });
  if (!dryRun) progress(`looking for ${release.version} in ${runtimeRoot}, and copying it there if need be`);
  const placed = await placeRelease({ files, journal }, { source: ownFiles, release, dryRun });
  const directory = join(runtimeRoot, placed.name);
  rows.push(["runtime", directory, said(placed.outcome, flags)]);
  if (!dryRun && system.root === "/") await tryRuntime(system, directory);
  for (const name of ["bypass", "supervise"]) {
    const path = join(runtimeRoot, name);
    const content = await ownFiles.read(join(bundle, "daemonset/host", name));
    const file = { path, content, mode: 0o755, owner: "runtime", force } as const;
    rows.push([
      "runtime",
      path,
      said(dryRun ? await journal.look(file) : await journal.replace(file), flags),
    ]);
  }
  const link = { path: currentLink, target: placed.name, owner: "runtime" } as const;
  const outcome = dryRun ? await journal.lookLink(link) : await switchTo({ files, journal }, placed.name);
  rows.push(["runtime", `${currentLink} -> ${placed.name}`, said(outcome, flags)]);
}

/** Where it does not start, what is in use stays in use. */
async function tryRuntime({ exec }: System, directory: string): Promise<void> {
  const argv = [join(directory, "bin/trivet"), "version"] as const;
  await execOrThrow(exec, argv, { timeoutMs: 60_000 }).catch((error: Error) => {
    const advice = `the runtime needs a glibc of 2.28 or newer and libstdc++ on the node, and ${runtimeRoot} a file system that is not mounted noexec`;
    const message = `${directory} does not start on this node, and is not used: ${error.message}; ${advice}`;
    throw new TrivetError({
      kind: "unsupported",
      op: "install.runtime",
      subject: directory,
      message,
      cause: error,
    });
  });
}

async function installProxy(system: System, flags: InstallFlags, rows: Rows): Promise<void> {
  const { ownFiles, journal, services, root } = system;
  const { dryRun, force } = flags;
  rows.push(["cri", settingsPath, await installSettings(system, flags, bundleOf(flags))]);
  const carried = join(bundleOf(flags), "daemonset");
  let changed = false;
  if (services.kind === "systemd" || root !== "/") {
    const units = await readUnits(ownFiles, join(carried, "systemd"));
    for (const { path, outcome } of await putUnits({ journal, units, force, dryRun })) {
      rows.push(["cri", path, said(outcome, flags)]);
      changed ||= outcome !== "unchanged";
    }
  } else if (services.kind === "openrc") {
    const content = await ownFiles.read(join(carried, "host/openrc-trivet-cri"));
    const path = "/etc/init.d/trivet-cri";
    const file = { path, content, mode: 0o755, owner: "units", force } as const;
    rows.push(["cri", path, said(dryRun ? await journal.look(file) : await journal.replace(file), flags)]);
    const link = { path: "/etc/runlevels/default/trivet-cri", target: path, owner: "units", force } as const;
    const linked = dryRun ? await journal.lookLink(link) : await journal.link(link);
    rows.push(["cri", link.path, said(linked, flags)]);
  }
  if (dryRun) return;
  if (root !== "/") rows.push(["cri", "proxy", "not run: this is not the running system"]);
  else await startProxy(system, rows, changed);
}

/** What is done follows from what runs, not from what this run has changed: an earlier one may have been killed, or have left this to us. */
async function startProxy(system: System, rows: Rows, changed: boolean): Promise<void> {
  const { services, files, journal } = system;
  if (changed || (await services.hasOldDefinitions())) {
    rows.push(["cri", "service manager", await services.reloadDefinitions()]);
  }
  const { current, previous } = await readLinks(files);
  const running = await runningProxies();
  const isActive = await services.isActive();
  rows.push(["cri", "proxy", await services.start()]);
  if (!isActive || current === undefined || (running.has(current) && !changed)) return;
  progress(`the proxy hands over to ${current}`);
  try {
    rows.push(["cri", "proxy", await services.reload()]);
  } catch (error) {
    // The next start, by a crash or a boot, must not be of a version that does not get ready.
    if (previous !== undefined && !running.has(current) && running.has(previous)) {
      rows.push(["runtime", currentLink, `back to ${(await switchBack({ files, journal })).to}`]);
    }
    const message = `the proxy did not hand over, and serves on as before: ${(error as Error).message}`;
    const about = { op: "install.reload", subject: "trivet-cri", message, cause: error };
    throw new TrivetError({ kind: "unavailable", ...about });
  }
}

async function installNetwork(system: System, flags: InstallFlags, rows: Rows): Promise<void> {
  const done: Rows = [];
  try {
    const selfTest = flags.selfTest && system.root === "/";
    if (selfTest && !flags.dryRun) progress("trying the pod network in a namespace of its own");
    const { warnings } = await installCni({ ...flags, selfTest }, system, done);
    for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  } finally {
    rows.push(...done.map(([what = "", outcome = ""]) => ["cni", what, outcome]));
  }
}

async function removeOld({ files, journal }: System, rows: Rows): Promise<void> {
  if ((await readLinks(files)).current === undefined) return;
  const removed = await removeOldReleases({ files, journal }, isReleaseRun);
  rows.push(
    ...removed.map((name) => ["runtime", join(runtimeRoot, name), "removed: neither current nor previous"]),
  );
}
