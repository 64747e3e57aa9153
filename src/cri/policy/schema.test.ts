import { describe, expect, it } from "vitest";
import { parsePolicies } from "./schema.ts";

const good = `
apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata:
  name: proxy-environment
spec:
  methods: [CreateContainer]
  namespaces: [default]
  mutations:
    - op: add
      path: config.envs
      values: { HTTP_PROXY: "http://proxy:3128" }
`;

function problemsOf(text: string): string {
  try {
    parsePolicies([{ file: "a.yaml", text }]);
  } catch (error) {
    expect(error).toMatchObject({ kind: "invalid" });
    return (error as Error).message;
  }
  return "";
}

describe("a policy file", () => {
  it("is parsed into what it means", () => {
    const [policy] = parsePolicies([{ file: "a.yaml", text: good }]);
    expect(policy).toEqual({
      name: "proxy-environment",
      methods: new Set(["CreateContainer"]),
      namespaces: new Set(["default"]),
      additions: [{ path: "config.envs", entries: new Map([["HTTP_PROXY", "http://proxy:3128"]]) }],
    });
  });

  it("may hold several documents, and empty ones", () => {
    const second = good.replace("proxy-environment", "second");
    expect(parsePolicies([{ file: "a.yaml", text: `${good}---\n${second}---\n` }])).toHaveLength(2);
    expect(parsePolicies([{ file: "empty.yaml", text: "# nothing yet\n" }])).toEqual([]);
  });

  it.each([
    [
      "a method that no policy can change",
      "[CreateContainer]",
      "[StopContainer]",
      "spec.methods.0: must be one of",
    ],
    ["a path that add does not know", "config.envs", "config.image", "spec.mutations.0.path: must be one of"],
    [
      "an operation that is not there yet",
      "op: add",
      "op: remove",
      'spec.mutations.0.op: only "add" is known',
    ],
    ["an unknown field", "  namespaces:", "  namespace:", "spec.namespace: no such field"],
    ["another version of the API", "v1alpha1", "v1", "apiVersion: must be trivet.dev/v1alpha1"],
    ["a value that is no text", '"http://proxy:3128"', "8080", "put it in quotes"],
    [
      "a name that is no environment variable",
      "HTTP_PROXY",
      '"A=B"',
      "is no name of an environment variable",
    ],
    ["a missing field", "  methods: [CreateContainer]\n", "", "spec.methods: is missing"],
    ["an environment for a sandbox", "[CreateContainer]", "[RunPodSandbox]", "a sandbox has no environment"],
  ])("with %s is refused, and the field is named", (_, from, to, expected) => {
    expect(good).toContain(from);
    expect(problemsOf(good.replace(from, to))).toContain(expected);
  });

  it.each([
    "io.kubernetes.pod.uid",
    "kubernetes.io/config.hash",
    "scheduler.alpha.kubernetes.io/node",
    "node.k8s.io/x",
  ])("may not write %s, which is Kubernetes' own", (key) => {
    const text = good.replace("config.envs", "config.labels").replace("HTTP_PROXY", key);
    expect(problemsOf(text)).toContain("belongs to Kubernetes");
  });

  it.each([
    ["broken", "a: [1\nb: 2", /a\.yaml: .*line 2, column 1$/],
    ["an alias of nothing", "a: *x", /a\.yaml: Unresolved alias/],
  ])("that is no YAML (%s) is refused with its name and line", (_, text, expected) => {
    expect(problemsOf(text)).toMatch(expected);
  });

  it.each([
    ["values that are no mapping", '{ HTTP_PROXY: "http://proxy:3128" }', "TOKEN=hunter2"],
    ["a list of values", '{ HTTP_PROXY: "http://proxy:3128" }', '["hunter2"]'],
    ["a value behind a value", '"http://proxy:3128"', '"a" "hunter2"'],
    ["a mutation that is text", "- op: add", "- hunter2\n    - op: add"],
    ["mutations that are text", good.slice(good.indexOf("\n    - op")), " hunter2"],
    ["a document that is text", good, "hunter2"],
    ["a block scalar", '{ HTTP_PROXY: "http://proxy:3128" }', "| hunter2\n"],
  ])("is refused without its values, which may be secret: %s", (_, from, to) => {
    expect(good).toContain(from);
    const problems = problemsOf(good.replace(from, to));
    expect(problems).toMatch(/a\.yaml: ./);
    expect(problems).not.toContain("hunter2");
  });

  it.each(["constructor", "prototype", "__proto__"])("does not lose the name %s in silence", (name) => {
    expect(problemsOf(good.replace("HTTP_PROXY", name))).toContain("holds a name that cannot be used here");
  });

  it("lists every problem of every file at once", () => {
    const bad = good.replace("op: add", "op: set").replace("kind: RuntimePolicy", "kind: Policy");
    try {
      parsePolicies([
        { file: "a.yaml", text: bad },
        { file: "b.yaml", text: "kind: 1" },
      ]);
      expect.unreachable();
    } catch (error) {
      const { message } = error as Error;
      for (const part of [
        "a.yaml: kind:",
        "a.yaml: spec.mutations.0.op:",
        "b.yaml: apiVersion:",
        "b.yaml: spec:",
      ]) {
        expect(message).toContain(part);
      }
    }
  });

  it("may not use a name twice", () => {
    expect(problemsOf(`${good}---\n${good}`)).toContain("proxy-environment: two policies have this name");
  });
});
