import { describe, expect, it } from "vitest";
import { readPod } from "../pods/read-facts.ts";
import { encodeMessage } from "../wire/value.ts";
import { createPolicyEngine, type PolicyDecision, type PolicyEngine } from "./engine.ts";
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

const deny = 'validations: [{ expression: "false", message: not here }]';

function decided(engine: PolicyEngine, method: string, message: object, listener?: string): PolicyDecision {
  const decision = engine.decide({ method, message: requestOf(method, message), listener });
  if (decision instanceof Promise) throw new Error("the runtime was to be asked");
  return decision;
}

const withImage = (image: object) => ({ ...createContainer, config: { ...containerConfig, image } });
const usersImage = (name: string) => withImage({ image: "sha256:1", user_specified_image: name });

describe("an image's other spellings are the same image", () => {
  const engine = createPolicyEngine({
    policies: policiesOf({
      hub: `methods: [CreateContainer]\nimages: ["docker.io/**"]\n${deny}`,
      own: `methods: [CreateContainer]\nimages: ["registry.example.org/secret/*"]\n${deny}`,
    }),
  });
  const long = `registry.example.org/secret/${"a".repeat(240)}:${"t".repeat(128)}@sha512:${"0".repeat(128)}`;

  it.each([
    "Docker.IO/library/nginx",
    "docker.io:443/library/nginx",
    "registry-1.docker.io/library/nginx",
    "REGISTRY.example.org/secret/app",
    "registry.example.org:443/secret/app:1",
    long,
  ])("%s", (image) => {
    expect(decided(engine, "CreateContainer", usersImage(image)).denied).toBeDefined();
  });

  it("also to image rewrites", () => {
    const mirror = createPolicyEngine({
      policies: policiesOf({ mirror: "imageRewrites: [{ from: quay.io, to: mirror.example.org/quay }]" }),
    });
    for (const image of ["Quay.io/a/b:1", "quay.io:443/a/b:1"]) {
      const { message } = decided(mirror, "PullImage", { image: { image } });
      expect(message && readRequest("PullImage", message)).toEqual({
        image: { image: "mirror.example.org/quay/a/b:1" },
      });
    }
  });
});

describe("an image by its id", () => {
  it("is none of Docker Hub, however much of the id is written", () => {
    const engine = createPolicyEngine({
      policies: policiesOf({
        hub: `methods: [CreateContainer]\nvalidations: [{ expression: image.registry == "docker.io" }]`,
        other: `methods: [CreateContainer]\nimages: ["registry.example.org/**"]\n${deny}`,
      }),
    });
    for (const id of ["sha256:a1", "sha256:a1b2c3d4e5f6", `sha256:${"a1".repeat(32)}`]) {
      expect(decided(engine, "CreateContainer", usersImage(id)).denied).toBeDefined();
    }
  });
});

describe("labels and annotations that are not kept of a pod", () => {
  const config = { ...sandboxConfig, labels: {}, annotations: {} };
  const filled = (prefix: string, count: number, length: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`${prefix}${index}`, "x".repeat(length)]),
    );
  const known = (labels: object, annotations: object) => {
    const bytes = encodeMessage("PodSandboxConfig", { ...config, labels, annotations }, "config");
    return readPod(bytes, { metadata: 1, labels: 6, annotations: 7 }, { sandboxId: "sandbox-1" });
  };
  const exec = (labels: object, annotations: object, expression: string) => {
    const own = known(labels, annotations);
    const engine = createPolicyEngine({
      policies: policiesOf({
        p: `methods: [Exec]\nmatchConditions: [{ name: marked, expression: '${expression}' }]\n${deny}`,
      }),
      pods: knownPods([own], [{ ...container, pod: own }]),
    });
    return decided(engine, "Exec", { container_id: "container-1" }).denied;
  };
  const mark = { "example.org/no-exec": "true" };

  it.each([
    ["many short ones", filled("a", 300, 10)],
    ["some long ones", filled("a", 40, 1_000)],
    ["a few", filled("a", 1, 4)],
  ])("hide nothing from a policy: %s", (_, others) => {
    expect(exec({}, { ...others, ...mark }, '"example.org/no-exec" in pod.annotations')).toBeDefined();
    expect(
      exec(
        { ...others, ...mark },
        {},
        "has(pod.labels.x) || 'example.org/no-exec' in pod.labels".replaceAll("'", '"'),
      ),
    ).toBeDefined();
    expect(
      exec({ ...others, ...mark }, {}, 'pod.labels.exists(key, key == "example.org/no-exec")'),
    ).toBeDefined();
  });

  it("are no reason to refuse where something else is asked for", () => {
    const document = { document: "x".repeat(10_000) };
    expect(exec({}, document, '"example.org/no-exec" in pod.annotations')).toBeUndefined();
  });

  it("do not make a static pod an ordinary one", () => {
    const source = { "kubernetes.io/config.source": "file" };
    expect(known({}, { ...filled("a", 300, 100), ...source }).isStatic).toBe(true);
  });
});

