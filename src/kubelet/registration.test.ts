import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type PluginWatcher, watchPlugins } from "../../test/fakes/kubelet/plugin-watcher.ts";
import { serveGrpc } from "../host/grpc.ts";
import { silentLog } from "../observe/log.ts";
import { type Registration, registerWithKubelet } from "./registration.ts";

const driverName = "local.csi.trivet.dev";
let kubeletRoot: string;
let watcher: PluginWatcher;
const stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
  kubeletRoot = await mkdtemp(join(tmpdir(), "trivet-reg-"));
  watcher = await watchPlugins({ directory: join(kubeletRoot, "plugins_registry") });
});

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  await watcher.stop();
  await rm(kubeletRoot, { recursive: true });
});

async function serveDriver(nodeId: string): Promise<string> {
  const path = join(kubeletRoot, "csi.sock");
  const NodeGetInfo = async () => ({ node_id: nodeId });
  const statusOf = () => ({ code: "INTERNAL" as const, message: "" });
  const server = await serveGrpc({ api: "csi", path, handlers: { Node: { NodeGetInfo } }, statusOf });
  stops.push(() => server.stop({ timeoutMs: 1_000 }));
  return path;
}

async function register(endpoint: string): Promise<Registration> {
  const registration = await registerWithKubelet({
    kubeletRoot,
    driverName,
    endpoint,
    serve: serveGrpc,
    log: silentLog,
  });
  stops.push(() => registration.stop({ timeoutMs: 1_000 }));
  return registration;
}

describe("registration with the kubelet", () => {
  test("says type, name, endpoint and version, and hears that it worked", async () => {
    const endpoint = await serveDriver("n1");
    const registration = await register(endpoint);
    await watcher.waitFor(driverName);
    expect(watcher.plugins.get(driverName)).toMatchObject({
      info: { type: "CSIPlugin", name: driverName, endpoint, supported_versions: ["1.0.0"] },
      node: { node_id: "n1" },
    });
    expect(registration.registered()).toBe(true);
    expect((await stat(registration.path)).mode & 0o777).toBe(0o600);
  });

  test("hears that it failed, and stays to be asked again", async () => {
    const registration = await register(await serveDriver(""));
    await expect.poll(() => registration.registered()).toBe(false);
    expect(watcher.plugins.has(driverName)).toBe(false);
  });

  test("ends with its socket, and a new one is registered anew", async () => {
    const endpoint = await serveDriver("n1");
    const first = await register(endpoint);
    await watcher.waitFor(driverName);
    await first.stop({ timeoutMs: 1_000 });
    expect(await readdir(join(kubeletRoot, "plugins_registry"))).toEqual([]);
    await watcher.waitFor(driverName, "gone");
    const second = await register(endpoint);
    await watcher.waitFor(driverName);
    expect([first.path, second.registered()]).toEqual([second.path, true]);
  });

  test("is refused while another process registers the same driver", async () => {
    const endpoint = await serveDriver("n1");
    await register(endpoint);
    await expect(register(endpoint)).rejects.toMatchObject({ kind: "conflict" });
    await watcher.waitFor(driverName);
  });
});
