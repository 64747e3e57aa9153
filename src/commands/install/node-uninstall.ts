/**
 * `trivet uninstall`: takes everything away that `trivet install` and its neighbours put on this node, and puts back what was there before.
 * In the order in which it is needed: the kubelet first, then the proxy, the pod network, the runtime; volumes never, unless told to.
 */
import { join } from "node:path";
import type { Command } from "commander";
import { ruleTable } from "../../cni/datapath/rule-table.ts";
import { recordPath } from "../../cni/install/files.ts";
import { TrivetError } from "../../errors.ts";
import { createNft } from "../../host/nft.ts";
import { createSyscalls } from "../../host/syscall.ts";
import type { Owner } from "../../install/entries.ts";
import { forgetWiring, readWiring } from "../../install/kubelet/record.ts";
import { unwireKubelet } from "../../install/kubelet/wire.ts";
import { removeLock } from "../../install/lock.ts";
import type { Restored } from "../../install/restore.ts";
import { formatState, ifThere } from "../../install/state.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import {
  addSystemOptions,
  openSystem,
  progress,
  type System,
  type SystemFlags,
  withSystem,
} from "./context.ts";
import { findUsers, type Users } from "./in-use.ts";
import { createKubeletDeps, guardLog } from "./kubelet-deps.ts";
import { removeNetwork } from "./network-removal.ts";
import { policyDirectory, settingsPath } from "./node-settings.ts";
import { removeOwnDirectories } from "./own-directories.ts";

interface UninstallFlags extends SystemFlags {
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly deleteData?: boolean;
}

/** Adds flags and action to `trivet uninstall` itself. */
export function defineUninstallNode(command: Command): void {
  command
    .enablePositionalOptions()
    .option("--force", "although pods use it, and also over files that somebody changed since")
    .option("--delete-data", "also the state directory, with the volumes of the default pool: they are lost")
    .option("--dry-run", "only say what would be done");
  addSystemOptions(command);
  command.addHelpText(
    "after",
    `
Remove the DaemonSet and drain the node first: while pods use a volume or an address of Trivet, nothing is done. Volumes and pools stay
on their disks. Each path is read again after it was restored, and the table says what it is now. A file that somebody changed since
it was installed is named and kept; the exit code is then 1.`,
  );
  command.action(runUninstall);
}

type Rows = string[][];

async function runUninstall(flags: UninstallFlags): Promise<void> {
  const rows: Rows = [];
  const uninstall = async (system: System) => {
    try {
      await takeAway(system, flags, rows);
    } finally {
      if (rows.length > 0) print(formatTable(["PART", "WHAT", "OUTCOME"], rows));
    }
    summarize(rows, flags);
  };
  if (flags.dryRun) await uninstall(await openSystem(flags));
  else await withSystem(flags, uninstall);
}

function summarize(rows: Rows, { dryRun }: UninstallFlags): void {
  if (rows.length === 0) print("nothing is recorded as installed\n");
  if (rows.length === 0 || dryRun) return;
  const kept = rows.filter(([, , outcome]) => outcome?.startsWith("kept: it was changed")).length;
  if (kept > 0) process.exitCode = 1;
  print(
    kept === 0
      ? "every path is as it was before\n"
      : `${kept} to be looked at; --force restores what was there before\n`,
  );
}

async function takeAway(system: System, flags: UninstallFlags, rows: Rows): Promise<void> {
  const { root, journal } = system;
  const { dryRun, force } = flags;
  const users = root === "/" ? await findUsers() : undefined;
  if (users) refuseWhileUsed(users, force === true, rows);
  const restore = async (owner: Owner) => {
    const restored = await journal.restore({ owner, force, dryRun });
    rows.push(...restored.map((one) => [owner, one.path, describe(one, dryRun === true)]));
    return restored;
  };
  await takeOutKubelet(system, flags, { rows, restore });
  await takeOutProxy(system, flags, { rows, restore });
  await takeOutNetwork(system, flags, rows);
  await restore("runtime");
  await takeOutData(system, flags, rows);
  const own = await removeOwnDirectories(system.files, dryRun === true);
  rows.push(...own.map(({ path, outcome }) => ["", path, outcome]));
  if (dryRun) return;
  // Sockets and leases of nobody: the next boot would take them away as well.
  if (users && usesOf(users).length === 0) await ifThere(system.files.removeTree("/run/trivet"));
  if (root === "/") await ifThere(system.files.unlink(guardLog));
  const directories = await journal.finish();
  rows.push(...directories.map((path) => ["", path, "kept: others have put something there"]));
  await removeLock(system.files, system.stateDir);
}

const usesOf = ({ volumes, pods, processes }: Users): string[] => [
  ...volumes.map((path) => `the volume at ${path}`),
  ...pods.map((pod) => `the network of pod ${pod}`),
  ...processes,
];

/** With force it is said what will break. */
function refuseWhileUsed(users: Users, force: boolean, rows: Rows): void {
  const all = usesOf(users);
  if (force) rows.push(...all.map((what) => ["", what, "in use, and given up by --force"]));
  if (force || all.length === 0) return;
  const message = `Trivet is in use on this node: ${all.join("; ")}. Remove the DaemonSet and drain the node, or give --force`;
  throw new TrivetError({ kind: "precondition", op: "uninstall", subject: "node", message });
}

interface Parts {
  readonly rows: Rows;
  restore(owner: Owner): Promise<Restored[]>;
}

