import { describe, expect, it } from "vitest";
import { lintPolicies } from "./lint.ts";
import { checkPolicies } from "./load.ts";
import { policyText } from "./testing/requests.ts";

function lint(specs: Readonly<Record<string, string>>): string[] {
  const sources = Object.entries(specs).map(([name, spec]) => ({
    file: `${name}.yaml`,
    text: policyText(name, spec),
  }));
  const { policies, problems } = checkPolicies(sources);
  expect(problems).toEqual([]);
  return lintPolicies(policies).map(({ file, path, message }) => `${file}: ${path}: ${message}`);
}

const deny = 'validations: [{ expression: "!object.config.tty", message: no }]';
const create = "methods: [CreateContainer]";

describe("a policy that says what it hardly means", () => {
  it.each([
    [
      `${create}\nnamespaces: [web-*]\n${deny}`,
      /spec\.namespaces\.0: no namespace can have .* not as patterns/,
    ],
    [`${create}\ncontainers: [Main]\n${deny}`, /spec\.containers\.0: no container can have this name/],
    [
      `${create}\nimages: ["https://docker.io/nginx"]\n${deny}`,
      /spec\.images\.0: matches no image: leave out/,
    ],
    [
      `${create}\nimages: ["docker.io/library/Nginx:1"]\n${deny}`,
      /images\.0: matches no image: repositories/,
    ],
    [
      `${create}\npodSelector: { matchLabels: { a: b }, matchExpressions: [{ key: a, operator: In, values: [c] }] }\n${deny}`,
      /spec\.podSelector: matches no pod: what it asks of the label a/,
    ],
    [
      `${create}\npodSelector: { matchExpressions: [{ key: a, operator: Exists }, { key: a, operator: DoesNotExist }] }\n${deny}`,
      /spec\.podSelector: matches no pod/,
    ],
    [
      `${create}\npodSelector: { matchLabels: { "a/b/c": x } }\n${deny}`,
      /spec\.podSelector: no label can have the key a\/b\/c/,
    ],
    [
      `${create}\nmatchConditions: [{ name: n, expression: "false" }]\n${deny}`,
      /matchConditions\.0: is never met/,
    ],
    [
      `${create}\nvalidations: [{ expression: "!object.config.tty" }]`,
      /spec\.validations\.0: has no message/,
    ],
    [`${create}\nvalidations: [{ expression: "true", message: x }]`, /validations\.0: is always true/],
    [`${create}\nfailurePolicy: Ignore\n${deny}`, /spec\.failurePolicy: Ignore lets a call pass/],
    [
      'methods: [Exec]\nvalidations: [{ expression: "false", message: x }]',
      /Exec without Attach and PortForward/,
    ],
    [
      'methods: [PullImage]\nvalidations: [{ expression: "false", message: x }]',
      /PullImage alone refuses no image that the node has already/,
    ],
    ['methods: [ListContainers]\nvalidations: [{ expression: "false", message: x }]', /again and again/],
  ])("such as %j is warned of", (spec, warning) => {
    const found = lint({ p: spec });
    expect(found.join("\n")).toMatch(warning);
  });

  it.each([
    `${create}\nnamespaces: [web]\nimages: ["ghcr.io/**", "nginx:1.2"]\n${deny}`,
    `${create}\npodSelector: { matchLabels: { example.org/app: "" } }\n${deny}`,
    `${create}\nvalidationActions: [Audit]\nvalidations: [{ expression: "!object.config.tty" }]`,
    'methods: [Exec, Attach, PortForward]\nvalidations: [{ expression: "false", message: x }]',
  ])("is no such thing: %j", (spec) => {
    expect(lint({ p: spec })).toEqual([]);
  });
});

describe("two policies that change one field", () => {
  const set = (value: string, more = "") =>
    `${create}\n${more}mutations: [{ op: set, path: "config.envs[A]", value: "${value}" }]`;
  const add = (value: string) =>
    `${create}\nmutations: [{ op: add, path: config.envs, values: { A: "${value}" } }]`;

  it.each([
    [set("1"), set("2"), /b\.yaml: spec\.mutations\.0: sets again what a sets/],
    [set("1"), add("2"), /does nothing where a matches too/],
    [add("1"), add("2"), /does nothing where a matches too/],
    [add("1"), set("2"), /sets again what a sets/],
    [set("1"), `${create}\nmutations: [{ op: remove, path: config.envs }]`, /removes what a sets/],
    [`${create}\nmutations: [{ op: remove, path: "config.envs[A]" }]`, set("1"), /sets again what a removes/],
    [
      `${create}\nmutations: [{ op: add, path: config.mounts, value: { container_path: /d, host_path: /a } }]`,
      `${create}\nmutations: [{ op: set, path: "config.mounts[/d].host_path", value: /b }]`,
      undefined,
    ],
    [set("1"), set("1"), undefined],
    [set("1", "namespaces: [x]\n"), set("2", "namespaces: [y]\n"), undefined],
    [set("1", "namespaces: [kube-system]\n"), set("2"), undefined],
    [
      set("1", "podSelector: { matchLabels: { a: b } }\n"),
      set("2", "podSelector: { matchLabels: { a: c } }\n"),
      undefined,
    ],
    [set("1"), set("2", "validationActions: [Audit]\n"), undefined],
    [
      `${create}\nmutations: [{ op: add, path: config.args, value: a }]`,
      `${create}\nmutations: [{ op: add, path: config.args, value: b }]`,
      undefined,
    ],
  ])("%j, then %j", (a, b, warning) => {
    const found = lint({ a, b });
    if (warning) expect(found.join("\n")).toMatch(warning);
    else expect(found).toEqual([]);
  });

  it("or take images from the same prefix", () => {
    const found = lint({
      a: "imageRewrites: [{ from: docker.io, to: m.example.org }, { from: quay.io, to: quay.io }]",
      b: "imageRewrites: [{ from: docker.io/bitnami, to: n.example.org }]",
    });
    expect(found).toEqual([
      "a.yaml: spec.imageRewrites.1: changes nothing: from and to are the same",
      "b.yaml: spec.imageRewrites.0: is never used: docker.io of a comes first and has the same prefix. Put the longer one first",
    ]);
  });
});