describe("by an extra listener", () => {
  const pods = knownPods([pod], [container]);
  const engineOf = (spec: string) => createPolicyEngine({ policies: policiesOf({ p: spec }), pods });
  const inNamespace = (namespace: string) => ({
    ...sandboxConfig,
    metadata: { ...sandboxConfig.metadata, namespace },
  });

  it("no request is of an exempt pod because it says so", () => {
    const engine = engineOf(`methods: [RunPodSandbox, CreateContainer]\n${deny}`);
    const system = { ...runPodSandbox, config: inNamespace("kube-system") };
    const fixed = {
      ...runPodSandbox,
      config: { ...sandboxConfig, annotations: { "kubernetes.io/config.source": "file" } },
    };
    for (const request of [system, fixed]) {
      expect(decided(engine, "RunPodSandbox", request).denied).toBeUndefined();
      expect(decided(engine, "RunPodSandbox", request, "agent").denied).toBeDefined();
    }
  });

  it("a container belongs to the pod whose sandbox it names", async () => {
    const engine = engineOf(`methods: [CreateContainer]\nnamespaces: [web]\n${deny}`);
    const elsewhere = { ...createContainer, sandbox_config: inNamespace("api") };
    const message = "the sandbox that it names is of another pod than its configuration says";
    expect(decided(engine, "CreateContainer", elsewhere, "agent").denied?.message).toContain(message);
    expect(decided(engine, "CreateContainer", elsewhere).denied).toBeUndefined();
    expect(decided(engine, "CreateContainer", createContainer, "agent").denied?.message).toBe("not here");
    const unknown = await engine.decide({
      method: "CreateContainer",
      message: requestOf("CreateContainer", { ...elsewhere, pod_sandbox_id: "nobody" }),
      listener: "agent",
    });
    expect(unknown.denied?.message).toContain("the runtime knows no sandbox");
  });

  it("the image is the one that the runtime takes", () => {
    const image = { image: "evil.example.org/a", user_specified_image: "good.example.org/a" };
    const spec = (method: string) => `methods: [${method}]\nimages: ["evil.example.org/**"]\n${deny}`;
    expect(decided(engineOf(spec("PullImage")), "PullImage", { image }, "agent").denied).toBeDefined();
    expect(decided(engineOf(spec("PullImage")), "PullImage", { image }).denied).toBeDefined();
    const create = withImage(image);
    expect(
      decided(engineOf(spec("CreateContainer")), "CreateContainer", create, "agent").denied,
    ).toBeDefined();
  });

  it("nobody has a say in what is remembered of the kubelet's sandboxes", () => {
    const engine = engineOf(`methods: [CreateContainer]\nruntimeHandlers: [runc]\n${deny}`);
    decided(engine, "RunPodSandbox", runPodSandbox);
    decided(engine, "RunPodSandbox", { ...runPodSandbox, runtime_handler: "kata" }, "agent");
    expect(decided(engine, "CreateContainer", createContainer).denied).toBeDefined();
  });
});

describe("a request that is too large for policies", () => {
  const value = "x".repeat(5 << 20);
  const large = { ...createContainer, config: { ...containerConfig, envs: [{ key: "A", value }] } };

  it("is refused by the policies that are about it, and by no other", () => {
    const engine = (spec: string) =>
      createPolicyEngine({ policies: policiesOf({ p: `methods: [CreateContainer]\n${spec}\n${deny}` }) });
    expect(decided(engine("namespaces: [web]"), "CreateContainer", large).denied).toBeDefined();
    expect(decided(engine("namespaces: [api]"), "CreateContainer", large).denied).toBeUndefined();
    expect(decided(engine("containers: [other]"), "CreateContainer", large).denied).toBeUndefined();
  });
});

