/**
 * `npm run conformance:csi -- --endpoint unix:///csi.sock`: the rules of the CSI specification against any driver's
 * socket, from the node on which it runs. Exit code 0 if every rule that applies is kept, 1 if one is broken, 2 for
 * arguments that cannot be used.
 */
import { mkdir } from "node:fs/promises";
import { parseArgs } from "node:util";
import type { AccessType } from "./rule.ts";
import { allRules } from "./rules/all.ts";
import { runRules, type Verdict } from "./run.ts";
import { connect, type WorldOptions } from "./world.ts";

const help = `Usage: npm run conformance:csi -- --endpoint unix:///path/csi.sock [options]

Runs the rules of the CSI specification (1.12) against a driver, as its kubelet and its sidecars would call it. Volumes
and snapshots that it makes are named conformance-... and are deleted again.

Options:
  --endpoint <address>            the driver's socket, as unix:///path or a path
  --staging-dir <dir>             staging paths are made below it      (default: /var/lib/kubelet/conformance/staging)
  --target-dir <dir>              target paths are made below it       (default: /var/lib/kubelet/conformance/target)
  --access <type>                 mount or block                       (default: mount)
  --fs-type <name>                fs_type of mount capabilities        (default: none)
  --size <bytes>                  of the volumes                       (default: 33554432)
  --parameter <key=value>         of the StorageClass, repeatable
  --snapshot-parameter <key=value> of the VolumeSnapshotClass, repeatable
  --deadline <seconds>            for one call                         (default: 60)
  --only <pattern>                rules whose title matches this regular expression
  --output <format>               text or json                         (default: text)
  --list                          print the titles and exit
  --help                          print this and exit
`;

const options = {
  endpoint: { type: "string" },
  "staging-dir": { type: "string", default: "/var/lib/kubelet/conformance/staging" },
  "target-dir": { type: "string", default: "/var/lib/kubelet/conformance/target" },
  access: { type: "string", default: "mount" },
  "fs-type": { type: "string" },
  size: { type: "string", default: String(32 * 2 ** 20) },
  parameter: { type: "string", multiple: true, default: [] as string[] },
  "snapshot-parameter": { type: "string", multiple: true, default: [] as string[] },
  deadline: { type: "string", default: "60" },
  only: { type: "string", default: "" },
  output: { type: "string", default: "text" },
  list: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

class UsageError extends Error {}

type Values = ReturnType<typeof parse>;

function parse(argv: string[]) {
  try {
    return parseArgs({ args: argv, options }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function pairs(flag: string, values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const [key, rest] = value.split(/=(.*)/s);
      if (!key || rest === undefined) throw new UsageError(`--${flag} is "${value}": write key=value`);
      return [key, rest];
    }),
  );
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0)
    throw new UsageError(`--${flag} is "${text}": give a whole number above 0`);
  return value;
}

function toOptions(values: Values): WorldOptions {
  if (!values.endpoint) throw new UsageError("--endpoint is missing: give the driver's socket");
  if (values.access !== "mount" && values.access !== "block")
    throw new UsageError(`--access is "${values.access}": give mount or block`);
  if (values.output !== "text" && values.output !== "json")
    throw new UsageError(`--output is "${values.output}": give text or json`);
  return {
    socket: values.endpoint.replace(/^unix:(\/\/)?/, ""),
    stagingDir: values["staging-dir"],
    targetDir: values["target-dir"],
    access: values.access satisfies AccessType,
    ...(values["fs-type"] ? { fsType: values["fs-type"] } : {}),
    sizeBytes: positive("size", values.size),
    parameters: pairs("parameter", values.parameter),
    snapshotParameters: pairs("snapshot-parameter", values["snapshot-parameter"]),
    deadlineMs: 1000 * positive("deadline", values.deadline),
  };
}

const mark = { kept: "kept   ", broken: "BROKEN ", "not applicable": "-      " } as const;

function line({ title, result, reason }: Verdict): string {
  if (reason === undefined) return `${mark[result]} ${title}\n`;
  return result === "broken"
    ? `${mark[result]} ${title}\n          ${reason}\n`
    : `${mark[result]} ${title}: ${reason}\n`;
}

function rulesOf({ only }: Values) {
  try {
    const pattern = new RegExp(only);
    return allRules.filter(({ title }) => pattern.test(title));
  } catch {
    throw new UsageError(`--only is "${only}": give a regular expression`);
  }
}

async function main(argv: string[]): Promise<number> {
  const values = parse(argv);
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const rules = rulesOf(values);
  if (values.list) {
    process.stdout.write(rules.map(({ title }) => `${title}\n`).join(""));
    return 0;
  }
  const world = toOptions(values);
  for (const path of [world.stagingDir, world.targetDir]) await mkdir(path, { recursive: true });
  const connection = await connect(world.socket, world.deadlineMs);
  const asText = values.output === "text";
  if (asText) process.stdout.write(`${connection.driver}, access type ${world.access}\n`);
  const onVerdict = (verdict: Verdict) => void (asText && process.stdout.write(line(verdict)));
  const verdicts = await runRules(connection, world, { rules, onVerdict });
  connection.close();
  const count = (result: Verdict["result"]) => verdicts.filter((one) => one.result === result).length;
  if (asText)
    process.stdout.write(
      `${count("kept")} kept, ${count("broken")} broken, ${count("not applicable")} not applicable\n`,
    );
  else
    process.stdout.write(
      `${JSON.stringify({ driver: connection.driver, access: world.access, verdicts }, undefined, 2)}\n`,
    );
  return count("broken") > 0 ? 1 : 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error) => {
    const isUsage = error instanceof UsageError;
    process.stderr.write(`${error.message}\n${isUsage ? "See --help.\n" : ""}`);
    process.exitCode = isUsage ? 2 : 1;
  },
);
