/**
 * What a runtime sees of our plugin beyond the rules of the CNI specification, which are in `cni/rules` and hold for any plugin:
 * the form of its network, and what its errors say. The kernel below it is the fake one.
 */
import { beforeEach, describe, expect, test } from "vitest";
import type { FakeNode } from "../fakes/cni-node.ts";
import {
  config,
  createFakeRuntime,
  environment,
  type FakeRuntime,
  type Json,
  podNetns,
  type Variables,
} from "../fakes/cni-runtime.ts";

let runtime: FakeRuntime;
let node: FakeNode;
const { add, invoke, pod }: Omit<FakeRuntime, "node"> = {
  add: (changes, env) => runtime.add(changes, env),
  invoke: (env, stdin) => runtime.invoke(env, stdin),
  pod: () => runtime.pod(),
};

beforeEach(() => {
  runtime = createFakeRuntime();
  node = runtime.node;
});

describe("VERSION", () => {
  test("needs no configuration", async () => {
    const { exitCode, json } = await invoke({ CNI_COMMAND: "VERSION" }, "");
    expect(exitCode).toBe(0);
    expect(json).toHaveProperty("supportedVersions");
  });
});

describe("ADD", () => {
  test("makes a veth pair, both ends of which the result lists, and brings the loopback up", async () => {
    const { interfaces } = await add();
    const inside = pod().links.get("eth0");
    expect(inside).toMatchObject({ up: true, kind: "veth" });
    expect(pod().links.get("lo")).toMatchObject({ up: true });
    const [host] = [...node.kernel.host.links.values()].filter(({ kind }) => kind === "veth");
    expect(interfaces).toEqual([
      { name: host?.name, mac: host?.mac },
      { name: "eth0", mac: inside?.mac, sandbox: podNetns },
    ]);
  });

  test("gives an address that is a network of its own, and a gateway that no pod has", async () => {
    const { ips } = await add();
    expect(ips).toEqual([{ address: "10.88.0.2/32", gateway: "169.254.1.1", interface: 1 }]);
  });

  test("prints the routes that it made: the configured ones, or the default route", async () => {
    expect((await add()).routes).toEqual([{ dst: "0.0.0.0/0", gw: "169.254.1.1" }]);
    node.kernel.addNamespace("/run/netns/two");
    const ipam = { ranges: [[{ subnet: "10.88.0.0/24" }]], routes: [{ dst: "10.0.0.0/8" }] };
    const second = await add({ ipam }, { CNI_CONTAINERID: "c2", CNI_NETNS: "/run/netns/two" });
    expect(second.routes).toEqual([{ dst: "10.0.0.0/8", gw: "169.254.1.1" }]);
  });

  test("hands the configured dns on", async () => {
    const dns = { nameservers: ["10.96.0.10"], search: ["svc.cluster.local"] };
    expect((await add({ dns })).dns).toEqual(dns);
  });

  test("says which interface of the container has that name already, and changes nothing", async () => {
    pod().addPlainLink("eth0", { mac: "02:aa:00:00:00:01", mtu: 1500 });
    const before = node.kernel.describe();
    const { exitCode, json } = await invoke(environment("ADD"), config());
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code: 100, msg: expect.stringContaining("eth0") });
    expect(node.kernel.describe()).toEqual(before);
    expect(node.stateFiles()).toEqual([]);
  });

  test("says which address this attachment has already, and changes nothing", async () => {
    await add();
    const before = { kernel: node.kernel.describe(), files: node.stateFiles() };
    const { exitCode, json } = await invoke(environment("ADD"), config());
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code: 100, msg: expect.stringContaining("10.88.0.2") });
    expect({ kernel: node.kernel.describe(), files: node.stateFiles() }).toEqual(before);
  });

  test("gives a second interface of the same container its own address, and leaves the first one its routes", async () => {
    const prevResult = await add();
    const { ips } = await add({}, { CNI_IFNAME: "eth1" });
    expect(ips).toMatchObject([{ address: "10.88.0.3/32" }]);
    expect(pod().links.has("eth1")).toBe(true);
    const first = pod().links.get("eth0")?.index;
    expect(pod().routes.every(({ linkIndex }) => linkIndex === first)).toBe(true);
    expect(await invoke(environment("CHECK"), config({ prevResult }))).toMatchObject({ exitCode: 0 });
  });

  test("given a prevResult, passes it on with its own interface and address added", async () => {
    const prevResult = {
      cniVersion: "1.0.0",
      interfaces: [{ name: "first0", sandbox: podNetns }],
      ips: [{ address: "10.1.1.1/24", interface: 0 }],
      routes: [{ dst: "10.1.0.0/16" }],
      dns: { nameservers: ["10.1.0.1"] },
    };
    const result = await add({ prevResult });
    expect(result.interfaces).toHaveLength(3);
    expect(result.interfaces).toContainEqual({ name: "first0", sandbox: podNetns });
    expect(result.ips).toEqual([
      { address: "10.1.1.1/24", interface: 0 },
      { address: "10.88.0.2/32", gateway: "169.254.1.1", interface: 2 },
    ]);
    expect(result.routes).toContainEqual({ dst: "10.1.0.0/16" });
    expect(result.dns).toEqual(prevResult.dns);
  });

  test("a prevResult of a wrong form is refused, and nothing stays behind", async () => {
    const before = node.kernel.host.describe();
    const { json } = await invoke(environment("ADD"), config({ prevResult: { ips: "none" } }));
    expect(json).toMatchObject({ code: 7, msg: expect.stringContaining("prevResult.ips") });
    expect(node.kernel.host.describe()).toEqual(before);
    expect(node.stateFiles()).toEqual([]);
  });

  test("accepts keys that it does not know", async () => {
    await add({ "x.dev/y": 1 });
  });
});

