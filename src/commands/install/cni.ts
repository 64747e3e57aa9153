/** `trivet install cni`: the static client and the conflist onto this node, after both have been tried. */
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Command, Option } from "commander";
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
import { defaultSocket } from "../../cni/protocol/defaults.ts";
import { nullIfAbsent } from "../../cni/state/guard.ts";
import { defaultStateDir } from "../../config/node.ts";
import { TrivetError } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import {
  conflistFile,
  conflistOf,
  type InstallFlags,
  isThere,
  programsOf,
  withAbsolutePaths,
} from "./cni-options.ts";
import { createTrialDeps } from "./trial-deps.ts";

export const defaultBinDir = "/opt/cni/bin";
export const defaultConfDir = "/etc/cni/net.d";
const defaultRuntime = "/opt/trivet/current/bin/trivet";

const list = (value: string, before: string[] | undefined) => [...(before ?? []), value];

/** Adds the subcommand to `trivet install`. */
export function defineInstallCni(command: Command): void {
  command
    .command("cni")
    .description("put the CNI plugin and its conflist where the container runtime looks for them")
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
    .option("--state-dir <dir>", "where it is remembered what was written", defaultStateDir)
    .option("--no-self-test", "do not try the network on a namespace before anything is changed")
    .addOption(
      new Option("--edited <what>", "what to do with a conflist that was edited, or is another's").choices([
        "keep",
        "replace",
      ]),
    )
    .option("--dry-run", "only say what would be done")
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

async function runInstall(given: InstallFlags): Promise<void> {
  const flags = withAbsolutePaths(given);
  const { files, trial } = await createTrialDeps();
  const record = await readRecord(files, flags.stateDir);
  const conflist = await conflistToBe(files, flags, record);
  const programs = await programsOf(flags, (path) => isOurs(files, record, path));
  const put = (wanted: WantedFile) => (flags.dryRun ? lookAtFile(files, wanted) : putFile(files, wanted));
  const looks = await Promise.all([...programs, conflist].map((wanted) => lookAtFile(files, wanted)));
  const rows: string[][] = [];
  const tell = async (wanted: WantedFile) => {
    const outcome = await put(wanted);
    rows.push([wanted.path, flags.dryRun && outcome !== "unchanged" ? `would be ${outcome}` : outcome]);
  };
  try {
    if (!flags.selfTest || looks.every((outcome) => outcome === "unchanged"))
      rows.push(["self-test", "not run"]);
    else if (flags.dryRun) rows.push(["self-test", "would be run"]);
    else {
      await tryBeside(flags.binDir, { files, trial, programs, conflist });
      rows.push(["self-test", "ADD, CHECK and DEL went well"]);
    }
    // Without its record nothing could be taken back.
    if (!flags.dryRun) await recordFiles(files, flags.stateDir, [...programs, conflist]);
    for (const wanted of [...programs, conflist]) await tell(wanted);
  } finally {
    if (rows.length > 0) print(formatTable(["FILE", "OUTCOME"], rows));
  }
  for (const warning of await warningsFor(flags)) process.stderr.write(`warning: ${warning}\n`);
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

async function warningsFor(flags: InstallFlags): Promise<string[]> {
  const { binDir, confDir, runtime, socket = defaultSocket } = flags;
  const warnings = judgeNeighbours(await neighboursIn(confDir), conflistName);
  if (!(await isThere(join(binDir, "loopback")))) {
    warnings.push(
      `${binDir} has no plugin loopback, without which containerd starts no pod: run this with --loopback`,
    );
  }
  if (!(await isThere(runtime))) {
    warnings.push(
      `${runtime} is not there: while the agent is away pods can neither start nor stop; see --runtime`,
    );
  }
  if (!(await isThere(dirname(socket)))) {
    warnings.push(
      `${dirname(socket)} is not there yet: 'trivet node' makes it, and until then each call is done standalone`,
    );
  }
  return warnings;
}

async function neighboursIn(directory: string): Promise<Neighbour[]> {
  const names = await readdir(directory).catch(() => []);
  const read = names.map(async (name) => ({
    name,
    text: await readFile(join(directory, name), "utf8").catch(() => ""),
  }));
  return Promise.all(read);
}
