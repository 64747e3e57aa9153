import { describe, expect, it } from "vitest";
import {
  createPolicyEngine,
  type PolicyDecision,
  type PolicyEngine,
  type PolicyEngineOptions,
} from "./engine.ts";
import {
  container,
  containerConfig,
  createContainer,
  knownPods,
  pod,
  policiesOf,
  readRequest,
  requestOf,
  runPodSandbox,
  sandboxConfig,
} from "./testing/requests.ts";

const staticPod = { ...sandboxConfig, annotations: { "kubernetes.io/config.source": "file" } };
const inNamespace = (namespace: string) => ({
  ...sandboxConfig,
  metadata: { ...sandboxConfig.metadata, namespace },
});

function engineOf(
  specs: Readonly<Record<string, string>>,
  options: Partial<PolicyEngineOptions> = {},
): PolicyEngine {
  return createPolicyEngine({ policies: policiesOf(specs), ...options });
}

function decide(engine: PolicyEngine, method: string, message: object): PolicyDecision {
  const decision = engine.decide({ method, message: requestOf(method, message) });
  if (decision instanceof Promise) throw new Error("the runtime was to be asked");
  return decision;
}

function changed(engine: PolicyEngine, method: string, message: object): Record<string, unknown> {
  const { message: bytes } = decide(engine, method, message);
  if (!bytes) throw new Error("nothing was changed");
  return readRequest(method, bytes);
}

const deny = 'validations: [{ expression: "false", message: not here }]';

