/**
 * `npm run conformance:cni -- --plugin PATH [--conf FILE] [--cni-path DIRS]`: the rules against any plugin binary, as a table. The
 * exit code is 0 if it keeps all rules that apply, 1 if not, and 2 if it could not be tried.
 */
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatTable } from "../../../src/commands/table.ts";
import { defaultConf, readConf } from "./default-conf.ts";
import { createProcessSubject, type ProcessSubject } from "./process-subject.ts";
import { rules } from "./rules.ts";
import { type RuleResult, runRule, versionsOf } from "./run-rules.ts";

const usage = `Usage: npm run conformance:cni -- --plugin PATH [--conf FILE] [--cni-path DIRS] [--node NAMESPACE] [--only TEXT]

  --plugin PATH      the plugin's program
  --conf FILE        its configuration, a .conf or a .conflist; by default one with addresses from host-local
  --cni-path DIRS    where it finds its delegates; by default its own directory
  --node NAMESPACE   run it in this network namespace (ip netns) instead of a fresh one
  --only TEXT        only the rules whose group or title holds this text
`;

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

function readArguments() {
  const text = { type: "string" } as const;
  try {
    const options = { plugin: text, conf: text, "cni-path": text, node: text, only: text };
    return parseArgs({ options }).values;
  } catch (error) {
    return fail(`${(error as Error).message}\n\n${usage}`);
  }
}

async function main(): Promise<number> {
  const { plugin, conf, "cni-path": cniPath, node, only = "" } = readArguments();
  if (!plugin) fail(usage);
  if (process.getuid?.() !== 0) fail("making network namespaces needs root");
  accessSync(plugin, constants.X_OK);
  const scratch = mkdtempSync(join(tmpdir(), "cni-conformance-state-"));
  let subject: ProcessSubject | undefined;
  try {
    const chosen = conf ? readConf(conf, plugin) : defaultConf(plugin, scratch);
    subject = createProcessSubject({ plugin, conf: chosen, cniPath, node });
    const supported = await versionsOf(subject);
    if (supported.length === 0) fail(`${plugin} does not answer VERSION`);
    process.stdout.write(`${plugin} speaks ${supported.join(", ")}\n\n`);
    const results: RuleResult[] = [];
    for (const rule of rules.filter(({ group, title }) => `${group} ${title}`.includes(only))) {
      results.push(await runRule(rule, subject, supported));
    }
    process.stdout.write(report(results));
    return results.some(({ verdict }) => verdict === "FAIL") ? 1 : 0;
  } finally {
    subject?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  }
}

function report(results: readonly RuleResult[]): string {
  const rows = results.map(({ rule, verdict }) => [verdict, rule.group, rule.title]);
  const count = (wanted: string) => results.filter(({ verdict }) => verdict === wanted).length;
  const why = results.filter(({ verdict }) => verdict !== "pass");
  const reasons = why.map(
    ({ rule, verdict, why: text }) => `${verdict}  ${rule.group}: ${rule.title}\n      ${text}\n`,
  );
  const total = `\n${count("pass")} pass, ${count("FAIL")} fail, ${count("n/a")} not applicable\n`;
  return `${formatTable(["", "COMMAND", "RULE"], rows)}${reasons.length > 0 ? "\n" : ""}${reasons.join("")}${total}`;
}

try {
  process.exitCode = await main();
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
