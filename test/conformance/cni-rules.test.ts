/** Our plugin keeps every rule of the CNI specification; here on the kernel in memory, in test/e2e on the real one. */
import { describe, expect, test } from "vitest";
import { createFakeSubject } from "./cni/fake-subject.ts";
import { rules } from "./cni/rules.ts";
import { judge, versionsFor, versionsOf } from "./cni/run-rules.ts";

const supported = await versionsOf(createFakeSubject());

test("it speaks all versions from 0.3.1 on", () => {
  expect(supported).toEqual(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
});

const groups = [...new Set(rules.map(({ group }) => group))];

describe.each(groups.filter((group) => group !== "delegation"))("%s", (group) => {
  const cases = rules.filter((rule) => rule.group === group);
  test.each(cases.map((rule) => [rule.title, rule] as const))("%s", async (_title, rule) => {
    for (const version of versionsFor(rule, supported)) {
      expect(await judge(rule, { subject: createFakeSubject(), version }), version).toBeUndefined();
    }
  });
});