describe("a choice of elements by their fields", () => {
  const remove = (where: string) =>
    policiesOf({
      p: `methods: [CreateContainer]\nmutations: [{ op: removeWhere, path: config.mounts, where: ${where} }]`,
    });
  const mounts = [
    { container_path: "/a", propagation: "PROPAGATION_BIDIRECTIONAL" },
    { container_path: "/b", propagation: "PROPAGATION_PRIVATE" },
  ];
  const request = { ...createContainer, config: { ...containerConfig, mounts } };

  it.each(["{ propagation: PROPAGATION_BIDIRECTIONAL }", "{ propagation: 2 }"])("by %s is made", (where) => {
    const { message } = decided(createPolicyEngine({ policies: remove(where) }), "CreateContainer", request);
    const { config } = readRequest("CreateContainer", message ?? Buffer.alloc(0)) as {
      config: { mounts: unknown[] };
    };
    expect(config.mounts).toMatchObject([{ container_path: "/b" }]);
  });

  it.each([
    ["{ propagation: BIDIRECTIONAL }", /where\.propagation: is no name of MountPropagation.*PROPAGATION_/],
    ["{ propagation: PROPAGATION_BIDIRECTONAL }", /did you mean PROPAGATION_BIDIRECTIONAL\?/],
  ])("by %s, which no element can have, is refused", (where, why) => {
    expect(() => remove(where)).toThrow(why);
  });
});

describe("a comparison with a name that an enum does not have", () => {
  const options = "object.config.linux.security_context.namespace_options";
  const load = (expression: string) =>
    policiesOf({ p: `methods: [RunPodSandbox]\nvalidations: [{ expression: '${expression}' }]` });

  it.each([
    [`${options}.network != "NODES"`, '"NODES" is no name of NamespaceMode, did you mean NODE?'],
    [`"HOST" == ${options}.pid`, '"HOST" is no name of NamespaceMode (it has POD'],
    [`!(${options}.ipc in ["NODE", "Pod"])`, '"Pod" is no name of NamespaceMode, did you mean POD?'],
  ])("is refused: %s", (expression, why) => {
    expect(() => load(expression)).toThrow(why);
  });

  it.each([`${options}.network != "NODE"`, `${options}.pid in ["POD", "7"]`, `${options}.ipc == pod.name`])(
    "others are taken: %s",
    (expression) => {
      expect(load(expression)).toHaveLength(1);
    },
  );
});

describe("many image volumes", () => {
  it("are rewritten in one go", () => {
    const engine = createPolicyEngine({
      policies: policiesOf({ mirror: "imageRewrites: [{ from: quay.io, to: mirror.example.org/quay }]" }),
    });
    const count = 20_000;
    const mounts = Array.from({ length: count }, (_, index) => ({
      container_path: `/m${index}`,
      image: { image: `quay.io/a/b:${index}` },
    }));
    const request = { ...createContainer, config: { ...containerConfig, mounts } };
    const { message } = decided(engine, "CreateContainer", request);
    const read = message && readRequest("CreateContainer", message);
    const { config } = read as { config: { mounts: { image: { image: string } }[] } };
    expect(config.mounts).toHaveLength(count);
    expect(config.mounts.at(-1)?.image.image).toBe(`mirror.example.org/quay/a/b:${count - 1}`);
  });

  it("go through one rewrite each, as all images do", () => {
    const engine = createPolicyEngine({
      policies: policiesOf({
        mirror:
          "imageRewrites: [{ from: docker.io, to: quay.io/hub }, { from: quay.io, to: mirror.example.org }]",
      }),
    });
    const mounts = ["quay.io/a/b", "a/b", "ghcr.io/a/b"].map((image, index) => ({
      container_path: `/m${index}`,
      image: { image },
    }));
    const request = { ...createContainer, config: { ...containerConfig, mounts } };
    const { message } = decided(engine, "CreateContainer", request);
    const { config } = readRequest("CreateContainer", message ?? Buffer.alloc(0)) as {
      config: { mounts: unknown[] };
    };
    expect(config.mounts).toMatchObject([
      { image: { image: "mirror.example.org/a/b" } },
      { image: { image: "quay.io/hub/a/b" } },
      { image: { image: "ghcr.io/a/b" } },
    ]);
  });
});
