/**
 * The rules of the CNI specification (SPEC.md 1.0.0, and 0.3.1 and 0.4.0 where they differ), each as a test over the
 * plugin's environment, stdin, stdout and exit code. The kernel below it is the fake one: the end-to-end tests run on the real one.
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
  test("prints the versions that the plugin supports, and the version that it was asked with", async () => {
    const { exitCode, json } = await invoke({ CNI_COMMAND: "VERSION" }, { cniVersion: "0.4.0" });
    expect(exitCode).toBe(0);
    expect(json).toEqual({ cniVersion: "0.4.0", supportedVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] });
  });

  test("needs no other variable, and no configuration", async () => {
    const { exitCode, json } = await invoke({ CNI_COMMAND: "VERSION" }, "");
    expect(exitCode).toBe(0);
    expect(json).toHaveProperty("supportedVersions");
  });
});

describe("ADD", () => {
  test("creates the interface CNI_IFNAME inside the container at CNI_NETNS, up", async () => {
    await add({}, { CNI_IFNAME: "net7" });
    expect(pod().links.get("net7")).toMatchObject({ up: true, kind: "veth" });
    expect(pod().links.get("lo")).toMatchObject({ up: true });
  });

  test("prints a result that lists the interfaces, the container's with its sandbox", async () => {
    const { interfaces } = await add();
    const inside = pod().links.get("eth0");
    const [host] = [...node.kernel.host.links.values()].filter(({ kind }) => kind === "veth");
    expect(interfaces).toEqual([
      { name: host?.name, mac: host?.mac },
      { name: "eth0", mac: inside?.mac, sandbox: podNetns },
    ]);
  });

  test("prints addresses in CIDR form, whose interface is the index of the container's", async () => {
    const { ips } = await add();
    expect(ips).toEqual([{ address: "10.88.0.2/32", gateway: "169.254.1.1", interface: 1 }]);
  });

  test.each(["0.3.1", "0.4.0"])("%s: every address names its version of IP", async (cniVersion) => {
    const result = await add({ cniVersion });
    expect(result.cniVersion).toBe(cniVersion);
    const address = { version: "4", address: "10.88.0.2/32", gateway: "169.254.1.1", interface: 1 };
    expect(result.ips).toEqual([address]);
  });

  test("1.0.0: no address names its version of IP", async () => {
    const result = await add({ cniVersion: "1.0.0" });
    expect(result.cniVersion).toBe("1.0.0");
    expect(result.ips).toEqual([expect.not.objectContaining({ version: expect.anything() })]);
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

  test("fails if an interface of that name exists in the container, and leaves it alone", async () => {
    pod().addPlainLink("eth0", { mac: "02:aa:00:00:00:01", mtu: 1500 });
    const before = node.kernel.describe();
    const { exitCode, json } = await invoke(environment("ADD"), config());
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code: 100, msg: expect.stringContaining("eth0") });
    expect(node.kernel.describe()).toEqual(before);
    expect(node.stateFiles()).toEqual([]);
  });

  test("fails if the container has this attachment already, and leaves it alone", async () => {
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

  test("accepts keys in the configuration that it does not know", async () => {
    await add({ capabilities: { portMappings: true }, runtimeConfig: {}, args: { cni: {} }, "x.dev/y": 1 });
  });
});

describe("DEL", () => {
  const del = (env: Variables = {}, changes: Json = {}) => invoke(environment("DEL", env), config(changes));
  const nothing = { exitCode: 0, stdout: "" };

  test("removes the interface and frees the address, and prints nothing", async () => {
    await add();
    expect(await del()).toMatchObject(nothing);
    expect(pod().links.has("eth0")).toBe(false);
    expect(node.stateFiles()).toEqual([]);
  });

  test("succeeds when it is called again, and when there never was an ADD", async () => {
    expect(await del()).toMatchObject(nothing);
    await add();
    await del();
    expect(await del()).toMatchObject(nothing);
  });

  test.each([
    ["CNI_NETNS is empty", { CNI_NETNS: "" }],
    ["CNI_NETNS is missing", { CNI_NETNS: undefined }],
    ["CNI_ARGS makes no sense", { CNI_ARGS: "nonsense" }],
  ])("succeeds and cleans up when %s", async (_title, env) => {
    await add();
    expect(await del(env)).toMatchObject(nothing);
    expect(node.stateFiles()).toEqual([]);
    expect(pod().links.has("eth0")).toBe(false);
  });

  test.each(["nothing", "plain-file"] as const)(
    "succeeds and cleans up when of the namespace %s remains",
    async (remains) => {
      await add();
      node.kernel.removeNamespace(podNetns, remains);
      expect(await del()).toMatchObject(nothing);
      expect(node.stateFiles()).toEqual([]);
    },
  );

  test("needs no prevResult, and does not mind one", async () => {
    const prevResult = await add();
    expect(await del({}, { prevResult })).toMatchObject(nothing);
    expect(node.stateFiles()).toEqual([]);
  });

  test("cleans up what another configuration of the network made, even if the present one is wrong", async () => {
    await add();
    expect(await del({}, { mode: "bridge", mtu: "many", ipam: { type: "dhcp" } })).toMatchObject(nothing);
    expect(node.stateFiles()).toEqual([]);
  });

  test("takes nothing from another container, interface or network", async () => {
    await add();
    const before = node.stateFiles();
    await del({ CNI_CONTAINERID: "c2" });
    await del({ CNI_IFNAME: "eth1" });
    await del({}, { name: "others" });
    expect(node.stateFiles()).toEqual(before);
    expect(pod().links.has("eth0")).toBe(true);
  });
});

describe("CHECK", () => {
  const check = (changes: Json, env: Variables = {}) => invoke(environment("CHECK", env), config(changes));

  test("prints nothing if all is as ADD made it", async () => {
    const prevResult = await add();
    expect(await check({ prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
  });

  test("does not mind what later plugins added", async () => {
    const prevResult = await add();
    pod().addPlainLink("tap0", { mac: "02:aa:00:00:00:01", mtu: 1500 });
    const extended = { ...prevResult, interfaces: [...(prevResult.interfaces as Json[]), { name: "tap0" }] };
    expect(await check({ prevResult: extended })).toMatchObject({ exitCode: 0 });
  });

  test("needs a prevResult", async () => {
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
