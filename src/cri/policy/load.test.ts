import { describe, expect, it } from "vitest";
import { loadPolicies } from "./load.ts";
import { policiesOf, policyText } from "./testing/requests.ts";

const problemsOf = (spec: string): string => {
  try {
    policiesOf({ p: spec });
  } catch (error) {
    return String(error);
  }
  return "";
};

const secret = "hunter2";
const text = (spec: string) =>
  `{ apiVersion: trivet.dev/v1alpha1, kind: RuntimePolicy, metadata: { name: p }, spec: ${spec} }`;
const problemsIn = (spec: string): string => {
  try {
    loadPolicies([{ file: "p.yaml", text: text(spec) }]);
  } catch (error) {
    return String(error);
  }
  return "";
};

describe("policies", () => {
  it("are read from every document of every file, in their order", () => {
    const one = (name: string) => policyText(name, 'methods: [Exec]\nvalidations: [{ expression: "true" }]');
    const policies = loadPolicies([
      { file: "a.yaml", text: `${one("z")}\n---\n${one("y")}\n---\n` },
      { file: "b.yaml", text: one("x") },
    ]);
    expect(policies.map(({ name, file }) => [name, file])).toEqual([
      ["z", "a.yaml"],
      ["y", "a.yaml (document 2)"],
      ["x", "b.yaml"],
    ]);
  });

  it.each([
    ['validations: [{ expression: "true" }]', "Fail", true],
    ['validations: [{ expression: "true" }]\nvalidationActions: [Deny, Audit]', "Fail", true],
    ['validations: [{ expression: "true" }]\nvalidationActions: [Warn]', "Ignore", false],
    ['validations: [{ expression: "true" }]\nvalidationActions: [Audit]', "Ignore", false],
    ['validations: [{ expression: "true" }]\nfailurePolicy: Ignore', "Ignore", true],
    ["mutations: [{ op: remove, path: config.linux.security_context }]", "Ignore", true],
    ["mutations: [{ op: remove, path: config.linux.security_context }]\nfailurePolicy: Fail", "Fail", true],
  ])("of %j fail by %s, enforced: %s", (spec, failurePolicy, enforced) => {
    const [policy] = policiesOf({ p: `methods: [RunPodSandbox]\n${spec}` });
    expect(policy).toMatchObject({ failurePolicy, enforced });
  });

  it("are all refused for one that is bad, with every problem of every file", () => {
    const sources = [
      { file: "a.yaml", text: policyText("a", 'methods: [Exec]\nvalidations: [{ expression: "true" }]') },
      { file: "b.yaml", text: "kind: Other" },
      { file: "c.yaml", text: policyText("c", "methods: [Excec, CreateContainr]\nvalidations: []") },
    ];
    expect(() => loadPolicies(sources)).toThrow(
      /b\.yaml: kind: must be RuntimePolicy[\s\S]*c\.yaml: spec\.validations/,
    );
  });

  it("have names of their own", () => {
    const same = policyText("p", 'methods: [Exec]\nvalidations: [{ expression: "true" }]');
    expect(() =>
      loadPolicies([
        { file: "a.yaml", text: same },
        { file: "b.yaml", text: same },
      ]),
    ).toThrow(/b\.yaml: p: two policies have this name, the other is in a\.yaml/);
  });
});

