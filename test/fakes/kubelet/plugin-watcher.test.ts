import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PluginWatcher, watchPlugins } from "./plugin-watcher.ts";
import { type StubServer, serveStub } from "./stub-driver.ts";

const name = "local.csi.trivet.dev";

let root: string;
let directory: string;
let watcher: PluginWatcher;
let servers: StubServer[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-reg-"));
  directory = join(root, "plugins_registry");
  servers = [];
  watcher = await watchPlugins({ directory });
});

afterEach(async () => {
  await watcher.stop();
  await Promise.all(servers.map((server) => server.stop()));
  await rm(root, { recursive: true });
});

async function serveDriver(nodeId = "n1"): Promise<string> {
  const endpoint = join(root, "csi.sock");
  const accessible_topology = { segments: { "topology.local.csi.trivet.dev/node": nodeId } };
  servers.push(
    await serveStub("csi", endpoint, { NodeGetInfo: () => ({ node_id: nodeId, accessible_topology }) }),
  );
  return endpoint;
}

async function serveRegistration(info: object, file = `${name}-reg.sock`): Promise<StubServer> {
  const server = await serveStub("pluginregistration", join(directory, file), {
    GetInfo: () => ({ type: "CSIPlugin", name, supported_versions: ["1.0.0"], ...info }),
    NotifyRegistrationStatus: () => ({}),
  });
  servers.push(server);
  return server;
}

describe("the plugin watcher", () => {
  it("registers a new socket: GetInfo, NodeGetInfo at its endpoint, then the good news", async () => {
    const server = await serveRegistration({ endpoint: await serveDriver() });
    await watcher.waitFor(name);
    expect(watcher.plugins.get(name)).toMatchObject({
      info: { type: "CSIPlugin", supported_versions: ["1.0.0"] },
      node: { node_id: "n1" },
    });
    expect(server.calls).toMatchObject([
      { method: "GetInfo", authority: encodeURIComponent(join(directory, `${name}-reg.sock`)) },
      { method: "NotifyRegistrationStatus", request: { plugin_registered: true, error: "" } },
    ]);
  });

  it("forgets a plugin whose socket goes", async () => {
    const server = await serveRegistration({ endpoint: await serveDriver() });
    await watcher.waitFor(name);
    await server.stop();
    await watcher.waitFor(name, "gone");
    expect(watcher.failures.size).toBe(0);
  });

  it.each([
    ["type", { type: "DevicePlugin", endpoint: "/x" }, 'plugin type "DevicePlugin" is not CSIPlugin'],
    ["name", { name: "", endpoint: "/x" }, "the plugin's name is empty"],
    ["endpoint", { endpoint: "unix:///x" }, 'endpoint "unix:///x" is not a path'],
    [
      "version",
      { endpoint: "/x", supported_versions: ["2.0.0"] },
      'none of the versions ["2.0.0"] is supported',
    ],
  ])("refuses a wrong %s and tells the plugin why", async (_, info, error) => {
    const server = await serveRegistration(info);
    await expect.poll(() => server.calls.length).toBe(2);
    expect(server.calls[1]?.request).toEqual({ plugin_registered: false, error });
    await expect.poll(() => [...watcher.failures.values()]).toEqual([error]);
  });

  it("tries again after a failure, as when the driver's own socket comes up late", async () => {
    await serveRegistration({ endpoint: join(root, "csi.sock") });
    await expect.poll(() => watcher.failures.size).toBe(1);
    await serveDriver("late");
    await watcher.waitFor(name);
    expect(watcher.plugins.get(name)?.node.node_id).toBe("late");
    expect(watcher.failures.size).toBe(0);
  });

  it("ignores names that begin with a dot", async () => {
    await serveRegistration({ endpoint: "/x" }, ".hidden.sock");
    await expect(watcher.waitFor(name, "registered", 150)).rejects.toThrow("no socket failed");
  });
});
