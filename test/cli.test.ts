/** The program as its users start it: verbs, help, mistakes, configuration. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import packageFile from "../package.json" with { type: "json" };

const run = promisify(execFile);
const program = join(import.meta.dirname, "..", "bin", "trivet");
const verbs = ["node", "cri", "cni", "network", "demo", "version"];

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function trivet(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const environment = { PATH: process.env.PATH ?? "", ...env };
  try {
    return { code: 0, ...(await run(program, args, { env: environment })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-cli-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

describe("trivet", { concurrent: true }, () => {
  it("lists its verbs, each with a line, when it is called with nothing or with --help", async () => {
    for (const { code, stdout } of await Promise.all([trivet([]), trivet(["--help"])])) {
      expect(code).toBe(0);
      for (const verb of verbs) expect(stdout).toMatch(new RegExp(`^  ${verb}\\b.* \\S+`, "m"));
    }
  });

  it.each([
    ["node", ["--node-id", "--csi-endpoint", "--pool", "--kubelet-root", "--state-dir", "--cni-socket"]],
    [
      "node",
      ["--health-address", "--no-csi", "--no-cni", "--config", "--print-config", "CSI_ENDPOINT", "NODE_NAME"],
    ],
    ["cri", ["--listen", "--upstream", "--policy-dir", "--call-log", "--metrics-address", "--config"]],
    ["cni", ["CNI_COMMAND", "stdin"]],
    ["demo", ["--simulate"]],
  ])("%s --help names %j", async (verb, expected) => {
    const { code, stdout } = await trivet([verb, "--help"]);
    expect(code).toBe(0);
    for (const part of expected) expect(stdout).toContain(part);
  });

  it("answers a mistyped flag with the right one, and code 2", async () => {
    const { code, stdout, stderr } = await trivet(["cri", "--lisen", "unix:///x"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Did you mean --listen?");
  });

  it("answers a mistyped verb with the right one, and code 2", async () => {
    const { code, stderr } = await trivet(["noode"]);
    expect(code).toBe(2);
    expect(stderr).toContain("Did you mean node?");
  });

  it("does not swallow what is no flag", async () => {
    expect((await trivet(["cri", "extra"])).code).toBe(2);
  });

  it("prints its version, for people and for programs", async () => {
    const [text, json] = await Promise.all([trivet(["version"]), trivet(["version", "-o", "json"])]);
    expect(text.stdout).toMatch(/^trivet \d+\.\d+\.\d+ \(Node\.js 2[4-9]\./);
    expect(JSON.parse(json.stdout)).toMatchObject({ trivet: packageFile.version });
    expect((await trivet(["--version"])).stdout).toBe(`trivet ${packageFile.version}\n`);
  });

  it("refuses a form of the version that it does not know", async () => {
    const { code, stderr } = await trivet(["version", "-o", "yaml"]);
    expect(code).toBe(2);
    expect(stderr).toContain("Allowed choices are json");
  });

  it.each([
    ["help", "cri --help"],
    ["settings", "cri --print-config"],
  ])("takes it for no error that the reader of its %s goes away", async (_, args) => {
    const { stdout, stderr } = await run("/bin/sh", [
      "-c",
      `{ ${program} ${args}; echo "ended with $?" >&2; } | true`,
    ]);
    expect({ stdout, stderr }).toEqual({ stdout: "", stderr: "ended with 0\n" });
  });

  it("shows leases as a table and as JSON, also where there are none", async () => {
    const none = ["network", "leases", "--state-dir", join(directory, "none")];
    const [table, json, wrong] = await Promise.all([
      trivet(none),
      trivet([...none, "-o", "json"]),
      trivet([...none, "-o", "yaml"]),
    ]);
    expect(table.stdout).toMatch(/^NETWORK {2}ADDRESS {2}POD /);
    expect(JSON.parse(json.stdout)).toEqual([]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("Allowed choices are table, json");
  });

  it("works through a symbolic link, from anywhere", async () => {
    const link = join(directory, "linked");
    await symlink(program, link);
    const { stdout } = await run(link, ["version"], { cwd: "/" });
    expect(stdout).toContain(packageFile.version);
  });
});

describe("the configuration of a verb", { concurrent: true }, () => {
  it("is shown with --print-config as a file that gives the same again", async () => {
    const flags = ["--listen", "unix:///a.sock", "--metrics-address", "[::1]:0", "--drain-seconds", "2.5"];
    const first = await trivet(["cri", ...flags, "--print-config"]);
    expect(parse(first.stdout)).toEqual({
      logLevel: "info",
      cri: {
        exemptNamespaces: ["kube-system", "trivet-system"],
        unknownMethods: "allow",
        listen: "unix:///a.sock",
        upstream: "unix:///run/containerd/containerd.sock",
        callLogLevels: expect.arrayContaining(["change=all"]),
        callLogSlowMs: 1000,
        callLogMaxMebibytes: 32,
        callLogKeep: 4,
        metricsAddress: "[::1]:0",
        drainSeconds: 2.5,
        handOverSeconds: 600,
      },
    });
    const again = await trivet(["cri", "--config", await file("again.yaml", first.stdout), "--print-config"]);
    expect(again.stdout).toBe(first.stdout);
  });

  it("is shown so for a node with every kind of setting", async () => {
    const config = await file(
      "node.yaml",
      `
node:
  nodeId: n
  drainSeconds: 2.5
  csi:
    pools: [{ name: default, path: /pool, budget: 2Gi, reserve: 1Gi, onlyNamed: true, drain: true, preallocate: false }]
    copyWaitSeconds: 3
    inlineMaxSize: 1Gi
  cni:
    criSocket: unix:///cri.sock
    nodeRoutes: [{ podCIDR: 10.42.1.0/24, via: 192.168.1.2 }]
`,
    );
    const first = await trivet(["node", "--config", config, "--print-config"]);
    expect(parse(first.stdout)).toMatchObject({ node: { drainSeconds: 2.5, csi: { copyWaitSeconds: 3 } } });
    const again = await trivet([
      "node",
      "--config",
      await file("node-again.yaml", first.stdout),
      "--print-config",
    ]);
    expect(parse(again.stdout)).toEqual(parse(first.stdout));
  });

  it("takes flags over the environment over the file", async () => {
    const config = await file(
      "order.yaml",
      "node: { nodeId: from-file, csi: { endpoint: unix:///file/csi.sock } }\n",
    );
    const { stdout, stderr } = await trivet(
      ["node", "--config", config, "--node-id", "from-flag", "--print-config"],
      {
        NODE_NAME: "from-env",
        CSI_ENDPOINT: "unix:///env/csi.sock",
      },
    );
    expect(stderr).toBe("");
    expect(parse(stdout)).toMatchObject({
      node: { nodeId: "from-flag", csi: { endpoint: "unix:///env/csi.sock" } },
    });
  });

  it("lists every problem at once, with paths and where they came from, and ends with code 2", async () => {
    const config = await file(
      "bad.yaml",
      "node: { csi: { pools: [{ name: A!, path: relative }] }, lease: 1 }\n",
    );
    const { code, stdout, stderr } = await trivet([
      "node",
      "--config",
      config,
      "--health-address",
      "nowhere",
    ]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    for (const path of [
      "node.nodeId",
      "node.csi.pools[0]",
      "node.lease",
      "node.healthAddress (--health-address)",
    ]) {
      expect(stderr).toContain(path);
    }
  });

  it("names a file that cannot be read", async () => {
    const { code, stderr } = await trivet(["cri", "--config", "/nonexistent.yaml"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--config: .*\/nonexistent\.yaml: ENOENT/);
  });

  it("refuses to start with a policy that it cannot use, and changes nothing", async () => {
    const policies = await mkdtemp(join(directory, "policies-"));
    await writeFile(join(policies, "bad.yaml"), "kind: RuntimePolicy\n");
    const { code, stderr } = await trivet([
      "cri",
      "--listen",
      `unix://${directory}/p.sock`,
      "--policy-dir",
      policies,
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain("bad.yaml: apiVersion: is missing");
  });
});
