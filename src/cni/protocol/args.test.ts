import { expect, test } from "vitest";
import { parseArgs } from "./args.ts";

test("names are cut at what Kubernetes allows, so that no record and no log line grows without bound", () => {
  const long = "x".repeat(100_000);
  const { pod, problems } = parseArgs(
    `IgnoreUnknown=1;K8S_POD_NAMESPACE=${long};K8S_POD_NAME=${long};K8S_POD_UID=${long}`,
  );
  expect(Object.values(pod).map((text) => text.length)).toEqual([253, 253, 253]);
  expect(problems).toEqual([]);
});

test("messages about wrong arguments are short too", () => {
  const { problems } = parseArgs(`${"y".repeat(50_000)};${"z".repeat(50_000)}=1`);
  expect(problems).toHaveLength(2);
  for (const problem of problems) expect(problem.length).toBeLessThan(250);
});

test("an address and a MAC are ours, without IgnoreUnknown", () => {
  const { asked, problems } = parseArgs("IP=10.0.0.9;MAC=02:00:00:00:00:01");
  expect(asked).toEqual({ ip: "10.0.0.9", mac: "02:00:00:00:00:01" });
  expect(problems).toEqual([]);
});
