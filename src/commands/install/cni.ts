/** `trivet install cni`: the static client and the conflist onto this node, after both have been tried. */
import { basename, dirname, join } from "node:path";
import type { Command } from "commander";
import { parseNetwork } from "../../cni/install/chain.ts";
import { conflistName } from "../../cni/install/conflist.ts";
import {
  isForeign,
  isOurs,
  lookAtFile,
  putFile,
  readRecord,
  recordFiles,
  type WantedFile,
} from "../../cni/install/files.ts";
import { judgeNeighbours, type Neighbour } from "../../cni/install/neighbours.ts";
import { type TrialDeps, tryNetwork } from "../../cni/install/self-test.ts";
import { readPodCidrs } from "../../cni/ipam/pod-cidrs.ts";
import { defaultStateDir as defaultLeaseDir, defaultSocket } from "../../cni/protocol/defaults.ts";
import { nullIfAbsent } from "../../cni/state/guard.ts";
import { defaultStateDir } from "../../config/node.ts";
import { TrivetError } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import {
  addCniOptions,
  conflistFile,
  conflistOf,
  type InstallFlags,
  programsOf,
  trialOf,
  withAbsolutePaths,
} from "./cni-options.ts";
import { openSystem, type System, withSystem } from "./context.ts";
import { createTrialDeps } from "./trial-deps.ts";

/** Adds the subcommand to `trivet install`. */
export function defineInstallCni(command: Command): void {
  const subcommand = command
    .command("cni")
    .description("put the CNI plugin and its conflist where the container runtime looks for them")
    .option("--state-dir <dir>", "where it is remembered what was written", defaultStateDir)
    .option("--dry-run", "only say what would be done");
  addCniOptions(subcommand);
  subcommand
    .addHelpText(
      "after",
      `
The order is: ADD, CHECK and DEL with the new programs and the very conflist in a namespace of its own, then the programs, then the
conflist. What has the right content is left alone, so that it can be run again at any time. 'trivet uninstall cni' takes it back.

Example:
  trivet install cni --subnet 10.244.3.0/24 --subnet fd00:3::/64`,
    )
    .action(runInstall);
}

async function runInstall(flags: InstallFlags): Promise<void> {
  const system = { root: "/", stateDir: flags.stateDir, serviceManager: "none" } as const;
  const install = async (on: CniSystem) => {
    const rows: string[][] = [];
    try {
      const { warnings } = await installCni(flags, on, rows);
      return warnings;
    } finally {
      if (rows.length > 0) print(formatTable(["FILE", "OUTCOME"], rows));
    }
  };
  const warnings = flags.dryRun ? await install(await openSystem(system)) : await withSystem(system, install);
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
}

/** What the installation of the network needs of the system. */
export type CniSystem = Pick<System, "files" | "journal">;

/** Fills `rows` as it goes on, so that they say how far it came. Gives what an administrator should know. */
export async function installCni(
  given: InstallFlags,
  { files, journal }: CniSystem,
  rows: string[][],
): Promise<{ readonly warnings: readonly string[] }> {
  const flags = withAbsolutePaths(given);
  const { trial } = await createTrialDeps();
  const record = await readRecord(files, flags.stateDir);
  const conflist = await conflistToBe(files, flags, record);
  const there = (path: string) => isThere(files, path);
  const programs = await programsOf(flags, {
    isOurs: (path) => isOurs(files, record, path),
    isThere: there,
  });
  const wanted = [...programs, conflist];
  const looks = await Promise.all(wanted.map((file) => lookAtFile(files, file)));
  if (!flags.selfTest || looks.every((outcome) => outcome === "unchanged"))
    rows.push(["self-test", "not run"]);
  else if (flags.dryRun) rows.push(["self-test", "would be run"]);
  else {
    await journal.makeDirectory(flags.binDir);
    const known = await readPodCidrs(files, flags.leaseDir ?? defaultLeaseDir).catch(() => undefined);
    const text = Buffer.from(conflist.bytes).toString("utf8");
    const bytes = Buffer.from(known ? text : trialOf(text));
    await tryBeside(flags.binDir, { files, trial, programs, conflist: { ...conflist, bytes } });
    rows.push(["self-test", "ADD, CHECK and DEL went well"]);
  }
  if (!flags.dryRun) {
    // What was there before, for the day on which ours goes. That ours may be overwritten was decided above.
    for (const { path, bytes, mode } of wanted) {
      await journal.keep({ path, content: bytes, mode, owner: "cni", force: true });
    }
    // Without its record nothing could be taken back.
    await recordFiles(files, flags.stateDir, wanted);
  }
  for (const file of wanted) {
    const outcome = await (flags.dryRun ? lookAtFile : putFile)(files, file);
    rows.push([file.path, flags.dryRun && outcome !== "unchanged" ? `would be ${outcome}` : outcome]);
  }
  return { warnings: await warningsFor(flags, files) };
}

