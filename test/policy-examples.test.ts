/** The policies that are shipped as examples: in order, explained, and each with cases that pass. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { prepareTest, unknownPolicies } from "../src/cri/policy/cases/run.ts";
import { readTestFile } from "../src/cri/policy/cases/schema.ts";
import { explainCall } from "../src/cri/policy/explain.ts";
import { giveCall } from "../src/cri/policy/given-call.ts";
import { lintPolicies } from "../src/cri/policy/lint.ts";
import { checkPolicies, loadPolicies } from "../src/cri/policy/load.ts";
import type { PolicyProblem } from "../src/cri/policy/problem.ts";

const directory = join(import.meta.dirname, "../daemonset/policies");
const sourceOf = (file: string) => ({ file, text: readFileSync(join(directory, file), "utf8") });
const names = readdirSync(directory)
  .filter((file) => !file.includes(".test."))
  .map((file) => file.replace(/\.yaml$/, ""));

describe("the example policies", () => {
  it("are at least eight, and one set together without a warning", () => {
    expect(names.length).toBeGreaterThanOrEqual(8);
    const { policies, problems } = checkPolicies(names.map((name) => sourceOf(`${name}.yaml`)));
    expect([...problems, ...lintPolicies(policies)]).toEqual([]);
  });

  it("let an ordinary pod be, all of them together", () => {
    const policies = loadPolicies(names.map((name) => sourceOf(`${name}.yaml`)));
    const pod = { namespace: "web", name: "web-0" };
    for (const method of ["RunPodSandbox", "PullImage", "CreateContainer", "Exec"]) {
      const call = giveCall({ method, pod, container: "main", image: "nginx:1.25" });
      const { denied, outcomes } = explainCall(policies, call).decision;
      expect(denied, method).toBeUndefined();
      expect(outcomes.map(({ action }) => action)).not.toContain("ignored");
    }
  });

  it.each(names)("%s says what it is for, and is named like its file", (name) => {
    const source = sourceOf(`${name}.yaml`);
    expect(source.text).toMatch(/^# \S/);
    expect(loadPolicies([source])[0]?.name).toBe(name);
    const page = readFileSync(join(import.meta.dirname, "../docs/policies.md"), "utf8");
    expect(page).toContain(`daemonset/policies/${name}.yaml`);
  });

  it.each(names)("%s does what its cases say", (name) => {
    const policies = loadPolicies([sourceOf(`${name}.yaml`)]);
    const problems: PolicyProblem[] = [];
    const tests = readTestFile(sourceOf(`${name}.test.yaml`), problems);
    const cases = tests.flatMap((test) => [...prepareTest(test, problems)]);
    expect([...problems, ...tests.flatMap((test) => unknownPolicies(test, policies))]).toEqual([]);
    expect(cases.length).toBeGreaterThanOrEqual(2);
    for (const one of cases) expect(one.run(policies)).toEqual({ name: one.name, differences: [] });
  });
});
