/** The life of an installation on a node without systemd: busybox's init runs the supervisor, as docs/install.md says. */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { startCriLoad } from "./support/cri-load.ts";
import { kubeletFlags, WholeNode } from "./support/whole-node.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const trivet = "/opt/trivet/current/bin/trivet";
const proxySocket = "/run/trivet/cri.sock";
const bundles = { "1.0.0": "/tmp/1.0.0", "1.1.0": "/tmp/1.1.0" } as const;
const line = "::respawn:/opt/trivet/supervise\n";

let node: WholeNode;
let before: Record<string, object>;

const installation = (version: keyof typeof bundles) =>
  [`${bundles[version]}/bin/trivet`, "install", "--subnet", "10.78.0.0/24", "--loopback"] as const;
const install = (version: keyof typeof bundles) => node.do(...installation(version));

async function answers(): Promise<boolean> {
  const cri = connectCri({ path: node.at(proxySocket) });
  const answer = await cri.call("Version").catch(() => undefined);
  cri.close();
  return answer?.runtime_name === "containerd";
}

/** The versions of the proxies that run. */
async function proxies(): Promise<string[]> {
  const listed = await node.do("sh", "-c", "ls -l /proc/[0-9]*/exe 2>/dev/null || :");
  return [...listed.matchAll(/\/opt\/trivet\/([^/]+)\/bin\/node$/gm)].map(([, version = ""]) => version);
}

const edit = async (change: (text: string) => string) => {
  writeFileSync(node.at("/etc/inittab"), change(node.read("/etc/inittab")));
  await node.do("kill", "-HUP", "1");
};

// Of the order of ten times what it takes.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 240_000 });

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  for (const argv of [["hack/build-cni-client"], [process.execPath, "hack/bundle.ts"]]) {
    const [program = "", ...args] = argv;
    execFileSync(program, args, { cwd: repository, stdio: ["ignore", "ignore", "inherit"] });
  }
  node = new WholeNode({ init: "busybox" });
  await node.create();
  for (const [version, path] of Object.entries(bundles)) {
    cpSync(join(repository, "dist/trivet"), node.at(path), { recursive: true });
    cpSync(process.execPath, node.at(`${path}/bin/node`));
    const about = node.at(`${path}/package.json`);
    writeFileSync(about, JSON.stringify({ ...JSON.parse(readFileSync(about, "utf8")), version }));
  }
  await node.kubeletIsWell();
  before = await node.changes();
});
afterAll(async () => {
  await node?.destroy();
});

test("a dry run has nothing to warn of, and changes nothing", async () => {
  const { status, stderr } = await node.run(...installation("1.0.0"), "--dry-run");
  expect([status, stderr]).toEqual([0, ""]);
  expect(await node.changes()).toEqual(before);
});

test("it is said what is left to do, and done with one line of the inittab", async () => {
  expect(await install("1.0.0")).toContain("to do: have the node's init run /opt/trivet/supervise");
  await edit((text) => text + line);
  await node.until(answers, "the proxy");
  expect(await proxies()).toEqual(["1.0.0"]);
  expect(await install("1.0.0")).toContain("nothing was to be done");
});

test("a newer version takes over under load, and the one before again", async () => {
  const load = startCriLoad({ path: node.at(proxySocket), callers: 2, connections: 2 });
  try {
    expect(await install("1.1.0")).toContain("reloaded");
    await node.until(async () => isDeepStrictEqual(await proxies(), ["1.1.0"]), "the newer version alone");
    await node.do(trivet, "rollback");
    await node.until(async () => isDeepStrictEqual(await proxies(), ["1.0.0"]), "the version before alone");
  } finally {
    await load.stop();
  }
  expect(load.failures).toEqual([]);
});

test("the kubelet is put behind the proxy, taken out by the script, and put back", async () => {
  const wire = () =>
    node.do(
      ...[trivet, "install", "kubelet", "--yes", "--settle", "1", "--within", "30"],
      ...["--restart-command", "/usr/local/bin/restart-kubelet"],
    );
  expect(await wire()).toContain(`asks its runtime through ${proxySocket}`);
  await node.do("/opt/trivet/bypass");
  expect(node.read(kubeletFlags)).not.toContain(proxySocket);
  await node.kubeletIsWell();
  await wire();
});

test("after the power was cut the node becomes well by itself", async () => {
  await node.cutPower();
  await node.boot();
  await node.until(answers, "the proxy");
  await node.kubeletIsWell();
  expect(node.read("/run/kubelet.log")).toContain(`using ${proxySocket}`);
});

test("it goes without a trace", async () => {
  await edit((text) => text.replace(line, ""));
  const planned = await node.do(trivet, "uninstall", "--dry-run");
  expect(planned).not.toMatch(/kept|^data/m);
  const stdout = await node.do(trivet, "uninstall");
  expect(stdout).toContain("every path is as it was before");
  await node.until(async () => (await proxies()).length === 0, "the end of the proxies");
  for (const path of Object.values(bundles)) rmSync(node.at(path), { recursive: true });
  const after = await node.changes();
  const paths = [...new Set([...Object.keys(after), ...Object.keys(before)])];
  expect(paths.filter((path) => !isDeepStrictEqual(after[path], before[path]))).toEqual([]);
});
