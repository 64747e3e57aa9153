/**
 * The rules of the CNI specification on the real kernel: our plugin as a runtime starts it, through the static client and the
 * agent and standalone, and the reference plugin `bridge`, whose deviations are listed.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultConf } from "../conformance/cni/default-conf.ts";
import { createProcessSubject, type ProcessSubject } from "../conformance/cni/process-subject.ts";
import { rules } from "../conformance/cni/rules.ts";
import { judge, versionsFor, versionsOf } from "../conformance/cni/run-rules.ts";
import { type AgentProcess, startAgentIn } from "./support/cni-agent.ts";
import { installClient } from "./support/cni-client.ts";

const program = fileURLToPath(new URL("../../bin/trivet", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "trivet-conformance-"));
const client = join(directory, "bin", "trivet");
let subject: ProcessSubject;
let supported: string[];

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  installClient(join(directory, "bin"), program);
  subject = createProcessSubject({ plugin: client, conf: defaultConf(client, directory) });
  supported = await versionsOf(subject);
});

afterAll(() => {
  subject.destroy();
  rmSync(directory, { recursive: true });
});

describe("through the static client and the agent", () => {
  let agent: AgentProcess;

  beforeAll(async () => {
    agent = await startAgentIn(subject.node, join(directory, "cni.sock"), join(directory, "state"));
  });
  afterAll(() => agent.stop());

  // The newest version: the unit tests go through all of them.
  test.each(rules.map((rule) => [rule.group, rule.title, rule] as const))(
    "%s: %s",
    async (_group, _title, rule) => {
      const version = versionsFor(rule, supported).at(-1) ?? "";
      expect(await judge(rule, { subject, version })).toBeUndefined();
    },
  );
});

/** Of each verb the first rule: a process of Node.js for each call takes its time, and runs the same plugin. */
const verbs = ["ADD", "DEL", "CHECK", "GC", "STATUS"];
const some = verbs.flatMap((verb) => rules.filter(({ group }) => group === verb).slice(0, 1));

describe("standalone, since there is no agent", () => {
  test.each(some.map((rule) => [rule.group, rule.title, rule] as const))(
    "%s: %s",
    async (_group, _title, rule) => {
      expect(await judge(rule, { subject, version: "1.1.0" })).toBeUndefined();
    },
  );
});

/** What the reference plugin of Debian (1.1.1) does otherwise, as the table of `npm run conformance:cni` shows it. */
const deviations = [
  "an error is one object with cniVersion, code and msg on stdout, of the configuration's version, and not exit code 0",
  "given a prevResult, prints it again with what it changed: interfaces and addresses of plugins before it stay",
  "succeeds and cleans up when a plain file is left of the namespace",
  "an ADD whose IPAM plugin fails, fails too, and calls the IPAM plugin's DEL",
];

test("the reference bridge keeps the rules of 1.0.0, but for those listed", async () => {
  const plugin = ["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"].find(existsSync);
  if (!plugin) throw new Error("the package containernetworking-plugins is not installed");
  const reference = createProcessSubject({ plugin, conf: defaultConf(plugin, directory) });
  const broken: string[] = [];
  for (const rule of rules.filter(({ since = "1.0.0" }) => since <= "1.0.0")) {
    if (await judge(rule, { subject: reference, version: "1.0.0" })) broken.push(rule.title);
  }
  reference.destroy();
  expect(broken).toEqual(deviations);
});