function describe({ outcome, before, now }: Restored, dryRun: boolean): string {
  if (outcome === "changed")
    return `kept: it was changed since; before us it was ${shortly(formatState(before))}`;
  if (outcome === "same") return `as it was before: ${shortly(formatState(now))}`;
  if (dryRun) return `would be ${outcome}`;
  return outcome === "removed" ? "removed" : `restored: ${shortly(formatState(now))}`;
}

/** As much of a digest as a reader compares. */
const shortly = (state: string) => state.replace(/([0-9a-f]{16})[0-9a-f]{48}$/, "$1...");

/** First: while the kubelet may still use the proxy, that must stay. */
async function takeOutKubelet(
  system: System,
  flags: UninstallFlags,
  { rows, restore }: Parts,
): Promise<void> {
  const { journal, stateDir, root } = system;
  const { dryRun, force = false } = flags;
  const isRecorded = (await journal.entries()).some(({ owner }) => owner === "kubelet");
  // After a bypass its files are as they were, but one that was not restarted has not read them.
  if (!isRecorded && !(await readWiring(system))) return;
  if (dryRun || root !== "/") {
    await restore("kubelet");
    if (!dryRun) await forgetWiring(system);
    return;
  }
  const deps = createKubeletDeps(stateDir, progress);
  const done = await unwireKubelet(deps, { force }).catch((error: Error) => error);
  if (done instanceof Error) return giveUpKubelet(system, { rows, restore }, { force, error: done });
  const { restored, kept, verdict } = done;
  rows.push(...restored.map((one) => ["kubelet", one.path, describe(one, false)]));
  rows.push(["kubelet", "kubelet", verdict.isWell ? "healthy, as it was before" : verdict.reason]);
  if (kept.length === 0 && (verdict.isWell || force)) return;
  const why = verdict.isWell
    ? `${kept.join(", ")} was changed since, and may name the proxy`
    : verdict.reason;
  const message = `the kubelet is not out from behind the proxy: ${why}. Nothing else was taken away: mend that, then run this again`;
  throw new TrivetError({ kind: "precondition", op: "uninstall.kubelet", subject: "kubelet", message });
}

/** A node may have no kubelet any more, after `kubeadm reset`: nothing would ever restart it. */
async function giveUpKubelet(
  system: System,
  { rows, restore }: Parts,
  { force, error }: { readonly force: boolean; readonly error: Error },
): Promise<void> {
  if (!force) {
    const message = `the kubelet could not be restarted: ${error.message}. Nothing else was taken away: mend that, or give --force where this node has no kubelet any more`;
    throw new TrivetError({
      kind: "precondition",
      op: "uninstall.kubelet",
      subject: "kubelet",
      message,
      cause: error,
    });
  }
  await restore("kubelet");
  await forgetWiring(system);
  rows.push(["kubelet", "kubelet", `given up by --force: ${error.message}`]);
}

async function takeOutProxy(system: System, flags: UninstallFlags, { rows, restore }: Parts): Promise<void> {
  const { journal, services, root } = system;
  const isInstalled = (await journal.entries()).some(({ owner }) => owner === "units");
  if (!isInstalled) return;
  const runs = root === "/";
  if (runs && !flags.dryRun) rows.push(["units", "proxy", await services.stop()]);
  const restored = await restore("units");
  const edited = restored.filter(({ path, outcome }) => path === settingsPath && outcome === "changed");
  if (edited.length > 0) {
    // An administrator's settings are no damage.
    const row = rows.find(([, path]) => path === settingsPath);
    row?.splice(2, 1, "kept: it was edited, and is yours; --force removes it");
    if (!flags.dryRun) await journal.forget([settingsPath]);
  }
  if (runs && !flags.dryRun) rows.push(["units", "service manager", await services.reloadDefinitions()]);
}

async function takeOutNetwork(system: System, flags: UninstallFlags, rows: Rows): Promise<void> {
  const { restored, needed } = await removeNetwork(system, flags);
  rows.push(...restored.map((one) => ["cni", one.path, describe(one, flags.dryRun === true)]));
  rows.push(...needed.map((path) => ["cni", path, "kept: the conflist that was changed names it"]));
  if (flags.dryRun) return;
  if (needed.length > 0) {
    // What they start lies in the runtime.
    const message =
      "the conflist that was changed stays, and so do the plugin that it names and the runtime: put another one in its place, remove it or give --force, then run this again";
    throw new TrivetError({ kind: "precondition", op: "uninstall.cni", subject: "conflist", message });
  }
  if (system.root !== "/" || restored.length === 0) return;
  await createNft(createSyscalls()).removeTable(ruleTable);
  rows.push(["cni", `nft table ${ruleTable}`, "removed"]);
}

async function takeOutData({ files, stateDir }: System, flags: UninstallFlags, rows: Rows): Promise<void> {
  const listed = (await ifThere(files.list(stateDir))) ?? [];
  const data = listed.map(({ name }) => name).filter((name) => name !== "install");
  for (const name of data) {
    const path = join(stateDir, name);
    // A dry run finds what the network's part would have taken away by now.
    if (flags.dryRun && path === recordPath(stateDir)) continue;
    if (!flags.deleteData) rows.push(["data", path, "kept: --delete-data removes it"]);
    else if (flags.dryRun) rows.push(["data", path, "would be removed"]);
    else {
      await files.removeTree(path);
      rows.push(["data", path, "removed"]);
    }
  }
  if (flags.deleteData && !flags.dryRun) await ifThere(files.removeTree(policyDirectory));
}
