/** `trivet install` where a real systemd runs the node: it starts what was written, reloads it to the next version, and forgets it again. */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { type PrivateSystemd, startSystemd } from "./support/systemd.ts";

const repository = join(import.meta.dirname, "../..");
const SERVICE = "trivet-cri.service";
let directory: string;
let systemd: PrivateSystemd;
let runtime: FakeContainerd;
let unitsBefore: string[];

const at = (name: string) => join(directory, name);

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  directory = mkdtempSync(join(tmpdir(), "trivet-install-"));
  execFileSync(process.execPath, ["hack/bundle.ts"], {
    cwd: repository,
    stdio: ["ignore", "ignore", "inherit"],
  });
  cpSync(process.execPath, at("node"));
  for (const version of ["1.0.0", "1.1.0", "1.2.0"]) makeBundle(version);
  const broken = at("1.2.0/main.js");
  const main = readFileSync(broken, "utf8");
  writeFileSync(
    broken,
    `if (process.argv[2] === "cri" && process.argv[3] !== "reload") process.exit(1);\n${main}`,
  );
  runtime = await startFakeContainerd({ path: at("containerd.sock") });
  for (const name of ["etc", "opt", "lib", "systemd/units"]) mkdirSync(at(name), { recursive: true });
  execFileSync("cp", ["-a", "/etc/.", at("etc")]);
  mkdirSync(at("etc/systemd/system"), { recursive: true });
  const binds = {
    ...{ "/etc": at("etc"), "/opt": at("opt"), "/var/lib": at("lib") },
    "/etc/systemd/system": at("systemd/units"),
  };
  systemd = await startSystemd({ root: at("systemd"), units: {}, binds });
  unitsBefore = units();
});
afterAll(async () => {
  await systemd?.stop();
  await runtime?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function makeBundle(version: string): void {
  cpSync(join(repository, "dist/trivet"), at(version), { recursive: true });
  linkSync(at("node"), at(`${version}/bin/node`));
  const about = JSON.parse(readFileSync(at(`${version}/package.json`), "utf8"));
  writeFileSync(at(`${version}/package.json`), JSON.stringify({ ...about, version }));
}

const units = () => readdirSync(at("systemd/units"), { recursive: true }).map(String).sort();

/** Detects systemd by itself. Without the pod network: the machine's own network is shared here. */
const install = (version: string) =>
  systemd.run([
    ...([at(`${version}/bin/trivet`), "install", "--components", "runtime,cri"] as const),
    ...["--upstream", `unix://${runtime.path}`],
  ]);

const installed = (...args: string[]) => systemd.run(["/opt/trivet/current/bin/trivet", ...args]);

async function mainProgram(): Promise<string> {
  const { MainPID } = await systemd.show(SERVICE);
  return (await systemd.run(["readlink", `/proc/${MainPID}/exe`])).stdout.trim();
}

/** Calls without a pause while `act` runs; each must succeed. */
async function underCalls(act: () => Promise<void>): Promise<void> {
  let ended = false;
  let calls = 0;
  const failures: string[] = [];
  const call = async () => {
    while (!ended) {
      const client = connectCri({ path: systemd.path("/run/trivet/cri.sock") });
      for (let index = 0; index < 20; index++) {
        calls += 1;
        await client.call("Version").catch((error: Error) => failures.push(error.message));
      }
      client.close();
    }
  };
  const running = [call(), call()];
  try {
    await act();
  } finally {
    ended = true;
    await Promise.all(running);
  }
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(100);
}

test("socket and service are enabled, and serve", async () => {
  const { exitCode, stdout, stderr } = await install("1.0.0");
  expect(exitCode, stdout + stderr).toBe(0);
  expect(stdout).toContain("started trivet-cri.socket, trivet-cri.service");
  // By the files alone, as the next boot reads them: this systemd was started with a path of units of its own.
  const ask = ["systemctl", "--root=/", "is-enabled", "trivet-cri.socket", SERVICE] as const;
  const { stdout: enabled } = await systemd.run([...ask]);
  expect(enabled).toBe("enabled\nenabled\n");
  expect(await systemd.show(SERVICE)).toMatchObject({ ActiveState: "active", NeedDaemonReload: "no" });
  const client = connectCri({ path: systemd.path("/run/trivet/cri.sock") });
  expect(await client.call("Version")).toMatchObject({ runtime_name: "containerd" });
  client.close();
  expect(await mainProgram()).toBe("/opt/trivet/1.0.0/bin/node");
  expect((await install("1.0.0")).stdout).toContain("nothing was to be done");
});

test("an upgrade and a rollback change the main process, and no call fails", async () => {
  await underCalls(async () => {
    const { exitCode, stdout, stderr } = await install("1.1.0");
    expect(exitCode, stdout + stderr).toBe(0);
    expect(await mainProgram()).toBe("/opt/trivet/1.1.0/bin/node");
    const back = await installed("rollback");
    expect(back.exitCode, back.stdout + back.stderr).toBe(0);
    expect(await mainProgram()).toBe("/opt/trivet/1.0.0/bin/node");
  });
  expect((await systemd.show(SERVICE)).NRestarts).toBe("0");
});

test("a version that does not get ready leaves the old one serving, also over a crash", async () => {
  await underCalls(async () => {
    const { exitCode, stderr } = await install("1.2.0");
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining("serves on as before")]);
  });
  expect(await mainProgram()).toBe("/opt/trivet/1.0.0/bin/node");
  const { MainPID } = await systemd.show(SERVICE);
  await systemd.run(["kill", "-9", String(MainPID)]);
  const client = connectCri({ path: systemd.path("/run/trivet/cri.sock") });
  expect(await client.call("Version")).toMatchObject({ runtime_name: "containerd" });
  client.close();
  expect(await mainProgram()).toBe("/opt/trivet/1.0.0/bin/node");
});

test("after uninstalling systemd knows nothing of it", async () => {
  const { exitCode, stdout, stderr } = await installed("uninstall");
  expect(exitCode, stdout + stderr).toBe(0);
  expect(stdout).toContain("every path is as it was before");
  expect(await systemd.show(SERVICE)).toMatchObject({ LoadState: "not-found", ActiveState: "inactive" });
  expect(units()).toEqual(unitsBefore);
  expect([readdirSync(at("opt")), readdirSync(at("lib"))]).toEqual([[], []]);
  expect(existsSync(at("etc/trivet"))).toBe(false);
});