/** The conflist by the flags, or the edited one that is there. Throws kind `conflict` where nobody has said which. */
async function conflistToBe(
  files: Files,
  flags: InstallFlags,
  record: ReadonlyMap<string, string>,
): Promise<WantedFile> {
  const conflist = conflistFile(flags, conflistOf(flags));
  const { path } = conflist;
  if (flags.edited === "replace" || !(await isForeign(files, record, conflist))) return conflist;
  if (flags.edited === "keep") {
    return { path, bytes: await files.read(path), mode: (await files.stat(path)).mode & 0o777 };
  }
  throw new TrivetError({
    kind: "conflict",
    op: "install.conflist",
    subject: path,
    message: `${path} was edited, or is another's: give --edited keep to leave it so, or --edited replace`,
  });
}

interface Trial {
  readonly files: Files;
  readonly trial: TrialDeps;
  readonly programs: readonly WantedFile[];
  readonly conflist: WantedFile;
}

/** With the programs in a directory of their own: those that pods start and stop with are replaced only when the new ones work. */
async function tryBeside(binDir: string, { files, trial, programs, conflist }: Trial): Promise<void> {
  const directory = join(binDir, ".trivet-trial");
  const network = parseNetwork(Buffer.from(conflist.bytes).toString("utf8"), conflist.path);
  try {
    for (const program of programs) {
      await putFile(files, { ...program, path: join(directory, basename(program.path)) });
    }
    await tryNetwork(trial, network, [directory, binDir]);
  } finally {
    await nullIfAbsent(files.removeTree(directory));
  }
}

async function warningsFor(flags: InstallFlags, files: Files): Promise<string[]> {
  const { binDir, confDir, runtime, socket = defaultSocket } = flags;
  const warnings = judgeNeighbours(await neighboursIn(files, confDir), conflistName);
  const isGiven = flags.dryRun && flags.loopback;
  if (!isGiven && !(await isThere(files, join(binDir, "loopback")))) {
    warnings.push(
      `${binDir} has no plugin loopback, without which containerd starts no pod: run this with --loopback`,
    );
  }
  // In a dry run what other parts of the same run put there is missing.
  if (flags.dryRun) return warnings;
  if (!(await isThere(files, runtime))) {
    warnings.push(
      `${runtime} is not there: while the agent is away pods can neither start nor stop; see --runtime`,
    );
  }
  if (!(await isThere(files, dirname(socket)))) {
    warnings.push(
      `${dirname(socket)} is not there yet: 'trivet node' makes it, and until then each call is done standalone`,
    );
  }
  return warnings;
}

async function neighboursIn(files: Files, directory: string): Promise<Neighbour[]> {
  const listed = await files.list(directory).catch(() => []);
  const read = listed.map(async ({ name }) => ({
    name,
    text: (await files.read(join(directory, name)).catch(() => Buffer.alloc(0))).toString("utf8"),
  }));
  return Promise.all(read);
}

/** Links are followed: a plugin may be one. */
const isThere = async (files: Files, path: string) =>
  (await nullIfAbsent(files.realPath(path).then((real) => files.stat(real)))) !== undefined;
