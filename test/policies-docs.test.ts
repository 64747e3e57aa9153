/** The policy reference has every field of the code, and every policy in it is one that does what the page says. */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { prepareTest, unknownPolicies } from "../src/cri/policy/cases/run.ts";
import { caseFields, expectFields, readTestFile } from "../src/cri/policy/cases/schema.ts";
import { variableFields } from "../src/cri/policy/cel/environment.ts";
import { encodeRequest, explainCall, type GivenCall } from "../src/cri/policy/explain.ts";
import { loadPolicies } from "../src/cri/policy/load.ts";
import type { RuntimePolicy } from "../src/cri/policy/policy.ts";
import type { PolicyProblem } from "../src/cri/policy/problem.ts";
import { specFields, validationActions } from "../src/cri/policy/schema.ts";
import {
  container,
  containerConfig,
  createContainer,
  pod,
  readRequest,
  sandboxConfig,
} from "../src/cri/policy/testing/requests.ts";
import { mutationOps } from "../src/cri/wire/mutation.ts";

const page = await readFile(new URL("../docs/policies.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text ?? "");
const policyBlocks = blocks.filter((text) => text.includes("kind: RuntimePolicy\n"));
const testBlocks = blocks.filter((text) => text.includes("kind: RuntimePolicyTest"));
const policies = policyBlocks.flatMap((text, index) => loadPolicies([{ file: `block ${index}`, text }]));

function only(name: string): RuntimePolicy[] {
  const found = policies.filter((policy) => policy.name === name);
  expect(found, name).toHaveLength(1);
  return found;
}

const shop = { ...sandboxConfig, metadata: { ...sandboxConfig.metadata, namespace: "web" } };
const labelled = (labels: Record<string, string>) => ({ ...shop, labels });
const create = (config: object, sandbox: object = shop) => ({
  ...createContainer,
  config: { ...containerConfig, ...config },
  sandbox_config: sandbox,
});

function explain(name: string, method: string, request: object, known: Partial<GivenCall> = { pod }) {
  const { decision } = explainCall(only(name), { method, message: encodeRequest(method, request), ...known });
  return { ...decision, request: decision.message && readRequest(method, decision.message) };
}

describe("docs/policies.md", () => {
  it("has a row for every field of spec, and no other", () => {
    const rows = [...page.matchAll(/^\| `spec\.(\w+)` \|/gm)].map(([, field]) => field);
    expect(rows.sort()).toEqual([...specFields].sort());
  });

  it("has an example of every field of spec, every operation and every action", () => {
    const shown = policyBlocks.flatMap((text) =>
      parseAllDocuments(text).map((document) => (document.toJS() as { spec: Record<string, unknown> }).spec),
    );
    expect([...new Set(shown.flatMap(Object.keys))].sort()).toEqual([...specFields].sort());
    const all = JSON.stringify(shown);
    for (const op of mutationOps) expect(all).toContain(`"op":"${op}"`);
    for (const action of validationActions) expect(all).toContain(`"${action}"`);
  });

  it.each([...variableFields, ...mutationOps, "object", "variables", "item"])("names %s", (name) => {
    expect(page).toMatch(new RegExp(`^\\|[^|]*\`${name.replace(".", "\\.")}\``, "m"));
  });
});

describe("the tests in docs/policies.md", () => {
  const problems: PolicyProblem[] = [];
  const tests = testBlocks.flatMap((text) => readTestFile({ file: "docs", text }, problems));
  problems.push(...tests.flatMap((test) => unknownPolicies(test, policies)));
  const cases = tests.flatMap((test) => prepareTest(test, problems));

  it("are in order, and show every field", () => {
    expect(problems).toEqual([]);
    const shown = tests.flatMap(({ document }) => document.spec.cases);
    expect([...new Set(shown.flatMap(Object.keys))].sort()).toEqual([...caseFields].sort());
    const expected = shown.flatMap(({ expect: fields }) => Object.keys(fields));
    expect([...new Set(expected)].sort()).toEqual([...expectFields].sort());
    for (const field of [...caseFields, ...expectFields]) {
      expect(page, field).toMatch(new RegExp(`^\\|[^|]*\`${field}\``, "m"));
    }
  });

  it("pass", () => {
    const named = policies.filter(({ name }) => ["proxy-environment", "no-shell-in-payments"].includes(name));
    expect(cases.length).toBeGreaterThan(1);
    for (const one of cases) expect(one.run(named)).toEqual({ name: one.name, differences: [] });
  });
});

describe("the policy of docs/policies.md named", () => {
  it("proxy-environment adds what a container does not set itself", () => {
    const { request } = explain(
      "proxy-environment",
      "CreateContainer",
      create({ envs: [{ key: "NO_PROXY", value: "own" }] }),
    );
    expect(request).toMatchObject({
      config: {
        envs: [
          { key: "NO_PROXY", value: "own" },
          { key: "HTTPS_PROXY", value: "http://proxy.example.org:3128" },
        ],
      },
    });
  });

  it("no-shell-in-payments refuses all ways in, but for pods with the label", () => {
    const payments = { ...pod, namespace: "payments" };
    const inside = { ...container, pod: payments };
    for (const method of ["Exec", "Attach"]) {
      const { denied } = explain(
        "no-shell-in-payments",
        method,
        { container_id: "x" },
        { container: inside },
      );
      expect(denied?.message).toBe("nobody enters pods of payments");
    }
    const forward = { pod_sandbox_id: "x" };
    expect(explain("no-shell-in-payments", "PortForward", forward, { pod: payments }).denied).toBeDefined();
    expect(explain("no-shell-in-payments", "PortForward", forward, { pod }).denied).toBeUndefined();
    const debug = { ...payments, labels: new Map([["debug", ""]]) };
    expect(explain("no-shell-in-payments", "PortForward", forward, { pod: debug }).denied).toBeUndefined();
  });

  it("no-privileged refuses privileged containers and all capabilities, outside of one namespace", () => {
    expect(explain("no-privileged", "CreateContainer", create({})).denied?.message).toBe(
      "the container main of web-1 must not be privileged",
    );
    const all = { linux: { security_context: { capabilities: { add_capabilities: ["ALL"] } } } };
    expect(explain("no-privileged", "CreateContainer", create(all)).denied?.message).toMatch(
      /all capabilities/,
    );
    expect(explain("no-privileged", "CreateContainer", create({ linux: {} })).denied).toBeUndefined();
    const storage = { ...shop, metadata: { ...shop.metadata, namespace: "storage" } };
    expect(explain("no-privileged", "CreateContainer", create({}, storage)).denied).toBeUndefined();
  });

  it("harden makes its seven changes, to static pods too", () => {
    const config = {
      mounts: [{ container_path: "/sock", host_path: "/var/run/docker.sock" }],
      devices: [{ container_path: "/dev/kvm", host_path: "/dev/kvm" }],
    };
    const fromFile = { ...shop, annotations: { "kubernetes.io/config.source": "file" } };
    for (const sandbox of [shop, fromFile]) {
      const { request } = explain("harden", "CreateContainer", create(config, sandbox));
      expect(request).toMatchObject({
        config: {
          linux: {
            resources: { memory_limit_in_bytes: 536870912n },
            security_context: {
              capabilities: { add_capabilities: ["SYS_ADMIN"], drop_capabilities: ["NET_RAW"] },
            },
          },
          mounts: [{ host_path: "/dev/null" }, { container_path: "/etc/ssl/node-ca.pem" }],
        },
      });
      const { envs } = (request?.config ?? {}) as { envs?: unknown[] };
      expect(envs).toContainEqual({ key: "LANG", value: "C.UTF-8" });
      expect(request?.config).not.toHaveProperty("devices");
    }
    const large = explain("harden", "CreateContainer", create(config, labelled({ large: "" })));
    expect(large.request).toMatchObject({
      config: { linux: { resources: { memory_limit_in_bytes: 2147483648n } } },
    });
  });

  it("sandbox-handler changes the sandbox, and its copy in containers", () => {
    const config = labelled({ isolation: "vm" });
    expect(explain("sandbox-handler", "RunPodSandbox", { config }).request).toMatchObject({
      runtime_handler: "kata",
      config: {
        annotations: new Map([
          ["kubernetes.io/config.source", "api"],
          ["example.org/isolated", "true"],
        ]),
      },
    });
    const copy = explain("sandbox-handler", "CreateContainer", create({}, config)).request?.sandbox_config;
    expect((copy as { annotations: Map<string, string> }).annotations.get("example.org/isolated")).toBe(
      "true",
    );
  });

  it("tell-about-limits only warns", () => {
    const { denied, message, outcomes } = explain(
      "tell-about-limits",
      "CreateContainer",
      create({ linux: {} }),
    );
    expect({ denied, message }).toEqual({ denied: undefined, message: undefined });
    expect(outcomes).toEqual([
      { policy: "tell-about-limits", action: "warned", message: "has no memory limit" },
    ]);
  });

  it.each([
    ["nginx:1.25", "registry.example.org/hub/library/nginx:1.25", false],
    ["bitnami/redis", "registry.example.org/charts/redis", false],
    ["quay.io/a/b:1", "registry.example.org/quay/a/b:1", true],
  ])("mirror pulls %s as %s, with the kubelet's credentials: %s", (image, other, withAuth) => {
    const { request } = explain("mirror", "PullImage", { image: { image }, auth: { username: "u" } });
    expect(request).toMatchObject({ image: { image: other } });
    expect(Object.hasOwn(request ?? {}, "auth")).toBe(withAuth);
    expect(explain("mirror", "ImageStatus", { image: { image } }).request).toMatchObject({
      image: { image: other },
    });
  });

  it("no-checkpoints refuses them by every name", () => {
    expect(
      explain("no-checkpoints", "CheckpointContainer", { container_id: "x" }, { container }).denied,
    ).toBeDefined();
    for (const method of ["CheckpointPod", "RestorePod"]) {
      const { decision } = explainCall(only("no-checkpoints"), { method, message: Buffer.alloc(0) });
      expect(decision.denied?.message, method).toBe("checkpoints hold the memory of pods");
    }
  });
});
