/**
 * `trivet network test`: runs a network's plugins, ours or others', through ADD, CHECK and DEL in a namespace of its own, and shows what
 * each step changed. What is different in the end was left behind.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { parseNetwork } from "../../cni/install/chain.ts";
import { conflistName } from "../../cni/install/conflist.ts";
import { type Change, changesBetween, type Picture } from "../../cni/install/picture.ts";
import { tryNetwork } from "../../cni/install/self-test.ts";
import { TrivetError } from "../../errors.ts";
import type { Exec } from "../../host/exec.ts";
import { defaultBinDir, defaultConfDir } from "../install/cni-options.ts";
import { createTrialDeps } from "../install/trial-deps.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";

interface TestFlags {
  readonly conflist: string;
  readonly pluginDir?: readonly string[];
  readonly watch?: readonly string[];
  readonly output: string;
}

/** Where plugins keep their state. */
const stateDirectories = ["/run/trivet/cni", "/var/lib/cni"];
const TIMEOUT_MS = 10_000;

const list = (value: string, before: string[] | undefined) => [...(before ?? []), value];

/** Adds the subcommand to `trivet network`. */
export function defineTest(command: Command): void {
  command
    .command("test")
    .description("run a network through ADD, CHECK and DEL in a namespace of its own, and show what changes")
    .option(
      "--conflist <file>",
      "a .conflist or a .conf, ours or another's",
      join(defaultConfDir, conflistName),
    )
    .option("--plugin-dir <dir>", `where its plugins are, may be repeated (default: ${defaultBinDir})`, list)
    .option(
      "--watch <dir>",
      `a directory whose files count, may be repeated (beside ${stateDirectories.join(", ")})`,
      list,
    )
    .addOption(
      command
        .createOption("-o, --output <format>", "table or json")
        .choices(["table", "json"])
        .default("table"),
    )
    .addHelpText(
      "after",
      `
The exit code is 0 if every step went well and DEL left nothing, otherwise 1. What a plugin makes once for all pods, such as a
bridge or a table of rules, is there after the first run and no leak in the second.

Example:
  trivet network test --conflist /etc/cni/net.d/10-bridge.conflist --plugin-dir /usr/lib/cni`,
    )
    .action(runTest);
}

interface StepReport {
  readonly step: string;
  readonly ms: number;
  readonly changes: readonly Change[];
}

async function runTest({
  conflist,
  pluginDir = [defaultBinDir],
  watch = [],
  output,
}: TestFlags): Promise<void> {
  const network = parseNetwork(await readConflist(conflist), conflist);
  const { exec, trial } = await createTrialDeps();
  const directories = [...stateDirectories, ...watch];
  const steps: StepReport[] = [];
  let first: Picture | undefined;
  let last: Picture = {};
  let failure: string | undefined;
  let since = performance.now();
  const onStep: NonNullable<typeof trial.onStep> = async ({ command }, { path }) => {
    const ms = performance.now() - since;
    const now = await takePicture(exec, path.split("/").at(-1) ?? "", directories);
    if (first) steps.push({ step: command, ms, changes: changesBetween(last, now) });
    first ??= now;
    last = now;
    since = performance.now();
  };
  await tryNetwork({ ...trial, onStep }, network, pluginDir).catch((error: unknown) => {
    if (!(error instanceof TrivetError)) throw error;
    failure = error.message;
  });
  const left = first && !failure ? changesBetween(first, last).filter(isLeft) : [];
  const { name, cniVersion } = network;
  if (output === "json")
    print(`${JSON.stringify({ network: name, cniVersion, steps, failure, left }, null, 2)}\n`);
  else print(report(`${name} (${cniVersion})`, { steps, failure, left }));
  if (failure !== undefined || left.length > 0) process.exitCode = 1;
}

/** The loopback stays up until the namespace goes: any other plugin of the pod may count on it. */
const isLeft = ({ part, line }: Change): boolean => !(part.startsWith("pod ") && /^lo[: ]/.test(line));

async function readConflist(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const message = `--conflist: ${path} cannot be read: ${(error as Error).message}`;
    throw new TrivetError({ kind: "invalid", op: "conflist.read", subject: path, message });
  }
}

/** What the programs of the host show; where one is missing, that part is empty. */
async function takePicture(exec: Exec, namespace: string, directories: readonly string[]): Promise<Picture> {
  const lines = async (...argv: [string, ...string[]]) => {
    const shown = await exec(argv, { timeoutMs: TIMEOUT_MS }).catch(() => undefined);
    return shown?.exitCode === 0 ? shown.stdout.split("\n") : [];
  };
  const files = await Promise.all(directories.map(filesBelow));
  return {
    "pod link": await lines("ip", "-n", namespace, "-o", "link"),
    "pod address": await lines("ip", "-n", namespace, "-o", "address"),
    "pod route": [
      ...(await lines("ip", "-n", namespace, "-4", "route")),
      ...(await lines("ip", "-n", namespace, "-6", "route")),
    ],
    "host link": await lines("ip", "-o", "link"),
    "host address": await lines("ip", "-o", "address"),
    "host route": [...(await lines("ip", "-4", "route")), ...(await lines("ip", "-6", "route"))],
    "host rule": await lines("nft", "-s", "list", "ruleset"),
    file: files.flat(),
  };
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

function report(
  title: string,
  {
    steps,
    failure,
    left,
  }: { steps: readonly StepReport[]; failure: string | undefined; left: readonly Change[] },
): string {
  const rows = steps.flatMap(({ step, ms, changes }) => [
    [step, `${ms.toFixed(1)} ms`, changes.length === 0 ? "changed nothing" : ""],
    ...changes.map(({ sign, part, line }) => ["", "", `${sign} ${part}: ${line}`]),
  ]);
  const leftovers = left.map(({ sign, part, line }) => `  ${sign} ${part}: ${line}\n`).join("");
  const verdict = failure
    ? `failed: ${failure}\n`
    : left.length > 0
      ? `in the end it is not as it was:\n${leftovers}`
      : "in the end all is as it was\n";
  return `${title}\n\n${formatTable(["STEP", "TOOK", "CHANGED"], rows)}\n${verdict}`;
}
