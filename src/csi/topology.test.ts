import { describe, expect, test } from "vitest";
import { nodeTopology, requireReachable, topologyValue } from "./topology.ts";

const key = "topology.local.csi.trivet.dev/node";

describe("topologyValue", () => {
  test.each(["a", "node-1.example.com", "n".repeat(63)])("keeps a name that fits: %s", (name) => {
    expect(topologyValue(name)).toBe(name);
  });

  test.each([64, 100, 253])("shortens a name of %d characters to 63, a valid label and its own", (length) => {
    const value = topologyValue(`${"n".repeat(length - 1)}1`);
    expect(value).toMatch(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/);
    expect(value).toHaveLength(63);
    expect(value).not.toBe(topologyValue(`${"n".repeat(length - 1)}2`));
  });

  test("gives the same value for the same name at all times: volumes carry it", () => {
    expect(topologyValue(`${"very-long-node-name.".repeat(4)}example`)).toBe(
      "very-long-node-name.very-long-node-name.very-long-no-qsm23jvtn2",
    );
  });

  test.each(["", "-a", "a-", "a/b", "a b", "ä", ".", "n".repeat(254)])(
    "refuses what is no node name: %j",
    (name) => {
      expect(() => topologyValue(name)).toThrow(expect.objectContaining({ kind: "invalid" }));
    },
  );
});

describe("requireReachable", () => {
  const own = nodeTopology("n1");
  const at = (value: string, more: object = {}) => ({ segments: { [key]: value, ...more } });

  test.each([
    [null],
    [{ requisite: [], preferred: [] }],
    [{ requisite: [], preferred: [at("n2")] }],
    [{ requisite: [at("n2"), at("n1")], preferred: [at("n2")] }],
  ])("accepts %j", (requirement) => {
    expect(() => requireReachable(requirement, own)).not.toThrow();
  });

  test.each([
    [{ requisite: [at("n2")], preferred: [at("n1")] }],
    [{ requisite: [at("n1", { zone: "a" })], preferred: [] }],
    [{ requisite: [{ segments: {} }], preferred: [] }],
  ])("sends the pod elsewhere for %j", (requirement) => {
    expect(() => requireReachable(requirement, own)).toThrow(expect.objectContaining({ kind: "exhausted" }));
  });
});