describe("a policy that cannot be used says why:", () => {
  it.each([
    [
      "{ methods: [Excec], validations: [{ expression: 'true' }] }",
      "spec.methods.0: CRI has no method Excec, did you mean Exec?",
    ],
    ["{ methods: [Exec, Exec], validations: [{ expression: 'true' }] }", "spec.methods.1: Exec stands twice"],
    ["{ methods: [Exec] }", "spec: does nothing"],
    ["{ validations: [{ expression: 'true' }] }", "spec.methods: is missing"],
    ["{ methods: [], validations: [{ expression: 'true' }] }", "spec.methods: names no method"],
    ["{ methods: [Exec], namespaces: [], validations: [{ expression: 'true' }] }", "names no namespace"],
    [
      "{ methods: [Exec], namspaces: [a], validations: [{ expression: 'true' }] }",
      "spec.namspaces: no such field",
    ],
    [
      "{ methods: [ListContainers], namespaces: [a], validations: [{ expression: 'true' }] }",
      "spec.namespaces: ListContainers names no pod",
    ],
    [
      "{ methods: [ImageStatus], podSelector: { matchLabels: { a: b } }, validations: [{ expression: 'true' }] }",
      "spec.podSelector: ImageStatus names no pod",
    ],
    [
      "{ methods: [PullImage], runtimeHandlers: [kata], validations: [{ expression: 'true' }] }",
      "PullImage names no runtime handler",
    ],
    [
      "{ methods: [RunPodSandbox], containers: [a], validations: [{ expression: 'true' }] }",
      "spec.containers: RunPodSandbox names no container",
    ],
    [
      "{ methods: [PortForward], images: [a], validations: [{ expression: 'true' }] }",
      "spec.images: PortForward names no image",
    ],
    [
      "{ methods: [PullImage], images: ['a b'], validations: [{ expression: 'true' }] }",
      "spec.images.0: is no pattern",
    ],
    [
      "{ methods: [Exec], podSelector: { matchExpressions: [{ key: a, operator: In }] }, validations: [{ expression: 'true' }] }",
      "matchExpressions.0.values: In needs values",
    ],
    [
      "{ methods: [Exec], podSelector: { matchExpressions: [{ key: a, operator: Is }] }, validations: [{ expression: 'true' }] }",
      "must be one of In, NotIn, Exists, DoesNotExist",
    ],
    [
      "{ methods: [Exec], podSelector: {}, validations: [{ expression: 'true' }] }",
      "spec.podSelector: selects all",
    ],
    [
      "{ methods: [Exec], validations: [{ expression: 'object.cmdd.size() > 0' }] }",
      "spec.validations.0.expression: for Exec: No such key: cmdd in ExecRequest, did you mean cmd?",
    ],
    [
      "{ methods: [Exec], validations: [{ expression: 'size(object.cmd)' }] }",
      "gives int, but bool is needed",
    ],
    [
      "{ methods: [Exec], validations: [{ expression: 'true', messageExpression: '1' }] }",
      "spec.validations.0.messageExpression: for Exec: gives int",
    ],
    [
      "{ methods: [Exec], validations: [{ expression: 'true' }], matchConditions: [{ name: a, expression: 'tru' }] }",
      "spec.matchConditions.0.expression: for Exec: Unknown variable: tru",
    ],
    [
      "{ methods: [Exec, Attach], validations: [{ expression: 'size(object.cmd) > 0' }] }",
      "for Attach: No such key: cmd in AttachRequest",
    ],
    [
      "{ methods: [RestorePod], validations: [{ expression: 'object.path == \"\"' }] }",
      "what its request holds is not known here",
    ],
    ["{ methods: [RestorePod], mutations: [{ op: remove, path: path }] }", "its request is not known here"],
    [
      "{ methods: [Exec], validations: [{ expression: 'true' }], validationActions: [Deny, Warn] }",
      "Deny and Warn do not go together",
    ],
    [
      "{ methods: [Exec], validations: [{ expression: 'true' }], validationActions: [Allow] }",
      "must be one of Deny, Warn, Audit",
    ],
    [
      "{ methods: [Exec], validations: [{ expression: 'true' }], failurePolicy: Maybe }",
      "must be one of Fail, Ignore",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config.envz, value: x }] }",
      "spec.mutations.0: for CreateContainer: config.envz: ContainerConfig has no field envz, did you mean envs?",
    ],
    [
      "{ methods: [RunPodSandbox], mutations: [{ op: set, path: 'config.envs[A]', value: x }] }",
      "for RunPodSandbox: config.envs[A]: PodSandboxConfig has no field envs",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config.tty, value: maybe }] }",
      "config.tty: must be true or false",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config.tty }] }",
      "value: set takes one of value, values and valueExpression",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: remove, path: config.tty, value: true }] }",
      "value: remove takes none",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: drop, path: config.tty }] }",
      "must be one of set, add, remove, removeWhere, replaceWhere",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: removeWhere, path: config.mounts }] }",
      "where: is missing",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: remove, path: config.mounts, where: 'true' }] }",
      "where: remove takes none",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: removeWhere, path: config.mounts, where: { hostpath: /a } }] }",
      "where.hostpath: Mount has no field hostpath, did you mean host_path?",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: removeWhere, path: config.mounts, where: 'item.hostpath == \"a\"' }] }",
      "where: No such key: hostpath in Mount, did you mean host_path?",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: removeWhere, path: config.args, where: { a: b } }] }",
      "have no fields: write an expression",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config.working_dir, valueExpression: '1' }] }",
      "valueExpression: gives int, but working_dir takes string",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config.tty, valueExpression: 'tty' }] }",
      "valueExpression: Unknown variable: tty",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: 'config.labels[io.kubernetes.pod.uid]', value: x }] }",
      "belongs to Kubernetes",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: add, path: config.annotations, values: { 'io.kubernetes.x': a } }] }",
      "belongs to Kubernetes",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: remove, path: config.labels }] }",
      "as a whole belongs to Kubernetes",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config, value: {} }] }",
      "holds what no policy may change",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: config.metadata.name, value: x }] }",
      "is how the kubelet finds the pod again",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: 'config.#1.name', value: x }] }",
      "is how the kubelet finds the pod again",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: pod_sandbox_id, value: x }] }",
      "says who the call is about",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: set, path: 'sandbox_config.labels[a]', value: x }] }",
      "follows what is done to RunPodSandbox by itself",
    ],
    [
      "{ methods: [RunPodSandbox], mutations: [{ op: set, path: config.linux.cgroup_parent, value: x }] }",
      "is left alone: the kubelet makes the pod's cgroup",
    ],
    [
      "{ methods: [RunPodSandbox], mutations: [{ op: set, path: config.linux, value: { cgroup_parent: x } }] }",
      "holds what no policy may change",
    ],
    [
      "{ methods: [CreateContainer], mutations: [{ op: add, path: config.envs, values: { 'A=B': x } }] }",
      "is no name of an environment variable",
    ],
    [
      "{ imageRewrites: [{ from: bitnami, to: docker.io }] }",
      "spec.imageRewrites.0.from: must be a registry",
    ],
    [
      "{ imageRewrites: [{ from: docker.io, to: mirror.example.org }], namespaces: [a] }",
      "spec.namespaces: does not go with imageRewrites",
    ],
    ["{ imageRewrites: [] }", "spec.imageRewrites: rewrites nothing"],
    [
      "{ methods: [Exec], variables: [{ name: 'a b', expression: '1' }], validations: [{ expression: 'true' }] }",
      "is no name of a variable",
    ],
    [
      "{ methods: [Exec], variables: [{ name: a, expression: '1' }], validations: [{ expression: 'variables.b == 1' }] }",
      "No such key: b",
    ],
  ])("%s", (spec, problem) => {
    expect(problemsIn(spec)).toContain(problem);
  });

  it("in a document that is no policy at all", () => {
    const problems = (content: string) => {
      try {
        loadPolicies([{ file: "p.yaml", text: content }]);
      } catch (error) {
        return String(error);
      }
      return "";
    };
    expect(problems("- a")).toContain("p.yaml: the document: must be a mapping");
    expect(problems("a: [")).toContain("p.yaml: ");
    expect(problems("a: *b")).toContain("p.yaml: ");
    expect(problems("kind: RuntimePolicy")).toContain("apiVersion: is missing");
    expect(problems(`a: ${"[".repeat(5_000)}`)).toContain("p.yaml: ");
    expect(loadPolicies([{ file: "p.yaml", text: "# nothing\n---\n" }])).toEqual([]);
  });

  it("without telling a value, which may be secret", () => {
    for (const spec of [
      `{ methods: [CreateContainer], mutations: [{ op: set, path: config.tty, value: ${secret} }] }`,
      `{ methods: [CreateContainer], mutations: [{ op: add, path: config.envs, values: { A: [${secret}] } }] }`,
      `{ methods: [CreateContainer], mutations: [{ op: add, path: config.envs, values: ${secret} }] }`,
      `{ methods: [CreateContainer], mutations: ${secret} }`,
      `{ methods: { ${secret}: a } }`,
      `{ methods: [CreateContainer], mutations: [{ op: set, path: config.stop_signal, value: ${secret} }] }`,
    ]) {
      expect(problemsIn(spec), spec).not.toBe("");
      if (!spec.includes("methods: {")) expect(problemsIn(spec), spec).not.toContain(secret);
    }
    expect(problemsOf(`methods: [Exec]\nvalidations: "${secret}`)).not.toContain(secret);
  });
});
