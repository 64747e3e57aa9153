/** `trivet cri policy` as its users call it: what it prints, with which exit code, and that it never prints a secret. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { definePolicy } from "../src/commands/cri/policy.ts";
import { proxySettings } from "../src/commands/cri/proxy-settings.ts";
import { isKind } from "../src/errors.ts";

const program = join(import.meta.dirname, "../bin/trivet");
const secret = "hunter2-in-plain-sight";

const before = process.cwd();
let directory: string;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** In this process, as `main.ts` would: a process of its own for each would take most of the time. */
async function policy(args: readonly string[]): Promise<Ended> {
  const cri = new Command("cri").exitOverride();
  const settings = proxySettings([
    { path: "cri.exemptNamespaces", flag: "--exempt-namespace <name>", help: "", list: true },
  ]);
  definePolicy(cri, { plain: settings, exempt: settings });
  let stdout = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  try {
    await cri.parseAsync(["policy", ...args], { from: "user" });
    return { code: Number(process.exitCode ?? 0), stdout, stderr: "" };
  } catch (error) {
    if (error instanceof CommanderError) return { code: error.exitCode, stdout, stderr: error.message };
    if (!isKind(error, "invalid")) throw error;
    return { code: 2, stdout, stderr: error.message };
  } finally {
    process.exitCode = undefined;
    write.mockRestore();
  }
}

/** As a user starts it. */
function started(args: readonly string[], input = ""): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(program, ["cri", "policy", ...args], { cwd: directory }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

const head = (name: string) =>
  `apiVersion: trivet.dev/v1alpha1\nkind: RuntimePolicy\nmetadata: { name: ${name} }\nspec:\n`;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-policy-"));
  const files: Record<string, string> = {
    "good.yaml": `${head("good")}  methods: [Exec]
  namespaces: [web]
  validations: [{ expression: "!('${secret}' in object.cmd)", messageExpression: "'saw ' + object.cmd[0]" }]
---
${head("env")}  methods: [CreateContainer]
  mutations: [{ op: set, path: "config.envs[PASSWORD]", value: ${secret} }]
`,
    "good.test.yaml": `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicyTest
spec:
  cases:
    - { name: passes, method: Exec, pod: { namespace: web }, request: { cmd: [ls] }, expect: {} }
    - { name: fails, method: Exec, pod: { namespace: web }, request: { cmd: [${secret}] }, expect: { matches: [] } }
    - { name: differs, method: CreateContainer, expect: { fields: { "config.envs[PASSWORD]": ${secret}-2 } } }
`,
    "bad/bad.yaml": `${head("bad")}  methods: [Exce]\n  mutations: [{ op: set, path: cmdd, value: [${secret}] }]\n`,
    "bad/bad.test.yaml": "apiVersion: trivet.dev/v1alpha1\nkind: RuntimePolicyTest\nspec: { casess: [] }\n",
    "settings.conf": `cri: { policyDir: ${directory} }\n`,
    "request.json": `cmd: [${secret}]\n`,
    "broken.txt": `cmd: [${secret}\n  x: : ${secret}\n`,
  };
  process.chdir(directory);
  await mkdir("bad");
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
});
afterAll(async () => {
  process.chdir(before);
  await rm(directory, { recursive: true, force: true });
});

