import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allMethods, type Field, messageType } from "../wire/descriptors.ts";
import { bytesField } from "../wire/encode.ts";
import { encodeMessage } from "../wire/value.ts";
import { createPolicyEngine } from "./engine.ts";
import { container, pod, policiesOf } from "./testing/requests.ts";

/** Some valid value of a field; messages to a depth, then nothing. */
function someValue(field: Field, depth: number): fc.Arbitrary<unknown> {
  if (field.map)
    return fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), {
      maxKeys: 3,
      noNullPrototype: true,
    });
  const one = (): fc.Arbitrary<unknown> => {
    switch (field.kind) {
      case "message":
        return messageOf(field.message ?? "", depth - 1);
      case "bool":
        return fc.boolean();
      case "string":
      case "bytes":
        return fc.string({ maxLength: 12 });
      case "enum":
        return fc.constant(0);
      case "double":
        return fc.double({ noNaN: true });
      case "int32":
      case "int64":
        return fc.integer();
      default:
        return fc.nat();
    }
  };
  return field.repeated ? fc.array(one(), { maxLength: 3 }) : one();
}

function messageOf(name: string, depth: number): fc.Arbitrary<Record<string, unknown>> {
  const fields = messageType(name).fields.filter(({ kind }) => depth > 0 || kind !== "message");
  return fc.record(Object.fromEntries(fields.map((field) => [field.name, someValue(field, depth)])), {
    requiredKeys: [],
  });
}

const everyMethod = allMethods().map(({ name }) => name);
const withPod = everyMethod.filter((name) =>
  ["RunPodSandbox", "CreateContainer", "Exec", "PortForward"].includes(name),
);

describe("policies that match nothing", () => {
  const engine = createPolicyEngine({
    policies: policiesOf({
      namespace: `methods: [${withPod.join(", ")}]\nnamespaces: [no-such-namespace-anywhere]\nvalidations: [{ expression: "false" }]`,
      condition: `methods: [${everyMethod.join(", ")}]\nmatchConditions: [{ name: never, expression: 'request.method == "x"' }]\nvalidations: [{ expression: "false" }]`,
      elements:
        "methods: [CreateContainer]\nmutations: [{ op: removeWhere, path: config.envs, where: { key: no-such-variable } }]",
      images: "imageRewrites: [{ from: no-such-registry.example.org, to: mirror.example.org }]",
      told: "methods: [CreateContainer, RunPodSandbox]\nvalidationActions: [Audit]\nmutations: [{ op: set, path: 'config.labels[a]', value: b }]",
    }),
    pods: { sandbox: () => pod, container: () => container, lookup: async () => undefined },
  });

  it.each(allMethods())("leave the request of $name as it came, whatever is in it", ({ name, request }) => {
    const unknown = fc.tuple(fc.integer({ min: 900, max: 1_000 }), fc.uint8Array({ maxLength: 20 }));
    fc.assert(
      fc.property(messageOf(request, 3), fc.array(unknown, { maxLength: 3 }), (message, extra) => {
        const bytes = Buffer.concat([
          encodeMessage(request, message, name),
          ...extra.map(([number, body]) => bytesField(number, body)),
        ]);
        const before = Buffer.from(bytes);
        const decision = engine.decide({ method: name, message: bytes });
        expect(decision).toMatchObject({ message: undefined, denied: undefined });
        expect(bytes.equals(before)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });
});

describe("any bytes", () => {
  const engine = createPolicyEngine({
    policies: policiesOf({
      all: `methods: [${everyMethod.join(", ")}]\nfailurePolicy: Ignore\nvalidations: [{ expression: "true" }]`,
      change:
        "methods: [CreateContainer]\nmutations: [{ op: add, path: config.envs, values: { A: b } }, { op: removeWhere, path: config.mounts, where: 'item.host_path == \"/\"' }]",
      images: "imageRewrites: [{ from: docker.io, to: mirror.example.org }]",
    }),
    pods: { sandbox: () => pod, container: () => container, lookup: async () => undefined },
  });

  it("are decided on, and never throw", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...everyMethod, "RestorePod", "Tomorrow"),
        fc.uint8Array({ maxLength: 200 }),
        (method, bytes) => {
          const decision = engine.decide({ method, message: Buffer.from(bytes) });
          expect(decision).toMatchObject({ denied: undefined });
        },
      ),
      { numRuns: 500 },
    );
  });
});
