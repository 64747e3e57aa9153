/** Policies that change while calls go on, and policies that only tell, on a real containerd. */
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPolicyWorld, type PolicyWorld, type RunningContainer } from "./support/policy-world.ts";

const PERMISSION_DENIED = 7;
const metricsPort = 18_000 + (process.pid % 1_000);
const secret = "hunter2-in-plain-sight";

let world: PolicyWorld;

function refusing(message: string): string {
  return `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: no-exec }
spec:
  methods: [Exec]
  namespaces: [web]
  validations: [{ expression: "false", message: "${message}" }]
`;
}

beforeAll(async () => {
  world = await createPolicyWorld("--metrics-address", `127.0.0.1:${metricsPort}`);
});
afterAll(() => world?.stop());

describe("a policy that only tells", () => {
  const spec = (action: string) => `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: told }
spec:
  methods: [CreateContainer]
  validationActions: [${action}]
  mutations:
    - { op: set, path: "config.envs[TOLD]", value: ${secret} }
    - { op: set, path: config.linux.resources.memory_limit_in_bytes, value: 1048576 }
  validations: [{ expression: "false", message: must not be }]
`;

  it.each([
    ["Warn", "warned"],
    ["Audit", "audited"],
  ])(
    "by %s leaves the container as it was, and puts the difference into the record",
    async (action, outcome) => {
      await world.use({ "told.yaml": spec(action) });
      const name = `${outcome}-0`;
      const container = await world.start({ namespace: "web", name });
      const env = await container.exec("cat", "/proc/1/environ");
      expect(env).not.toContain("TOLD");
      const own = async () =>
        (await world.records()).filter(({ method, pod }) => method === "CreateContainer" && pod === name);
      await expect.poll(own, { timeout: 5_000 }).toHaveLength(1);
      const [record] = await own();
      expect(record).toMatchObject({ status: "OK" });
      expect(record?.policies).toEqual([
        {
          policy: "told",
          action: outcome,
          message: "would change config.envs[TOLD], config.linux.resources.memory_limit_in_bytes",
        },
        { policy: "told", action: outcome, message: "must not be" },
      ]);
      const told = { policy: "told", outcome: "added", dryRun: true };
      expect(record?.changes).toEqual([
        { ...told, field: "config.envs[TOLD]", after: '"[redacted]"' },
        { ...told, field: "config.linux.resources.memory_limit_in_bytes", after: "1048576" },
      ]);
    },
  );

  it("is explained by its recorded line, and by the request itself, without a secret in any output", async () => {
    const line = JSON.stringify(
      (await world.records()).find(({ pod, method }) => pod === "warned-0" && method === "CreateContainer"),
    );
    const policies = ["--policies", world.paths.policies];
    const request = join(world.paths.root, "request.json");
    const config = {
      ...{ envs: [{ key: "PASSWORD", value: secret }], args: [secret], command: ["sh", "-c", secret] },
      annotations: { "example.org/api-token": secret },
    };
    await writeFile(request, JSON.stringify({ config }));
    const about = ["--method", "CreateContainer", "--pod", "web/x", "--container", "main"];
    const runs = await Promise.all([
      world.trivet("cri", "policy", "explain", ...policies, "--call", line),
      world.trivet("cri", "policy", "explain", ...policies, ...about, "--request", request),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([0, 0]);
    for (const { stdout, stderr } of runs) {
      expect(stdout).toMatch(/told/);
      expect(stdout + stderr).not.toContain(secret);
    }
  });
});

describe("policies that change under calls", () => {
  let container: RunningContainer;
  let stop = false;
  const seen: string[] = [];

  /** As a ConfigMap is mounted: files are links into a directory that a link names, and that link is replaced. */
  async function swap(version: number, files: Readonly<Record<string, string>>): Promise<void> {
    const directory = world.paths.policies;
    const data = `..version-${version}`;
    await mkdir(join(directory, data));
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, data, name), text);
    await symlink(data, join(directory, "..data_tmp"));
    await rename(join(directory, "..data_tmp"), join(directory, "..data"));
    await rm(join(directory, `..version-${version - 1}`), { recursive: true, force: true });
  }

  async function caller(): Promise<void> {
    const request = { container_id: container.containerId, cmd: ["sh"], stdout: true };
    while (!stop) {
      const answer = await world.cri.call("Exec", request).then(
        () => "passed",
        (error: { code: number; details: string }) =>
          error.code === PERMISSION_DENIED ? error.details : `failed: ${error.details}`,
      );
      if (seen.at(-1) !== answer) seen.push(answer);
    }
  }

  const ready = async () => (await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).status;
  const refused = (message: string) => `denied by policy no-exec: ${message}`;

  it("are in force for each call as a whole, the last good ones where a file is bad", async () => {
    await world.use({});
    container = await world.start({ namespace: "web" });
    await swap(1, { "no-exec.yaml": refusing("first") });
    await symlink("..data/no-exec.yaml", join(world.paths.policies, "no-exec.yaml"));
    const exec = () =>
      world.cri
        .call("Exec", { container_id: container.containerId, cmd: ["sh"], stdout: true })
        .catch((error: { details: string }) => error.details);
    await expect.poll(exec, { timeout: 10_000 }).toBe(refused("first"));

    const callers = Array.from({ length: 8 }, caller);
    await swap(2, { "no-exec.yaml": refusing("second") });
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(refused("second"));
    await swap(3, { "no-exec.yaml": refusing("third").replace("methods", "metods") });
    await expect.poll(ready, { timeout: 10_000 }).toBe(503);
    const before = seen.length;
    await swap(4, { "no-exec.yaml": refusing("fourth") });
    await expect.poll(ready, { timeout: 10_000 }).toBe(200);
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(refused("fourth"));
    stop = true;
    await Promise.all(callers);
    // Eight callers see a change one after another; nobody ever sees none, or the bad one.
    expect(new Set(seen)).toEqual(new Set(["first", "second", "fourth"].map(refused)));
    expect(seen.slice(0, before)).not.toContain(refused("fourth"));
    const log = (await world.proxy.logTail(200)).join("\n");
    expect(log).toContain("no such field, did you mean methods?");
  });
});
