/** Policies that do their best to tell secrets, and a search for these in what the client and the record are told. */
import { describe, expect, it } from "vitest";
import { createCalls } from "../calls.ts";
import { createPolicyEngine } from "../policy/engine.ts";
import { loadPolicies } from "../policy/load.ts";
import type { CallEnd } from "../tap/hooks.ts";
import { bytesField, entryField } from "../wire/encode.ts";
import type { CallRecord } from "./call-record.ts";

const secret = "hunter2-in-plain-sight";

const metadata = ["web-1", "uid-1", "shop"].map((text, index) => bytesField(index + 1, text));
const sandbox = Buffer.concat([
  bytesField(1, Buffer.concat(metadata)),
  entryField(7, "example.org/token", secret),
]);
const container = Buffer.concat([
  bytesField(1, bytesField(1, "main")),
  bytesField(2, bytesField(1, "registry.example.org/web:1")),
  bytesField(3, secret),
  bytesField(4, secret),
  entryField(6, "PASSWORD", secret),
  entryField(10, "example.org/token", secret),
]);
const requests: Record<string, Uint8Array> = {
  CreateContainer: Buffer.concat([bytesField(1, "s1"), bytesField(2, container), bytesField(3, sandbox)]),
  Exec: Buffer.concat([bytesField(1, "c1"), bytesField(2, secret)]),
  PullImage: Buffer.concat([
    bytesField(1, bytesField(1, "registry.example.org/web:1")),
    bytesField(2, Buffer.concat([bytesField(1, secret), bytesField(2, secret), bytesField(5, secret)])),
    bytesField(3, sandbox),
  ]),
};

const pod = {
  ...{ sandboxId: "s1", namespace: "shop", name: "web-1", uid: "uid-1", runtimeHandler: "" },
  ...{ labels: new Map<string, string>(), annotations: new Map<string, string>() },
  ...{ isStatic: false, incomplete: false },
};
const facts = { containerId: "c1", name: "main", image: "web", pod };
const pods = {
  sandbox: () => pod,
  container: () => facts,
  lookup: (async (kind: string) => (kind === "sandbox" ? pod : facts)) as never,
};

const end: CallEnd = {
  ...{ grpcStatus: 7, grpcMessage: secret, reset: undefined, requestBytes: 1, responseBytes: 1 },
  timing: { startMs: 1, requestDoneMs: 2, responseStartMs: 3, endMs: 4, heldMs: 0.5 },
};

/** The record of a call under one policy, and what the client was told. */
async function told(method: string, spec: string): Promise<{ record: CallRecord | undefined; text: string }> {
  const text = `{ apiVersion: trivet.dev/v1alpha1, kind: RuntimePolicy, metadata: { name: p }, spec: ${spec} }`;
  const records: CallRecord[] = [];
  const calls = createCalls({
    policies: createPolicyEngine({ policies: loadPolicies([{ file: "p.yaml", text }]), pods }),
    nowMs: () => 0,
    record: (record) => records.push(record),
  });
  const service = method === "PullImage" ? "ImageService" : "RuntimeService";
  const path = `/runtime.v1.${service}/${method}`;
  const { call, hold } = calls.onRequest({ streamId: 1, connectionId: 1, path });
  expect(hold).toBe(true);
  const decision = await call?.edit?.(requests[method] ?? Buffer.alloc(0));
  call?.onEnd(end);
  const [record] = records;
  const answer = decision?.action === "deny" ? decision.message : "";
  return { record, text: `${answer}\n${JSON.stringify(record)}` };
}

/** What is denied, and by which sentence. */
const refusals: readonly [method: string, expression: string][] = [
  ["CreateContainer", "string(object.config.envs[0].value)"],
  ["CreateContainer", "object.config.args[0]"],
  ["CreateContainer", "object.config.command.join(' ')"],
  ["CreateContainer", "object.config.annotations['example.org/token']"],
  ["CreateContainer", "object.sandbox_config.annotations['example.org/token']"],
  ["Exec", "object.cmd[0]"],
  ["PullImage", "object.auth.password + object.auth.username"],
];

describe("what a policy says", () => {
  it.each(refusals)("of %s is told without %s", async (method, expression) => {
    for (const action of ["Deny", "Warn", "Audit"]) {
      const spec = `{ methods: [${method}], validationActions: [${action}], validations: [{ expression: "false",
        messageExpression: "'saw ' + ${expression} + ' here'" }] }`;
      const { record, text } = await told(method, spec);
      expect(record?.policies).toHaveLength(1);
      expect(text).toContain("saw ");
      expect(text).not.toContain("hunter2");
    }
  });

  it.each([
    ["{ op: add, path: config.envs, values: { ADDED: hunter2-of-the-author } }", "config.envs[ADDED]"],
    ["{ op: set, path: 'config.envs[PASSWORD]', value: hunter2-of-the-author }", "config.envs[PASSWORD]"],
    ["{ op: set, path: config.args, value: [hunter2-of-the-author] }", "config.args"],
    ["{ op: remove, path: config.command }", "config.command"],
    ["{ op: set, path: 'config.annotations[example.org/token]', value: hunter2 }", "config.annotations"],
    [
      "{ op: set, path: 'config.annotations[copy]', valueExpression: 'object.config.args[0]' }",
      "config.annotations",
    ],
  ])("it changes, by %s, is told by its field", async (mutation, field) => {
    for (const action of ["Deny", "Audit"]) {
      const spec = `{ methods: [CreateContainer], validationActions: [${action}], mutations: [${mutation}] }`;
      const { record, text } = await told("CreateContainer", spec);
      expect(record?.changes?.[0]?.field).toContain(field);
      expect(text).not.toContain("hunter2");
    }
  });
});
