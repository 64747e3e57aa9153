import { describe, expect, it } from "vitest";
import type { PolicyProblem } from "../problem.ts";
import { problemText } from "../problem.ts";
import { policiesOf } from "../testing/requests.ts";
import { prepareTest, unknownPolicies } from "./run.ts";
import { readTestFile } from "./schema.ts";

const policies = policiesOf({
  env: `
    methods: [CreateContainer]
    mutations:
      - { op: set, path: "config.envs[PASSWORD]", value: hunter2 }
      - { op: add, path: config.linux.security_context.capabilities.drop_capabilities, value: NET_RAW }
      - { op: add, path: config.mounts, value: { container_path: /d, host_path: /h, readonly: true } }`,
  deny: `
    methods: [CreateContainer]
    validations: [{ expression: "!object.config.tty", message: no terminal }]`,
  tell: `
    methods: [CreateContainer]
    validationActions: [Warn]
    validations: [{ expression: "object.config.stdin", message: no input }]`,
});

function read(cases: string): { problems: string[]; differences: string[][] } {
  const problems: PolicyProblem[] = [];
  const text = `{ apiVersion: trivet.dev/v1alpha1, kind: RuntimePolicyTest, spec: { cases: [${cases}] } }`;
  const tests = readTestFile({ file: "t.yaml", text }, problems);
  const prepared = tests.flatMap((test) => {
    problems.push(...unknownPolicies(test, policies));
    return prepareTest(test, problems);
  });
  return {
    problems: problems.map(problemText),
    differences: prepared.map((one) =>
      one.run(policies).differences.map(({ what, expected, got }) => `${what}: ${expected} / ${got}`),
    ),
  };
}

const about = "name: c, method: CreateContainer, container: main, request: { config: { tty: false } }";
const differencesOf = (expected: string, given = about) => {
  const { problems, differences } = read(`{ ${given}, expect: ${expected} }`);
  expect(problems).toEqual([]);
  return differences[0];
};

describe("a case", () => {
  it.each([
    "{}",
    "{ matches: [env, tell, deny] }",
    "{ outcomes: [{ policy: env, action: mutated }, { policy: tell, action: warned, message: no input }] }",
    '{ fields: { config.envs: { PASSWORD: hunter2 }, config.tty: false, "config.envs[X]": null, config.devices: null } }',
    '{ fields: { "config.mounts[/d]": { host_path: /h }, "config.mounts[/d].readonly": true } }',
    '{ fields: { "config.linux.security_context.capabilities.drop_capabilities[NET_RAW]": true } }',
    "{ fields: { sandbox_config.metadata: { namespace: default } } }",
  ])("is met by %s", (expected) => {
    expect(differencesOf(expected)).toEqual([]);
  });

  it.each([
    ["{ decision: Deny }", ["decision: Deny / Allow"]],
    ["{ matches: [env] }", ["matches: env / deny, env, tell"]],
    ["{ matches: [] }", ["matches: none / deny, env, tell"]],
    [
      "{ outcomes: [{ policy: tell, action: warned }] }",
      ["outcomes[0]: warned by tell / mutated by env", "outcomes[1]: nothing / warned by tell: no input"],
    ],
    [
      '{ changes: { "config.envs[PASSWORD]": kept, config.tty: added, "config.mounts[/d]": added, "config.linux.security_context.capabilities.drop_capabilities[NET_RAW]": added } }',
      ["changes: config.envs[PASSWORD]: kept / added", "changes: config.tty: added / no change"],
    ],
    [
      '{ fields: { "config.envs[PASSWORD]": hunter3 } }',
      ['config.envs[PASSWORD]: "[redacted]" / "[redacted]", another one'],
    ],
    ['{ fields: { "config.envs[PASSWORD]": null } }', ['config.envs[PASSWORD]: nothing / "[redacted]"']],
    ['{ fields: { "config.mounts[/x].host_path": /h } }', ["config.mounts[/x].host_path: a value / nothing"]],
    [
      '{ fields: { "config.mounts[/d]": { readonly: false } } }',
      ["config.mounts[/d].readonly: false / true"],
    ],
    [
      '{ fields: { "config.linux.security_context.capabilities.drop_capabilities[ALL]": true } }',
      ["config.linux.security_context.capabilities.drop_capabilities[ALL]: to be there / nothing"],
    ],
    ["{ fields: { config.tty: true } }", ["config.tty: true / nothing"]],
  ])("that expects %s differs", (expected, differences) => {
    expect(differencesOf(expected)).toEqual(differences);
  });

  it("is told by whom and why it was refused", () => {
    const refused = "name: c, method: CreateContainer, container: main, request: { config: { tty: true } }";
    expect(differencesOf("{}", refused)).toEqual(["decision: Allow / Deny, by deny: no terminal"]);
    expect(differencesOf("{ decision: Deny, policy: deny, message: no terminal }", refused)).toEqual([]);
    expect(differencesOf("{ decision: Deny, policy: env, message: other }", refused)).toEqual([
      "policy: env / deny",
      "message: other / no terminal",
    ]);
  });

  it.each([
    ["{ name: c, metod: Exec, expect: {} }", /spec\.cases\.0\.method: is missing/],
    [
      "{ name: c, method: Exec, expectt: {}, expect: {} }",
      /spec\.cases\.0\.expectt: no such field, did you mean expect\?/,
    ],
    [
      "{ name: c, method: Exce, expect: {} }",
      /spec\.cases\.0\.method: CRI has no method Exce, did you mean Exec\?/,
    ],
    [
      `{ ${about}, expect: { fields: { config.env: x } } }`,
      /expect\.fields: config\.env: .*did you mean envs\?/,
    ],
    [
      `{ ${about}, expect: { fields: { config.tty: 1 } } }`,
      /expect\.fields: config\.tty: must be true or false/,
    ],
    [`{ ${about}, expect: { message: x } }`, /expect\.decision: policy and message are those of a denial/],
    [
      `{ ${about}, expect: { decision: Deny, fields: { config.tty: true } } }`,
      /expect\.fields: a call that is refused has none/,
    ],
    [`{ ${about}, expect: { matches: [enf] } }`, /expect: the policies that are tested have none named enf/],
    ["{ name: c, method: Exec, request: { tty: 1 }, expect: {} }", /spec\.cases\.0\.request: Exec\.tty/],
  ])("%s cannot be run", (text, why) => {
    expect(read(text).problems.join("\n")).toMatch(why);
  });
});
