/** `trivet cri policy test`: runs the cases beside policies, and tells where something else came out. */
import { basename, dirname, join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import {
  type CaseResult,
  type PreparedCase,
  prepareTest,
  unknownPolicies,
} from "../../cri/policy/cases/run.ts";
import { type PolicyTest, readTestFile } from "../../cri/policy/cases/schema.ts";
import type { Placed } from "../../cri/policy/documents.ts";
import { loadPolicies, policiesError } from "../../cri/policy/load.ts";
import type { RuntimePolicy } from "../../cri/policy/policy.ts";
import type { PolicyProblem } from "../../cri/policy/problem.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { invalidPolicyFile, readFiles, testFileName } from "./policy-files.ts";
import { type Look, lookOf, paint } from "./terminal.ts";

export interface TestOptions {
  readonly paths: readonly string[];
  readonly output: "table" | "json";
  /** Only what failed. */
  readonly quiet: boolean;
}

interface PreparedFile {
  readonly file: string;
  readonly policies: readonly RuntimePolicy[];
  readonly cases: readonly PreparedCase[];
}

type FileResult = { readonly file: string; readonly cases: readonly CaseResult[] };

/** The files of policies that a test is about: those that it names, else the one with its own name. */
function policyPathsOf({ file, document }: Placed<PolicyTest>): string[] {
  const own = [basename(file).replace(/\.test(\.ya?ml)$/, "$1")];
  return (document.spec.policies ?? own).map((path) => join(dirname(file), path));
}

async function prepare(paths: readonly string[]): Promise<PreparedFile[]> {
  const sources = await readFiles(paths, testFileName);
  if (sources.length === 0)
    throw invalidPolicyFile(
      paths.join(", "),
      `${paths.join(", ")}: there are no tests here: their files are called *.test.yaml`,
    );
  const problems: PolicyProblem[] = [];
  const tests = sources.flatMap((source) => readTestFile(source, problems));
  const prepared: PreparedFile[] = [];
  for (const test of tests) {
    const policies = loadPolicies(await readFiles(policyPathsOf(test)));
    problems.push(...unknownPolicies(test, policies));
    prepared.push({ file: test.file, policies, cases: prepareTest(test, problems) });
  }
  if (problems.length > 0) throw policiesError(problems, "the tests cannot be run");
  return prepared;
}

/** A line that counts, on a terminal, for whoever waits; nothing elsewhere. */
function createProgress(total: number, stream: NodeJS.WriteStream) {
  const shown = stream.isTTY === true;
  const startMs = performance.now();
  let drawnMs = 0;
  return {
    tell(done: number) {
      const nowMs = performance.now();
      // A second is no wait.
      if (!shown || nowMs - startMs < 1_000 || nowMs - drawnMs < 100) return;
      drawnMs = nowMs;
      stream.write(`\r${done} of ${total} cases`);
    },
    end() {
      if (drawnMs > 0) stream.write("\r\u001b[K");
    },
  };
}

async function runAll(files: readonly PreparedFile[]): Promise<FileResult[]> {
  const progress = createProgress(
    files.reduce((sum, { cases }) => sum + cases.length, 0),
    process.stderr,
  );
  const results: FileResult[] = [];
  let done = 0;
  for (const { file, policies, cases } of files) {
    const own: CaseResult[] = [];
    for (const one of cases) {
      own.push(one.run(policies));
      progress.tell(++done);
      await turn(); // so that a signal and the line get through
    }
    results.push({ file, cases: own });
  }
  progress.end();
  return results;
}

function caseText({ name, differences }: CaseResult, look: Look): string {
  const passed = differences.length === 0;
  const line = `  ${passed ? paint("ok  ", "green", look) : paint("FAIL", "red", look)}  ${name}\n`;
  if (passed) return line;
  const rows = differences.map(({ what, expected, got }) => [what, expected, got]);
  return line + formatTable(["", "EXPECTED", "GOT"], rows).replaceAll(/^(?=.)/gm, "          ");
}

function resultText(results: readonly FileResult[], quiet: boolean, look: Look): string {
  const all = results.flatMap(({ cases }) => cases);
  const failed = all.filter(({ differences }) => differences.length > 0).length;
  const shown = results.flatMap(({ file, cases }) => {
    const listed = cases.filter(({ differences }) => !quiet || differences.length > 0);
    return listed.length === 0 ? [] : [`${file}\n${listed.map((one) => caseText(one, look)).join("")}`];
  });
  const summary = `${all.length} case${all.length === 1 ? "" : "s"}: ${all.length - failed} passed, ${failed} failed\n`;
  return [...shown, summary].join(quiet && failed === 0 ? "" : "\n");
}

/** Gives the exit code: 0, or 1 where a case failed. A test that cannot be run at all is an error of kind `invalid`. */
export async function runTests({ paths, output, quiet }: TestOptions): Promise<number> {
  const results = await runAll(await prepare(paths));
  const failed = results.some(({ cases }) => cases.some(({ differences }) => differences.length > 0));
  if (output === "json") {
    const cases = results.flatMap(({ file, cases: own }) =>
      own.map(({ name, differences }) => ({ file, name, passed: differences.length === 0, differences })),
    );
    print(`${JSON.stringify(cases, null, 2)}\n`);
  } else print(resultText(results, quiet, lookOf(process.stdout, process.env)));
  return failed ? 1 : 0;
}
