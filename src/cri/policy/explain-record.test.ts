import { describe, expect, it } from "vitest";
import type { CallRecord } from "../record/call-record.ts";
import { explainRecord } from "./explain-record.ts";
import { defaultExemptions } from "./select.ts";
import { policiesOf } from "./testing/requests.ts";

const record: CallRecord = {
  ...{ time: "2026-11-21T10:00:00.123Z", method: "CreateContainer", status: "OK" },
  ...{ namespace: "web", pod: "web-0", podUid: "u", container: "main", image: "nginx:1" },
  ...{ totalMs: 1, heldMs: 0, requestBytes: 1, responseBytes: 1 },
};
const deny = 'validations: [{ expression: "false", message: no }]';

/** What is told of a policy with this spec. */
function explain(spec: string, about: Partial<CallRecord> = {}) {
  const [told] = explainRecord(policiesOf({ p: spec }), { ...record, ...about }, defaultExemptions);
  return told && [told.matched, told.reason];
}

describe("what can be told of a recorded call", () => {
  it.each([
    [`methods: [Exec]\n${deny}`, "no", "the policy is not about this method"],
    [`methods: [CreateContainer]\n${deny}`, "yes", undefined],
    [`methods: [CreateContainer]\nnamespaces: [api]\n${deny}`, "no", 'the namespace is "web"'],
    [`methods: [CreateContainer]\ncontainers: [side]\n${deny}`, "no", 'the container is "main"'],
    [`methods: [CreateContainer]\nimages: [redis]\n${deny}`, "no", "the image is not one of images"],
    [`methods: [CreateContainer]\nimages: [nginx]\n${deny}`, "yes", undefined],
    [
      `methods: [CreateContainer]\npodSelector: { matchLabels: { a: b } }\n${deny}`,
      "unknown",
      "the record does not hold the pod's labels",
    ],
    [
      `methods: [CreateContainer]\nruntimeHandlers: [kata]\n${deny}`,
      "unknown",
      "the record does not hold the pod's runtime handler",
    ],
    [
      `methods: [CreateContainer]\nmatchConditions: [{ name: c, expression: object.config.tty }]\n${deny}`,
      "unknown",
      "matchConditions need the request, which the record does not hold",
    ],
    [
      "imageRewrites: [{ from: docker.io, to: mirror.example.org }]",
      "unknown",
      "the record does not hold the name as it came",
    ],
    [
      "methods: [RunPodSandbox]\nmutations: [{ op: add, path: config.labels, values: { a: b } }]",
      "yes",
      undefined,
    ],
  ])("by %j", (spec, matched, reason) => {
    expect(explain(spec)).toEqual([matched, reason]);
  });

  it("is more where the record says what a policy did", () => {
    const spec = `methods: [CreateContainer]\npodSelector: { matchLabels: { a: b } }\n${deny}`;
    const policies = [{ policy: "p", action: "denied" as const, message: "no" }];
    expect(explain(spec, { policies })).toEqual(["yes", "the record says so"]);
  });

  it("is less where the record does not say who it was about", () => {
    const { pod, container, image, ...bare } = record;
    expect([pod, container, image]).not.toContain(undefined);
    const [told] = explainRecord(
      policiesOf({ p: `methods: [Exec]\n${deny}` }),
      { ...bare, method: "Exec" },
      defaultExemptions,
    );
    expect(told).toMatchObject({
      matched: "unknown",
      reason: "the record does not hold the name of the pod",
    });
  });
});
