import { describe, expect, it } from "vitest";
import { encodeRequest, explainCall } from "./explain.ts";
import {
  container,
  createContainer,
  policiesOf,
  requestOf,
  runPodSandbox,
  sandboxConfig,
} from "./testing/requests.ts";

const deny = 'validations: [{ expression: "false", message: no }]';

describe("the explanation of a call", () => {
  const policies = policiesOf({
    other: `methods: [Exec]\n${deny}`,
    namespace: `methods: [CreateContainer]\nnamespaces: [api]\n${deny}`,
    condition: `methods: [CreateContainer]\nmatchConditions: [{ name: tty, expression: object.config.tty }]\n${deny}`,
    change: "methods: [CreateContainer]\nmutations: [{ op: set, path: config.tty, value: true }]",
    sandbox: "methods: [RunPodSandbox]\nmutations: [{ op: add, path: config.labels, values: { a: b } }]",
    images: "imageRewrites: [{ from: docker.io, to: mirror.example.org }]",
    broken:
      "methods: [CreateContainer]\nmutations: [{ op: set, path: config.working_dir, valueExpression: 'object.config.args[5]' }]",
  });

  it("tells of every policy whether it matches, and why not", () => {
    const message = requestOf("CreateContainer", createContainer);
    const { policies: told, decision } = explainCall(policies, { method: "CreateContainer", message });
    expect(told.map(({ policy, matched, reason }) => [policy, matched, reason])).toEqual([
      ["other", false, "the policy is not about this method"],
      ["namespace", false, 'the namespace is "web"'],
      ["condition", false, "the condition tty is not met"],
      ["change", true, undefined],
      ["sandbox", true, undefined], // its copy is changed
      ["images", false, "no image has this prefix"],
      ["broken", true, undefined],
    ]);
    expect(decision.changes.map(({ policy, field }) => [policy, field])).toEqual([
      ["sandbox", "sandbox_config.labels[a]"],
      ["change", "config.tty"],
    ]);
    expect(decision.outcomes).toContainEqual(
      expect.objectContaining({ policy: "broken", action: "ignored" }),
    );
  });

  it("takes the pod that is given for the id in the request", () => {
    const message = encodeRequest("Exec", { container_id: "whatever" });
    expect(explainCall(policies, { method: "Exec", message, container }).decision.denied).toEqual({
      policy: "other",
      message: "no",
    });
    const { decision, policies: told } = explainCall(policies, { method: "Exec", message });
    expect(decision.denied?.message).toMatch(/not known/);
    expect(told[0]).toMatchObject({ matched: false, reason: expect.stringMatching(/not known/) });
  });

  it.each([
    ["Exec", { containerid: "x" }, /ExecRequest has no field containerid, did you mean container_id\?/],
    ["Exec", { tty: "yes" }, /Exec\.tty: must be true or false/],
    ["Execc", {}, /is not known here/],
  ])("of a %s with %j is refused", (method, request, why) => {
    expect(() => encodeRequest(method, request)).toThrow(why);
  });
});

describe("RestorePod, which makes containers by another name,", () => {
  // RestorePodRequest: config = 2, container_configs = 5.
  const tagged = (number: number, bytes: Uint8Array) => {
    const length: number[] = [];
    let rest = bytes.length;
    for (; rest >= 128; rest = rest >> 7) length.push((rest & 0x7f) | 0x80);
    return Buffer.concat([Buffer.from([number * 8 + 2, ...length, rest]), bytes]);
  };
  const inner = (method: string, message: object) => {
    const bytes = requestOf(method, message);
    const tagBytes = 1;
    const lengthBytes = bytes.length < 130 ? 1 : 2;
    return bytes.subarray(tagBytes + lengthBytes);
  };
  const sandbox = inner("RunPodSandbox", { config: sandboxConfig });
  const containerBytes = inner("CreateContainer", { config: createContainer.config });
  const restore = Buffer.concat([tagged(2, sandbox), tagged(5, containerBytes)]);
  const explain = (specs: Readonly<Record<string, string>>, message: Uint8Array = restore) =>
    explainCall(policiesOf(specs), { method: "RestorePod", message }).decision;

  it.each([
    [
      "methods: [CreateContainer]\nvalidations: [{ expression: '!object.config.linux.security_context.privileged', message: privileged }]",
      "privileged",
    ],
    [
      "methods: [RunPodSandbox]\nnamespaces: [web]\nvalidations: [{ expression: 'false', message: sandbox }]",
      "sandbox",
    ],
    ["methods: [RestorePod]\nvalidations: [{ expression: 'false', message: restore }]", "restore"],
    [
      "methods: [CreateContainer]\nfailurePolicy: Fail\nmutations: [{ op: set, path: config.tty, value: true }]",
      "it could not be evaluated: it changes the request, which cannot be changed for this method",
    ],
  ])("is refused by %j", (spec, message) => {
    expect(explain({ p: spec }).denied).toEqual({ policy: "p", message });
  });

  it.each([
    "methods: [CreateContainer]\nvalidations: [{ expression: '!object.config.tty' }]",
    "methods: [RunPodSandbox]\nnamespaces: [api]\nvalidations: [{ expression: 'false' }]",
    "methods: [CreateContainer]\nmutations: [{ op: set, path: config.tty, value: true }]",
    "methods: [Exec]\nvalidations: [{ expression: 'false' }]",
  ])("passes by %j", (spec) => {
    expect(explain({ p: spec })).toMatchObject({ denied: undefined, message: undefined });
  });

  it("is refused where it does not say what it restores, unless failures are ignored", () => {
    const spec = "methods: [CreateContainer]\nvalidations: [{ expression: 'true' }]";
    const bare = tagged(2, sandbox);
    for (const message of [Buffer.alloc(0), bare, Buffer.from([0x12, 0xff])]) {
      expect(explain({ p: spec }, message).denied?.policy).toBe("p");
      const open = explain({ p: `${spec}\nfailurePolicy: Ignore` }, message);
      expect(open).toMatchObject({ denied: undefined, outcomes: [{ policy: "p", action: "ignored" }] });
    }
  });

  it("passes where no policy is about what it makes", () => {
    expect(runPodSandbox.runtime_handler).toBe("runc");
    expect(explain({ p: "imageRewrites: [{ from: docker.io, to: mirror.example.org }]" }).outcomes).toEqual(
      [],
    );
  });
});
