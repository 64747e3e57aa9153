/** The node's services together: on real sockets and files, and the tests' fakes of mounts and the network. */
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createFakeNode } from "../../test/fakes/cni-node.ts";
import { startFakeApiServer } from "../../test/fakes/kube/api-server.ts";
import { createCsiClient } from "../../test/fakes/kubelet/csi-client.ts";
import { watchPlugins } from "../../test/fakes/kubelet/plugin-watcher.ts";
import { createFakeMounts } from "../../test/fakes/mount.ts";
import { loadConfig } from "../config/load.ts";
import { type NodeConfig, nodeFileSchema } from "../config/node.ts";
import { createSyscalls } from "../host/syscall.ts";
import { isLiveSocket } from "../host/unix-socket.ts";
import { silentLog } from "../observe/log.ts";
import { createCsiDeps } from "./host.ts";
import { type NodeHost, startNodeServices } from "./node-services.ts";

let root: string;
let host: NodeHost;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-node-"));
  const csi = await createCsiDeps(createSyscalls());
  host = {
    csi: { ...csi, mounts: createFakeMounts({ files: csi.files }) },
    cni: { ...createFakeNode().boot().deps, clock: csi.clock },
  };
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** A port that nobody listens on, as good as any test can know. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function config(changes: Record<string, unknown> = {}): Promise<NodeConfig> {
  const settings = {
    "node.nodeId": "node-1",
    "node.kubeletRoot": join(root, "kubelet"),
    "node.stateDir": join(root, "state"),
    "node.cni.socket": `unix://${root}/cni.sock`,
    "node.cni.stateDir": join(root, "cni"),
    "node.healthAddress": `127.0.0.1:${await freePort()}`,
    ...changes,
  };
  const overrides = Object.entries(settings).map(([path, value]) => ({ path, from: "test", value }));
  return loadConfig(nodeFileSchema, { overrides }).node;
}

async function get({ healthAddress }: NodeConfig, path: string): Promise<string> {
  return (await fetch(`http://${healthAddress.host}:${healthAddress.port}${path}`)).text();
}

describe("the node's services", () => {
  it("serve both legs, tell that they are ready, count calls, and take their sockets away at the end", async () => {
    const settings = await config();
    const services = await startNodeServices(settings, host, silentLog);
    const csi = createCsiClient(settings.csi.endpoint);
    expect(await csi.call("Probe")).toMatchObject({ ready: { value: true } });
    expect(await isLiveSocket(settings.cni.socket)).toBe(true);
    expect(await get(settings, "/readyz")).toBe("ok\n");
    const metrics = await get(settings, "/metrics");
    expect(metrics).toMatch(/trivet_csi_calls_total\{[^}]*Probe[^}]*\} 1/);
    expect(metrics).toContain('trivet_csi_pool_ready{pool="default"} 1');
    expect(metrics).toContain('trivet_degraded{what="pool-not-enforced",subject="default"} 1');
    expect(metrics).toMatch(/trivet_build_info\{version="\d+\.\d+\.\d+"/);
    await services.stop({ timeoutMs: 1_000 });
    expect(await isLiveSocket(settings.csi.endpoint)).toBe(false);
    expect((await readdir(root)).filter((name) => name.endsWith(".sock"))).toEqual([]);
    await expect(get(settings, "/healthz")).rejects.toThrow();
  });

  it("serve one leg alone", async () => {
    const settings = await config({ "node.csi.enabled": false });
    const services = await startNodeServices(settings, host, silentLog);
    expect(await isLiveSocket(settings.csi.endpoint)).toBe(false);
    expect(await isLiveSocket(settings.cni.socket)).toBe(true);
    await services.stop({ timeoutMs: 1_000 });
  });

  it("register the driver with the kubelet where that is wanted, and deregister it first", async () => {
    const settings = await config({ "node.register": true });
    const directory = join(settings.kubeletRoot, "plugins_registry");
    await mkdir(directory, { recursive: true });
    const watcher = await watchPlugins({ directory });
    const services = await startNodeServices(settings, host, silentLog);
    await watcher.waitFor("local.csi.trivet.dev", "registered");
    await services.stop({ timeoutMs: 1_000 });
    await watcher.waitFor("local.csi.trivet.dev", "gone");
    await watcher.stop();
  });

  it("put this node's podCIDRs on file, count routes, and go on when the API server is lost", async () => {
    const server = await startFakeApiServer();
    server.put({ name: "node-1", podCIDRs: ["10.42.1.0/24"], internalIps: ["192.0.2.1"] });
    server.put({ name: "node-2", podCIDRs: ["10.42.2.0/24"], internalIps: ["198.51.100.7"] });
    const cluster = { server: server.url, credentials: async () => ({}) };
    const cniHost = { ...host.cni, files: host.csi.files };
    const settings = await config({ "node.csi.enabled": false, "node.cni.cacheDir": join(root, "cache") });
    const services = await startNodeServices(settings, { ...host, cni: cniHost, cluster }, silentLog);
    await vi.waitFor(async () => {
      expect(await readFile(join(root, "cni/pod-cidrs.json"), "utf8")).toBe(
        '{"podCIDRs":["10.42.1.0/24"]}\n',
      );
      const metrics = await get(settings, "/metrics");
      expect(metrics).toContain('trivet_cni_node_routes{state="skipped"} 1');
      expect(metrics).toContain('trivet_kube_watch_restarts_total{reason="start"} 1');
      expect(metrics).toMatch(/trivet_kube_last_heard_timestamp_seconds \d/);
      expect(metrics).toContain("trivet_cni_underlay_mtu 1450");
    });
    await server.stop();
    expect(await get(settings, "/readyz")).toBe("ok\n");
    expect(await isLiveSocket(settings.cni.socket)).toBe(true);
    await services.stop({ timeoutMs: 1_000 });
  });

  it("leave nothing running if one of them cannot start", async () => {
    const first = await startNodeServices(await config(), host, silentLog);
    const second = await config({
      "node.csi.endpoint": `unix://${root}/second.sock`,
      "node.stateDir": join(root, "second"),
    });
    await expect(startNodeServices(second, host, silentLog)).rejects.toMatchObject({ kind: "conflict" });
    expect(await isLiveSocket(second.csi.endpoint)).toBe(false);
    await expect(get(second, "/healthz")).rejects.toThrow();
    await first.stop({ timeoutMs: 1_000 });
  });
});
