import { describe, expect, test } from "vitest";
import { type BootedProcess, createFakeNode, type FakeNode } from "../../test/fakes/cni-node.ts";
import { errnoError } from "../host/errno.ts";
import { silentLog } from "../observe/log.ts";
import { createPlugin } from "./plugin.ts";

const network = (ipam: object = {}) => ({
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]], ...ipam },
});

interface Call {
  readonly command: string;
  readonly config?: object;
}

async function call(deps: BootedProcess["deps"], { command, config = network() }: Call) {
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: "c1",
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/run/netns/c1",
    CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
  };
  return createPlugin({ deps, log: silentLog }).call({ env, stdin: JSON.stringify(config) });
}

const done = { exitCode: 0, stdout: "" };

async function nodeWithPod(config = network()): Promise<FakeNode> {
  const node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
  expect(await call(node.boot().deps, { command: "ADD", config })).toMatchObject({ exitCode: 0 });
  return node;
}

const held = (node: FakeNode) =>
  node.stateFiles().filter((path) => /\/(leases|attachments|staging)\//.test(path));

describe("DEL", () => {
  test("after a reboot finds nothing and succeeds; the same pod is then added as if it were new", async () => {
    const node = await nodeWithPod();
    const rebooted = { ...node.boot().deps, bootId: "99999999-2222-4333-8444-555555555555" };
    node.kernel.removeNamespace("/run/netns/c1");
    expect(await call(rebooted, { command: "DEL" })).toEqual(done);
    node.kernel.addNamespace("/run/netns/c1");
    expect(await call(rebooted, { command: "ADD" })).toMatchObject({ exitCode: 0 });
    expect(await call(rebooted, { command: "DEL" })).toEqual(done);
  });

  const plain = network();
  const remembering = network({ cooldownSeconds: 60, sticky: true });
  test.each([
    ["plain addresses", plain],
    ["addresses that rest and stick", remembering],
  ])("on a full disk, where every write fails, frees everything: %s", async (_title, config) => {
    const node = await nodeWithPod(config);
    const files = node.boot().deps;
    node.files().onEffect = (op, path, when) => {
      const writes = ["file.create", "file.mkdir", "file.write", "file.rename", "file.link"];
      if (when === "before" && writes.includes(op)) throw errnoError("ENOSPC", op, path);
    };
    expect(await call(files, { command: "DEL", config })).toEqual(done);
    node.files().onEffect = undefined;
    expect(held(node)).toEqual([]);
    expect([...node.kernel.host.links.keys()].some((name) => name.startsWith("tv"))).toBe(false);
    expect(await call(node.boot().deps, { command: "DEL", config })).toEqual(done);
  });

  test("of a pod whose addresses rest and stick leaves only what is remembered, and the pod gets them back", async () => {
    const node = await nodeWithPod(remembering);
    expect(await call(node.boot().deps, { command: "DEL", config: remembering })).toEqual(done);
    expect(held(node)).toEqual([]);
    const again = await call(node.boot().deps, { command: "ADD", config: remembering });
    expect(JSON.parse(again.stdout)).toMatchObject({
      ips: [{ address: "10.88.0.2/32" }, { address: "fd00:88::2/128" }],
    });
  });
});

test("one family without an address means none at all", async () => {
  const node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
  const config = network({ ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/126" }]] });
  const { deps } = node.boot();
  const taken = { ...config, name: "pods" };
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c0", CNI_IFNAME: "eth0", CNI_NETNS: "/run/netns/c0" };
  node.kernel.addNamespace("/run/netns/c0");
  const plugin = createPlugin({ deps, log: silentLog });
  expect(await plugin.call({ env, stdin: JSON.stringify(taken) })).toMatchObject({ exitCode: 0 });
  const before = node.stateFiles();
  const { stdout } = await call(deps, { command: "ADD", config });
  expect(JSON.parse(stdout)).toMatchObject({ code: 11, msg: expect.stringContaining("all 1 are leased") });
  expect(node.stateFiles()).toEqual(before);
});

test("a DEL that was killed and comes again leaves the ports of the next pod that has its address", async () => {
  const config = {
    ...network({ ranges: [[{ subnet: "10.88.0.0/24", rangeStart: "10.88.0.2", rangeEnd: "10.88.0.2" }]] }),
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
  };
  const node = await nodeWithPod(config);
  const dying = node.boot();
  node.files().onEffect = (op, path, when) => {
    if (op === "file.unlink" && path.includes("/attachments/") && when === "before") dying.kill();
  };
  await call(dying.deps, { command: "DEL", config });
  node.files().onEffect = undefined;
  expect(held(node)).toEqual([expect.stringContaining("/attachments/c1")]);
  node.kernel.addNamespace("/run/netns/c2");
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c2", CNI_IFNAME: "eth0", CNI_NETNS: "/run/netns/c2" };
  const { deps } = node.boot();
  const other = createPlugin({ deps, log: silentLog });
  const moved = {
    ...config,
    runtimeConfig: { portMappings: [{ hostPort: 9090, containerPort: 80, protocol: "tcp" }] },
  };
  expect(await other.call({ env, stdin: JSON.stringify(moved) })).toMatchObject({ exitCode: 0 });
  const rules = () => node.tables.get("trivet");
  expect([...(rules()?.hairpins ?? [])]).toEqual(["10.88.0.2"]);
  expect(await call(node.boot().deps, { command: "DEL", config })).toEqual(done);
  expect([...(rules()?.hairpins ?? [])]).toEqual(["10.88.0.2"]);
  expect(rules()?.ports.size).toBe(1);
});