describe("a policy selects calls", () => {
  const labelled = (selector: string) => `methods: [CreateContainer]\npodSelector: ${selector}\n${deny}`;

  it.each([
    ["methods: [CreateContainer]", true],
    ["methods: [RunPodSandbox]", false],
    ["methods: [CreateContainer]\nnamespaces: [web, api]", true],
    ["methods: [CreateContainer]\nnamespaces: [api]", false],
    ["methods: [CreateContainer]\ncontainers: [main]", true],
    ["methods: [CreateContainer]\ncontainers: [sidecar]", false],
    ["methods: [CreateContainer]\nimages: [nginx]", true],
    ["methods: [CreateContainer]\nimages: ['docker.io/**']", true],
    ["methods: [CreateContainer]\nimages: ['registry.example.org/**']", false],
    ["methods: [CreateContainer]\nruntimeHandlers: [runc]", true],
    ["methods: [CreateContainer]\nruntimeHandlers: [kata, '']", false],
    ["methods: [CreateContainer]\nmatchConditions: [{ name: tty, expression: object.config.tty }]", false],
    ["methods: [CreateContainer]\nmatchConditions: [{ name: tty, expression: '!object.config.tty' }]", true],
  ])("by %j: %s", (spec, selected) => {
    const engine = engineOf({ p: `${spec}\n${deny}` }, { pods: knownPods([pod]) });
    expect(decide(engine, "CreateContainer", createContainer).denied !== undefined).toBe(selected);
  });

  it.each([
    ["{ matchLabels: { app: web } }", true],
    ["{ matchLabels: { app: api } }", false],
    ["{ matchLabels: { app: web, tier: front } }", false],
    ["{ matchExpressions: [{ key: app, operator: In, values: [web, api] }] }", true],
    ["{ matchExpressions: [{ key: app, operator: NotIn, values: [web] }] }", false],
    ["{ matchExpressions: [{ key: tier, operator: NotIn, values: [front] }] }", true],
    ["{ matchExpressions: [{ key: app, operator: Exists }] }", true],
    ["{ matchExpressions: [{ key: tier, operator: DoesNotExist }] }", true],
    ["{ matchExpressions: [{ key: app, operator: DoesNotExist }] }", false],
  ])("by the labels %s, as Kubernetes does: %s", (selector, selected) => {
    const { denied } = decide(engineOf({ p: labelled(selector) }), "CreateContainer", createContainer);
    expect(denied !== undefined).toBe(selected);
  });

  it.each([
    ["kube-system", "methods: [RunPodSandbox]", false],
    ["trivet-system", "methods: [RunPodSandbox]", false],
    ["kube-system", "methods: [RunPodSandbox]\nnamespaces: [kube-system]", true],
    ["web", "methods: [RunPodSandbox]", true],
    ["", "methods: [RunPodSandbox]", true],
  ])("in the namespace %j by %j: %s", (namespace, spec, selected) => {
    const engine = engineOf({ p: `${spec}\n${deny}` });
    const { denied } = decide(engine, "RunPodSandbox", { config: inNamespace(namespace) });
    expect(denied !== undefined).toBe(selected);
  });

  it("leaves other namespaces alone where that is configured", () => {
    const exempt = { namespaces: new Set(["web"]), staticPods: true };
    const engine = engineOf({ p: `methods: [RunPodSandbox]\n${deny}` }, { exempt });
    expect(decide(engine, "RunPodSandbox", runPodSandbox).denied).toBeUndefined();
    expect(decide(engine, "RunPodSandbox", { config: inNamespace("kube-system") }).denied).toBeDefined();
  });

  it("leaves static pods alone, by what the kubelet alone can write", () => {
    const all = engineOf({ p: `methods: [RunPodSandbox]\n${deny}` });
    expect(decide(all, "RunPodSandbox", { config: staticPod }).denied).toBeUndefined();
    const mirror = {
      ...sandboxConfig,
      annotations: { "kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "api" },
    };
    expect(decide(all, "RunPodSandbox", { config: mirror }).denied).toBeDefined();
    const statics = engineOf({ p: `methods: [RunPodSandbox]\nincludeStaticPods: true\n${deny}` });
    expect(decide(statics, "RunPodSandbox", { config: staticPod }).denied).toBeDefined();
  });

  it("holds no call that no policy is about", () => {
    const engine = engineOf({
      p: `methods: [Exec]\n${deny}`,
      sandbox: "methods: [RunPodSandbox]\nmutations: [{ op: add, path: config.labels, values: { a: b } }]",
    });
    const held = [
      "Exec",
      "CreateContainer",
      "RunPodSandbox",
      "ListContainers",
      "PullImage",
      "Tomorrow",
      "RestorePod",
    ];
    expect(held.filter((method) => engine.holds(method))).toEqual([
      "Exec",
      "CreateContainer",
      "RunPodSandbox",
      "RestorePod",
    ]);
  });
});

describe("a mutation", () => {
  it("of every kind does what it says", () => {
    const engine = engineOf({
      all: `
        methods: [CreateContainer]
        mutations:
          - { op: set, path: "config.envs[HTTP_PROXY]", value: http://new }
          - { op: add, path: config.envs, values: { HTTP_PROXY: kept, ADDED: x } }
          - { op: set, path: config.linux.resources.memory_limit_in_bytes, value: 2048 }
          - { op: remove, path: "config.labels[app]" }
          - { op: removeWhere, path: config.linux.security_context.capabilities.add_capabilities, where: 'item == "SYS_ADMIN"' }
          - { op: add, path: config.mounts, value: { container_path: /ca, host_path: /etc/ca, readonly: true } }
          - { op: replaceWhere, path: config.mounts, where: { container_path: /etc/hosts }, value: { container_path: /etc/hosts, host_path: /dev/null } }
          - { op: set, path: config.working_dir, valueExpression: '"/srv/" + pod.namespace' }
          - { op: add, path: config.annotations, values: { example.org/by: trivet } }`,
    });
    expect(changed(engine, "CreateContainer", createContainer).config).toMatchObject({
      envs: [
        { key: "HTTP_PROXY", value: "http://new" },
        { key: "PASSWORD", value: "hunter2" },
        { key: "ADDED", value: "x" },
      ],
      linux: {
        resources: { memory_limit_in_bytes: 2048n },
        security_context: { privileged: true, capabilities: { add_capabilities: ["NET_RAW"] } },
      },
      mounts: [
        { container_path: "/etc/hosts", host_path: "/dev/null" },
        { container_path: "/ca", host_path: "/etc/ca", readonly: true },
      ],
      working_dir: "/srv/web",
      annotations: new Map([["example.org/by", "trivet"]]),
    });
    const { outcomes, changes } = decide(engine, "CreateContainer", createContainer);
    expect(outcomes).toEqual([{ policy: "all", action: "mutated" }]);
    expect(changes).toContainEqual({
      policy: "all",
      field: "config.linux.resources.memory_limit_in_bytes",
      outcome: "changed",
      before: "1024",
      after: "2048",
    });
    expect(JSON.stringify(changes)).not.toContain("http://");
  });

  it.each([
    [
      "CreateContainer",
      "{ op: add, path: config.devices, value: { container_path: /dev/fuse, host_path: /dev/fuse, permissions: rw } }",
    ],
    ["CreateContainer", "{ op: add, path: config.CDI_devices, value: { name: vendor.example.org/gpu=0 } }"],
    [
      "CreateContainer",
      "{ op: add, path: config.linux.security_context.capabilities.drop_capabilities, value: [NET_RAW, MKNOD] }",
    ],
    [
      "CreateContainer",
      "{ op: set, path: config.linux.resources, values: { cpu_quota: 50000, cpu_period: 100000 } }",
    ],
    [
      "CreateContainer",
      "{ op: set, path: 'config.linux.resources.unified[memory.high]', value: '1073741824' }",
    ],
    [
      "CreateContainer",
      "{ op: set, path: config.linux.security_context.seccomp, value: { profile_type: RuntimeDefault } }",
    ],
    [
      "CreateContainer",
      "{ op: set, path: config.linux.security_context.run_as_user, value: { value: 1000 } }",
    ],
    ["CreateContainer", "{ op: set, path: config.linux.security_context.readonly_rootfs, value: true }"],
    ["CreateContainer", "{ op: add, path: config.args, value: --verbose }"],
    ["CreateContainer", "{ op: set, path: config.stop_signal, value: SIGINT }"],
    [
      "RunPodSandbox",
      "{ op: set, path: 'config.linux.sysctls[net.ipv4.ip_unprivileged_port_start]', value: '0' }",
    ],
    ["RunPodSandbox", "{ op: set, path: config.dns_config.servers, value: [10.0.0.10] }"],
    ["RunPodSandbox", "{ op: set, path: runtime_handler, value: kata }"],
    ["UpdateContainerResources", "{ op: set, path: linux.memory_limit_in_bytes, value: 1048576 }"],
    ["PullImage", "{ op: remove, path: auth }"],
  ])("of %s takes %s, and is the same when it is made again", (method, mutation) => {
    const engine = engineOf(
      { p: `methods: [${method}]\nmutations: [${mutation}]` },
      { pods: knownPods([pod], [container]) },
    );
    const requests: Record<string, object> = {
      CreateContainer: createContainer,
      RunPodSandbox: runPodSandbox,
      UpdateContainerResources: { container_id: "container-1" },
      PullImage: { image: { image: "nginx" }, auth: { username: "u" } },
    };
    const first = engine.decide({
      method,
      message: requestOf(method, requests[method] ?? {}),
    }) as PolicyDecision;
    expect(first.outcomes).toEqual([{ policy: "p", action: "mutated" }]);
    const again = engine.decide({ method, message: first.message ?? Buffer.alloc(0) }) as PolicyDecision;
    expect(again.message).toBeUndefined();
  });

  it("takes the elements that an expression means, with what is known of the call", () => {
    const engine = engineOf({
      p: `
        methods: [CreateContainer]
        variables: [{ name: home, expression: '"/var/lib/kubelet"' }]
        mutations:
          - { op: removeWhere, path: config.mounts, where: 'item.host_path.startsWith(variables.home) && pod.namespace == "web"' }
          - { op: removeWhere, path: config.envs, where: { key: [PASSWORD, TOKEN] } }`,
    });
    const { config } = changed(engine, "CreateContainer", createContainer) as {
      config: Record<string, unknown>;
    };
    expect(config).not.toHaveProperty("mounts");
    expect(config.envs).toEqual([{ key: "HTTP_PROXY", value: "http://old" }]);
  });

  it("is given by variables, also by those that see others", () => {
    const engine = engineOf({
      p: `
        methods: [CreateContainer]
        variables:
          - { name: read, expression: object.config.linux.resources.memory_limit_in_bytes }
          - { name: twice, expression: variables.read * 2 }
          - { name: same, expression: variables.twice + variables.read - variables.read }
        matchConditions: [{ name: some, expression: variables.same > 0 }]
        mutations:
          - { op: set, path: config.linux.resources.memory_limit_in_bytes, valueExpression: variables.same }`,
    });
    const { outcomes } = decide(engine, "CreateContainer", createContainer);
    expect(outcomes).toEqual([{ policy: "p", action: "mutated" }]);
    expect(changed(engine, "CreateContainer", createContainer)).toMatchObject({
      config: { linux: { resources: { memory_limit_in_bytes: 2048n } } },
    });
  });

  it("sees what those before it did, and conditions see it too", () => {
    const engine = engineOf({
      a: "methods: [CreateContainer]\nmutations: [{ op: set, path: config.working_dir, value: /a }]",
      b: `
        methods: [CreateContainer]
        matchConditions: [{ name: there, expression: 'object.config.working_dir == "/a"' }]
        mutations: [{ op: set, path: config.working_dir, valueExpression: object.config.working_dir + "/b" }]`,
      c: "methods: [CreateContainer]\nvalidations: [{ expression: 'object.config.working_dir == \"/a/b\"' }]",
    });
    expect(decide(engine, "CreateContainer", createContainer).outcomes).toEqual([
      { policy: "a", action: "mutated" },
      { policy: "b", action: "mutated" },
    ]);
  });

  it("that only tells changes nothing, and tells the difference", () => {
    const spec = (actions: string) =>
      `methods: [CreateContainer]\nvalidationActions: [${actions}]\nmutations: [{ op: set, path: config.tty, value: true }]\n${deny}`;
    const engine = engineOf({ warn: spec("Warn"), audit: spec("Audit, Warn") });
    const { message, denied, outcomes, changes } = decide(engine, "CreateContainer", createContainer);
    expect({ message, denied }).toEqual({ message: undefined, denied: undefined });
    expect(outcomes).toEqual([
      { policy: "warn", action: "warned", message: "would change config.tty" },
      { policy: "audit", action: "warned", message: "would change config.tty" },
      { policy: "audit", action: "audited", message: "would change config.tty" },
      { policy: "warn", action: "warned", message: "not here" },
      { policy: "audit", action: "warned", message: "not here" },
      { policy: "audit", action: "audited", message: "not here" },
    ]);
    const change = { field: "config.tty", outcome: "added", after: "true", dryRun: true };
    expect(changes).toMatchObject([
      { ...change, policy: "warn" },
      { ...change, policy: "audit" },
    ]);
  });
});

describe("a validation", () => {
  it("sees the request as it would go to the runtime, and its message goes to whoever made the call", () => {
    const engine = engineOf({
      b: `
        methods: [CreateContainer]
        validations:
          - expression: "!object.config.linux.security_context.privileged"
            message: is privileged
            messageExpression: '"privileged container " + container.name + " in " + pod.namespace'`,
      "0-first": "methods: [CreateContainer]\nmutations: [{ op: set, path: config.tty, value: true }]",
    });
    const { message, denied, outcomes } = decide(engine, "CreateContainer", createContainer);
    expect(message).toBeUndefined();
    expect(denied).toEqual({ policy: "b", message: "privileged container main in web" });
    expect(outcomes).toContainEqual({
      policy: "b",
      action: "denied",
      message: "privileged container main in web",
    });
    const allowed = engineOf({
      a: "methods: [CreateContainer]\nmutations: [{ op: set, path: config.linux.security_context.privileged, value: false }]",
      b: "methods: [CreateContainer]\nvalidations: [{ expression: '!object.config.linux.security_context.privileged' }]",
    });
    expect(decide(allowed, "CreateContainer", createContainer).denied).toBeUndefined();
  });

  it.each([
    ["messageExpression: '\"the password is \" + object.config.envs[1].value'", "the password is [redacted]"],
    ["messageExpression: object.config.envs[9].value\n            message: written", "written"],
    ["messageExpression: '\" \"'\n            message: written", "written"],
    ["messageExpression: '\"two\\nlines\"'", "two lines"],
    ["message: plain", "plain"],
    ["", "failed expression: object.config.tty"],
  ])("with %j refuses with %j", (text, message) => {
    const engine = engineOf({
      p: `
        methods: [CreateContainer]
        validations:
          - expression: object.config.tty
            ${text}`,
    });
    expect(decide(engine, "CreateContainer", createContainer).denied?.message).toBe(message);
  });
});

describe("what cannot be evaluated", () => {
  const broken =
    "methods: [CreateContainer]\nvalidations: [{ expression: 'object.config.envs[9].key == \"A\"' }]";

  it.each([
    [broken, "failed"],
    [`${broken}\nfailurePolicy: Ignore`, "ignored"],
    [`${broken}\nvalidationActions: [Warn]`, "ignored"],
    [`${broken}\nvalidationActions: [Audit]\nfailurePolicy: Fail`, "ignored"],
    [
      "methods: [CreateContainer]\nmutations: [{ op: set, path: config.working_dir, valueExpression: 'object.config.envs[9].key' }]",
      "ignored",
    ],
    [
      "methods: [CreateContainer]\nfailurePolicy: Fail\nmutations: [{ op: set, path: config.working_dir, valueExpression: 'object.config.envs[9].key' }]",
      "failed",
    ],
    [
      `methods: [CreateContainer]\nmatchConditions: [{ name: c, expression: 'pod.labels["nobody"] == "x"' }]\n${deny}`,
      "failed",
    ],
    [`methods: [CreateContainer]\nruntimeHandlers: [runc]\n${deny}`, "failed"],
  ])("in %j has %s", async (spec, action) => {
    const engine = engineOf({ p: spec });
    const decision = await engine.decide({
      method: "CreateContainer",
      message: requestOf("CreateContainer", createContainer),
    });
    expect(decision.outcomes).toMatchObject([{ policy: "p", action }]);
    expect(decision.denied !== undefined).toBe(action === "failed");
    if (action === "failed") expect(decision.denied?.message).toMatch(/^it could not be evaluated: /);
  });

  it("as the request cannot be read, is refused by a policy that fails closed, and passes otherwise", () => {
    const message = Buffer.from([0x12, 0xff]);
    const closed = engineOf({ p: `methods: [CreateContainer, Exec]\n${deny}` });
    const open = engineOf({ p: `methods: [CreateContainer, Exec]\nfailurePolicy: Ignore\n${deny}` });
    for (const method of ["CreateContainer", "Exec"]) {
      expect(closed.decide({ method, message }), method).toMatchObject({ denied: { policy: "p" } });
      expect(open.decide({ method, message }), method).toMatchObject({
        denied: undefined,
        message: undefined,
      });
    }
  });

  it("is passed over where another condition is not met, as in Kubernetes", () => {
    const conditions = (last: string) =>
      `methods: [CreateContainer]\nmatchConditions: [{ name: a, expression: 'pod.labels["no"] == "x"' }, { name: b, expression: '${last}' }]\n${deny}`;
    expect(decide(engineOf({ p: conditions("false") }), "CreateContainer", createContainer).outcomes).toEqual(
      [],
    );
    expect(
      decide(engineOf({ p: conditions("true") }), "CreateContainer", createContainer).denied,
    ).toBeDefined();
  });

  it("as the request is larger than any that starts a container", () => {
    const large = { ...createContainer, config: { ...containerConfig, working_dir: "x".repeat(5 << 20) } };
    const { denied } = decide(
      engineOf({ p: `methods: [CreateContainer]\n${deny}` }),
      "CreateContainer",
      large,
    );
    expect(denied?.message).toMatch(/larger than/);
  });

  it("as only the id of an image is there", () => {
    const { image, ...rest } = containerConfig;
    const config = { ...rest, image: { image: image.image } };
    const engine = engineOf({ p: `methods: [CreateContainer]\nimages: ['quay.io/**']\n${deny}` });
    const { denied } = decide(engine, "CreateContainer", { ...createContainer, config });
    expect(denied?.message).toMatch(/only the id of the image/);
  });
});

describe("a call that names its container by an id alone", () => {
  const engineWith = (pods: NonNullable<PolicyEngineOptions["pods"]>, spec = "namespaces: [web]") =>
    engineOf({ p: `methods: [Exec, PortForward]\n${spec}\n${deny}` }, { pods });
  const exec = { container_id: "container-1", cmd: ["sh"] };

  it("is decided at once where it is known", () => {
    const known = knownPods([pod], [container]);
    expect(decide(engineWith(known), "Exec", exec).denied).toBeDefined();
    expect(decide(engineWith(known), "PortForward", { pod_sandbox_id: "sandbox-1" }).denied).toBeDefined();
    expect(decide(engineWith(known, "namespaces: [api]"), "Exec", exec).denied).toBeUndefined();
  });

  it("is decided when the runtime has said who it is", async () => {
    const known = knownPods([pod], [container]);
    const engine = engineWith({ ...known, container: () => undefined });
    const decision = engine.decide({ method: "Exec", message: requestOf("Exec", exec) });
    expect(decision).toBeInstanceOf(Promise);
    expect((await decision).denied).toEqual({ policy: "p", message: "not here" });
  });

  it.each([
    ["is not found", async () => undefined, /knows no container/],
    [
      "cannot be asked for",
      () => Promise.reject(new Error("the runtime is away")),
      /could not be asked .*: the runtime is away/,
    ],
  ])("and %s is refused, or let through where failures are ignored", async (_, lookup, why) => {
    const pods = { ...knownPods([]), lookup };
    const message = requestOf("Exec", exec);
    expect((await engineWith(pods).decide({ method: "Exec", message })).denied?.message).toMatch(why);
    const open = await engineWith(pods, "failurePolicy: Ignore").decide({ method: "Exec", message });
    expect(open).toMatchObject({ denied: undefined, outcomes: [{ policy: "p", action: "ignored" }] });
  });

  it("is not judged by labels that were left out of what is known", () => {
    const incomplete = { ...pod, labels: new Map(), incomplete: true };
    const pods = knownPods([incomplete], [{ ...container, pod: incomplete }]);
    const spec = "podSelector: { matchLabels: { app: web } }";
    expect(decide(engineWith(pods, spec), "Exec", exec).denied?.message).toMatch(/more labels than are kept/);
  });
});

describe("what is done to a sandbox", () => {
  const add = (value: string) =>
    `methods: [RunPodSandbox]\nmutations: [{ op: add, path: config.labels, values: { example.org/zone: ${value} } }]`;
  const zoneOf = (message: Record<string, unknown>) =>
    (message.sandbox_config as { labels: Map<string, string> }).labels.get("example.org/zone");

  it("is done to the copy in each of its containers as well, and nothing else there", () => {
    const engine = engineOf({ p: add("a") });
    const created = changed(engine, "CreateContainer", createContainer);
    expect(zoneOf(created)).toBe("a");
    expect(created.config).toEqual(
      readRequest("CreateContainer", requestOf("CreateContainer", createContainer)).config,
    );
    expect(decide(engine, "CreateContainer", createContainer).changes).toMatchObject([
      { policy: "p", field: "sandbox_config.labels[example.org/zone]", outcome: "added" },
    ]);
  });

  it("stays what it was when the policies have changed since", () => {
    const engine = engineOf({ p: add("a") });
    decide(engine, "RunPodSandbox", runPodSandbox);
    engine.replace(policiesOf({ p: add("b") }));
    expect(zoneOf(changed(engine, "CreateContainer", createContainer))).toBe("a");
    engine.replace([]);
    expect(engine.holds("CreateContainer")).toBe(true);
    expect(zoneOf(changed(engine, "CreateContainer", createContainer))).toBe("a");
    const restarted = { ...sandboxConfig, metadata: { ...sandboxConfig.metadata, attempt: 2 } };
    decide(engine, "RunPodSandbox", { config: restarted });
    engine.replace(policiesOf({ p: add("c") }));
    expect(
      decide(engine, "CreateContainer", { ...createContainer, sandbox_config: restarted }).message,
    ).toBeUndefined();
  });

  it("is worked out anew where it was not seen, to the same end", () => {
    const spec = `
      methods: [RunPodSandbox]
      runtimeHandlers: [runc]
      matchConditions: [{ name: runc, expression: 'object.runtime_handler == "runc"' }]
      mutations: [{ op: set, path: "config.annotations[example.org/of]", valueExpression: pod.name + "-" + object.runtime_handler }]`;
    const first = engineOf({ p: spec }, { pods: knownPods([pod]) });
    const sandbox = changed(first, "RunPodSandbox", runPodSandbox).config;
    const seen = changed(first, "CreateContainer", createContainer).sandbox_config;
    const anew = changed(
      engineOf({ p: spec }, { pods: knownPods([pod]) }),
      "CreateContainer",
      createContainer,
    );
    expect(seen).toEqual(sandbox);
    expect(anew.sandbox_config).toEqual(sandbox);
  });

  it("is not judged again for each container", () => {
    const engine = engineOf({ p: `${add("a")}\n${deny}` });
    expect(decide(engine, "CreateContainer", createContainer).denied).toBeUndefined();
    expect(decide(engine, "RunPodSandbox", runPodSandbox).denied).toBeDefined();
  });

  it("is forgotten for sandboxes of long ago", () => {
    const engine = engineOf({ p: add("a") });
    for (let i = 0; i < 5_001; i += 1) {
      const metadata = { ...sandboxConfig.metadata, uid: `uid-${i}` };
      decide(engine, "RunPodSandbox", { config: { ...sandboxConfig, metadata } });
    }
    engine.replace(policiesOf({ p: add("b") }));
    const of = (uid: string) => ({
      ...createContainer,
      sandbox_config: { ...sandboxConfig, metadata: { ...sandboxConfig.metadata, uid } },
    });
    expect(zoneOf(changed(engine, "CreateContainer", of("uid-5000")))).toBe("a");
    expect(zoneOf(changed(engine, "CreateContainer", of("uid-0")))).toBe("b");
  });
});

describe("images by another name", () => {
  const mirror = "imageRewrites: [{ from: docker.io, to: mirror.example.org/hub }]";
  const engine = engineOf({ mirror });
  const auth = { username: "u", password: "hunter2", server_address: "docker.io" };

  it.each(["PullImage", "ImageStatus", "RemoveImage"])("are so in %s", (method) => {
    expect(changed(engine, method, { image: { image: "nginx:1.25" } })).toMatchObject({
      image: { image: "mirror.example.org/hub/library/nginx:1.25" },
    });
    expect(decide(engine, method, { image: { image: "quay.io/a/b:1" } }).message).toBeUndefined();
    expect(decide(engine, method, { image: { image: `sha256:${"a1".repeat(32)}` } }).message).toBeUndefined();
  });

  it("are so in the volumes of a container, whose own image is an id by then", () => {
    const mounts = [
      { container_path: "/a" },
      { container_path: "/m", image: { image: "models/small:1" } },
      { container_path: "/n", image: { image: "quay.io/a/b" } },
    ];
    const message = { ...createContainer, config: { ...containerConfig, mounts } };
    expect(changed(engine, "CreateContainer", message).config).toMatchObject({
      image: containerConfig.image,
      mounts: [
        {},
        { image: { image: "mirror.example.org/hub/models/small:1" } },
        { image: { image: "quay.io/a/b" } },
      ],
    });
  });

  it("are pulled without the credentials for their old registry", () => {
    const pull = { image: { image: "nginx" }, auth };
    expect(changed(engine, "PullImage", pull)).not.toHaveProperty("auth");
    const kept = engineOf({
      m: "imageRewrites: [{ from: docker.io, to: mirror.example.org, keepCredentials: true }]",
    });
    expect(changed(kept, "PullImage", pull).auth).toMatchObject({ username: "u" });
    const inside = engineOf({ m: "imageRewrites: [{ from: docker.io, to: docker.io/mirror }]" });
    expect(changed(inside, "PullImage", pull).auth).toMatchObject({ username: "u" });
    expect(decide(engine, "PullImage", { image: { image: "quay.io/a/b" }, auth }).message).toBeUndefined();
    expect(JSON.stringify(decide(engine, "PullImage", pull).changes)).not.toContain("hunter2");
  });

  it("are so for every pod: an image has one name on a node", () => {
    const pull = { image: { image: "nginx" }, sandbox_config: inNamespace("kube-system") };
    expect(decide(engine, "PullImage", pull).message).toBeDefined();
  });

  it("are only told of where a policy only tells, and the others are still asked", () => {
    const both = engineOf({
      a: "imageRewrites: [{ from: docker.io, to: told.example.org }]\nvalidationActions: [Audit]",
      mirror,
    });
    const { message, outcomes } = decide(both, "PullImage", { image: { image: "nginx" } });
    expect(readRequest("PullImage", message ?? Buffer.alloc(0))).toMatchObject({
      image: { image: "mirror.example.org/hub/library/nginx" },
    });
    expect(outcomes.map(({ policy, action }) => [policy, action])).toEqual([
      ["a", "audited"],
      ["mirror", "mutated"],
    ]);
  });

  it("are matched by the name that the user wrote", () => {
    const both = engineOf({ mirror, p: `methods: [PullImage]\nimages: [nginx]\n${deny}` });
    expect(decide(both, "PullImage", { image: { image: "nginx" } }).denied).toBeDefined();
  });
});