describe("DEL", () => {
  const del = (env: Variables = {}, changes: Json = {}) => invoke(environment("DEL", env), config(changes));
  const nothing = { exitCode: 0, stdout: "" };

  test("succeeds and cleans up when CNI_ARGS makes no sense", async () => {
    await add();
    expect(await del({ CNI_ARGS: "nonsense" })).toMatchObject(nothing);
    expect(node.stateFiles()).toEqual([]);
    expect(pod().links.has("eth0")).toBe(false);
  });

  test("cleans up what another configuration of the network made, even if the present one is wrong", async () => {
    await add();
    expect(await del({}, { mode: "bridge", mtu: "many", ipam: { type: "dhcp" } })).toMatchObject(nothing);
    expect(node.stateFiles()).toEqual([]);
  });
});

describe("CHECK", () => {
  const check = (changes: Json, env: Variables = {}) => invoke(environment("CHECK", env), config(changes));

  test("names prevResult where it is missing", async () => {
    await add();
    expect((await check({})).json).toMatchObject({ code: 7, msg: expect.stringContaining("prevResult") });
  });

  test("answers code 3 for a container that it does not know", async () => {
    expect((await check({ prevResult: {} })).json).toMatchObject({ code: 3 });
  });

  const damages: readonly (readonly [what: string, damage: () => unknown, said: string])[] = [
    ["the interface is gone", () => pod().deleteLink("eth0"), "no interface"],
    ["the address is gone", () => pod().addresses.splice(0), "the pod lacks the address 10.88.0.2"],
    ["the pod's route is gone", () => pod().routes.splice(0), "the pod lacks the route 0.0.0.0/0"],
    ["the host's route is gone", () => node.kernel.host.routes.splice(1), "does not route 10.88.0.2"],
    ["the interface is down", () => Object.assign(pod().links.get("eth0") ?? {}, { up: false }), "down"],
    ["the namespace is gone", () => node.kernel.removeNamespace(podNetns), "no network namespace"],
  ];

  test.each(damages)("fails if %s, and says so", async (_what, damage, said) => {
    const prevResult = await add();
    damage();
    const { exitCode, json } = await check({ prevResult });
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code: 101, msg: expect.stringContaining(said) });
  });

  test("fails if the lease is gone, or another's", async () => {
    const prevResult = await add();
    const [lease = ""] = node
      .files()
      .paths()
      .filter((line) => /leases\/10/.test(line));
    const path = lease.replace(/ file .*/, "");
    await node.files().unlink(path);
    expect((await check({ prevResult })).json).toMatchObject({
      code: 101,
      msg: expect.stringContaining("10.88.0.2 is not leased"),
    });
    await node.files().create(path, Buffer.from('c {"containerId":"thief","ifname":"eth0"}'), 0o600);
    expect((await check({ prevResult })).json).toMatchObject({ msg: expect.stringContaining("thief") });
  });

  test("fails if prevResult lacks the address", async () => {
    const prevResult = await add();
    expect((await check({ prevResult: { ...prevResult, ips: [] } })).json).toMatchObject({ code: 101 });
  });
});
