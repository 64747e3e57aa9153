/** `trivet cri policy check`: every problem and every warning of policy files. */
import { lintPolicies } from "../../cri/policy/lint.ts";
import { checkPolicies } from "../../cri/policy/load.ts";
import { type PolicyProblem, placeText } from "../../cri/policy/problem.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { readFiles } from "./policy-files.ts";
import { type Look, lookOf, paint } from "./terminal.ts";

export interface CheckOptions {
  readonly paths: readonly string[];
  readonly output: "table" | "json";
  /** Warnings count as errors. */
  readonly strict: boolean;
}

interface CheckedSet {
  readonly files: readonly string[];
  readonly policies: readonly {
    readonly name: string;
    readonly file: string;
    readonly methods: readonly string[];
  }[];
  readonly errors: readonly PolicyProblem[];
  readonly warnings: readonly PolicyProblem[];
}

async function check(paths: readonly string[]): Promise<CheckedSet> {
  const sources = await readFiles(paths);
  const { policies, problems } = checkPolicies(sources);
  return {
    files: sources.map(({ file }) => file),
    policies: policies.map(({ policy: { name, file, methods } }) => ({
      name,
      file,
      methods: [...methods.keys()],
    })),
    errors: problems,
    warnings: lintPolicies(policies),
  };
}

const plural = (count: number, what: string, many = `${what}s`) => `${count} ${count === 1 ? what : many}`;

/** By file and document: a line for each problem. */
function checkTable({ files, policies, errors, warnings }: CheckedSet, look: Look): string {
  const all = [
    ...errors.map((problem) => ({ level: "error" as const, problem })),
    ...warnings.map((problem) => ({ level: "warning" as const, problem })),
  ];
  const places = [...new Set(all.map(({ problem }) => placeText(problem)))].sort();
  const found = places.map((place) => {
    const own = all.filter(({ problem }) => placeText(problem) === place);
    const [, ...lines] = formatTable(
      ["", "", ""],
      own.map(({ level, problem: { path, message } }) => [`  ${level}`, path === "" ? "-" : path, message]),
    ).split("\n");
    const painted = lines.map((line) =>
      line.replace(/^ {2}(error|warning)/, (text) =>
        paint(text, text.includes("error") ? "red" : "yellow", look),
      ),
    );
    return `${place}\n${painted.join("\n")}`;
  });
  const counted = [plural(policies.length, "policy", "policies"), plural(files.length, "file")].join(" in ");
  return `${found.join("\n")}${found.length > 0 ? "\n" : ""}${counted}: ${plural(errors.length, "error")}, ${plural(warnings.length, "warning")}\n`;
}

/** Gives the exit code: 0, or 2 where the proxy would refuse the policies. */
export async function runCheck({ paths, output, strict }: CheckOptions): Promise<number> {
  const checked = await check(paths);
  if (output === "json") print(`${JSON.stringify(checked, null, 2)}\n`);
  else print(checkTable(checked, lookOf(process.stdout, process.env)));
  return checked.errors.length > 0 || (strict && checked.warnings.length > 0) ? 2 : 0;
}
