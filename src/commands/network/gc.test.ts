import { expect, test } from "vitest";
import type { Finding } from "../../cni/gc/finding.ts";
import { gcJson, gcTable } from "./gc.ts";

const finding: Finding = {
  kind: "lease without record",
  network: "pods",
  subject: "10.42.7.9",
  address: "10.42.7.9",
  pod: "default/web",
  reason: "container 3c1d5f0a9be21 has no eth0 in this network",
  createdAtMs: 1_000,
  content: Buffer.from("c {}"),
};

test("a dry run says for each finding why, and how to remove it", () => {
  expect(gcTable([{ finding, outcome: "found" }], 721_000).split("\n")).toEqual([
    "NETWORK  WHAT                  SUBJECT    POD          AGE  OUTCOME  REASON",
    "pods     lease without record  10.42.7.9  default/web  12m  found    container 3c1d5f0a9be21 has no eth0 in this network",
    "",
    "Nothing was changed: add --delete to remove this.",
    "",
  ]);
});

test("what was removed is told, and that nothing is left", () => {
  expect(gcTable([{ finding, outcome: "removed" }], 721_000)).not.toContain("--delete");
  expect(gcTable([], 0)).toBe("Nothing is left of dead pods.\n");
});

test("the JSON has the facts, and no content of files", () => {
  expect(JSON.parse(gcJson([{ finding, outcome: "removed" }]))).toEqual([
    {
      network: "pods",
      kind: "lease without record",
      subject: "10.42.7.9",
      pod: "default/web",
      reason: finding.reason,
      createdAtMs: 1_000,
      outcome: "removed",
    },
  ]);
});