describe("trivet cri policy", () => {
  it("check names file, document, field and the name that was meant, with code 2", async () => {
    const { code, stdout } = await policy(["check", "good.yaml", "bad"]);
    expect(code).toBe(2);
    expect(stdout).toMatch(
      /^bad\/bad\.yaml\n {2}error {2}spec\.methods\.0 +CRI has no method Exce, did you mean Exec\?$/m,
    );
    expect(stdout).toMatch(/^good\.yaml\n {2}warning {2}spec\.methods +Exec without Attach and PortForward/m);
    expect(stdout).toMatch(/2 policies in 2 files: 1 error, 1 warning\n$/);
  });

  it("check passes with warnings, unless it is strict; JSON has the same", async () => {
    const [plain, strict] = [
      await policy(["check", "good.yaml", "-o", "json"]),
      await policy(["check", "good.yaml", "--strict"]),
    ];
    expect([plain.code, strict.code]).toEqual([0, 2]);
    expect(JSON.parse(plain.stdout)).toMatchObject({
      files: ["good.yaml"],
      policies: [
        { name: "good", methods: ["Exec"] },
        { name: "env", file: "good.yaml (document 2)" },
      ],
      errors: [],
      warnings: [{ file: "good.yaml", document: 1, path: "spec.methods" }],
    });
  });

  it("explain tells by pod, container and request what becomes of a call, without secrets", async () => {
    const given = ["--config", "settings.conf", "--method", "Exec", "--pod", "web/x", "--request"];
    const [table, json] = [
      await policy(["explain", ...given, "request.json"]),
      await started(["explain", ...given, "-", "-o", "json"], `cmd: [${secret}]`),
    ];
    expect(table).toMatchObject({ code: 0, stderr: "" });
    expect(table.stdout).toContain("Exec in pod web/x\n\n#  POLICY  MATCHES  WHY\n");
    expect(table.stdout).toMatch(/^1 {2}good {4}yes {6}denied: saw \[redacted\]$/m);
    expect(table.stdout).toMatch(/^2 {2}env {5}no {7}the policy is not about this method$/m);
    expect(table.stdout).toMatch(/The call is refused: denied by policy good: saw \[redacted\]\n$/);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ...{ method: "Exec", namespace: "web", pod: "x", decision: "Deny", changed: false },
      policies: [
        { policy: "good", matched: true },
        { policy: "env", matched: false },
      ],
    });
    expect(json.stdout + table.stdout).not.toContain(secret);
  });

  it("explain shows each change by its field, redacted", async () => {
    const { stdout } = await policy([
      "explain",
      "--policies",
      "good.yaml",
      "--method",
      "CreateContainer",
      "--pod",
      "web/x",
    ]);
    expect(stdout).toMatch(/^env {5}config\.envs\[PASSWORD\] {2}added {4}- {7}"\[redacted\]"$/m);
    expect(stdout).toMatch(/The call goes to the runtime with these changes\n$/);
    expect(stdout).not.toContain(secret);
  });

  it("explain takes a line of the call log, on stdin too, and with a request", async () => {
    const line = JSON.stringify({
      ...{
        time: "2026-11-21T10:00:00Z",
        method: "Exec",
        status: "PERMISSION_DENIED",
        namespace: "web",
        pod: "x\u001b[2J",
      },
      policies: [{ policy: "gone", action: "denied", message: "no" }],
      denied: { policy: "gone", message: "no" },
    });
    const args = ["explain", "--policies", "good.yaml"];
    const [alone, whole] = [
      await started([...args, "--call", "-"], `${line}\n`),
      await policy([...args, "--call", line, "--request", "request.json", "-o", "json"]),
    ];
    expect(alone.stdout).toMatch(/^1 {2}good {4}yes$/m);
    expect(alone.stdout).toContain("The call ended at 2026-11-21T10:00:00Z with denied by policy gone: no");
    expect(alone.stdout).toContain("Policies of then that are not there now: gone.");
    expect(alone.stdout).not.toContain("\u001b");
    expect(JSON.parse(whole.stdout)).toMatchObject({ decision: "Deny", namespace: "web" });
    expect(alone.stdout + whole.stdout).not.toContain(secret);
  });

  it("test tells what was expected and what came, with code 1", async () => {
    const [table, json, quiet] = [
      await policy(["test", "--config", "settings.conf"]),
      await policy(["test", "good.test.yaml", "-o", "json"]),
      await policy(["test", "-q", "."]),
    ];
    expect([table.code, json.code, quiet.code]).toEqual([1, 1, 1]);
    expect(table.stdout).toContain("  ok    passes\n  FAIL  fails\n");
    expect(table.stdout).toMatch(/^ {10} {2,}EXPECTED {2}GOT$/m);
    expect(table.stdout).toMatch(/^ {10}decision {2}Allow {5}Deny, by good: saw \[redacted\]$/m);
    expect(table.stdout).toMatch(/3 cases: 1 passed, 2 failed\n$/);
    expect(JSON.parse(json.stdout)).toMatchObject([{ name: "passes", passed: true }, { passed: false }, {}]);
    expect(quiet.stdout).not.toContain("passes");
    for (const { stdout, stderr } of [table, json, quiet]) expect(stdout + stderr).not.toContain(secret);
  });

  it.each([
    [["check"], /name files or a directory of policies, or the proxy's settings with --config/],
    [["check", "nowhere"], /nowhere/],
    [["check", "/dev/zero"], /is a device/],
    [["explain", "--policies", "bad"], /bad\.yaml: spec\.methods\.0: CRI has no method Exce/],
    [["explain", "--policies", "good.yaml"], /--method: is needed/],
    [
      ["explain", "--policies", "good.yaml", "--method", "Exec", "--pod", "a/b/c"],
      /--pod: must be NAMESPACE\/NAME/,
    ],
    [["explain", "--policies", "good.yaml", "--method", "Exec", "--label", "a=b"], /--pod: is needed/],
    [["explain", "--policies", "good.yaml", "--call", `{${secret}`], /--call: is no line of the call log/],
    [["explain", "--policies", "good.yaml", "--method", "Exec", "--request", "broken.txt"], /cannot be read/],
    [["test", "bad"], /bad\.test\.yaml: spec\.casess: no such field, did you mean cases\?/],
    [["test", "good.yaml"], /kind: must be RuntimePolicyTest/],
  ])("%j is refused with code 2", async (args, why) => {
    const { code, stdout, stderr } = await policy(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(why);
    expect(stderr).not.toContain(secret);
  });

  it.each(["check", "explain", "test"])("%s has help with examples", async (verb) => {
    const { code, stdout } = await policy([verb, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples:\n(.*\n)*  trivet cri policy ${verb} `));
  });

  it("ends with the code of what it found", async () => {
    const { code, stdout } = await started(["check", "bad"]);
    expect(code).toBe(2);
    expect(stdout).toContain("CRI has no method Exce, did you mean Exec?");
  });
});
