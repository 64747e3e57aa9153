/**
 * The rules of the CNI specification (SPEC.md 1.0.0, and 0.3.1 and 0.4.0 where they differ), each as a test over the
 * plugin's environment, stdin, stdout and exit code. The kernel below it is the fake one: the end-to-end tests run on the real one.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { runCni } from "../../src/cni/client/run.ts";
import { createFakeNode, type FakeNode } from "../fakes/cni-node.ts";

type Json = Record<string, unknown>;

const NETNS = "/run/netns/pod";

const config = (changes: Json = {}): Json => ({
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  socket: "/nonexistent/cni.sock",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
  ...changes,
});

const environment = (command: string, changes: Record<string, string | undefined> = {}) => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: NETNS,
  CNI_PATH: "/opt/cni/bin",
  ...changes,
});

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  /** What stdout holds, which must be one JSON document. */
  readonly json: Json;
}

let node: FakeNode;

async function invoke(
  env: Readonly<Record<string, string | undefined>>,
  stdin: Json | string,
): Promise<Outcome> {
  let stdout = "";
  const exitCode = await runCni({
    env,
    readStdin: async () => (typeof stdin === "string" ? stdin : JSON.stringify(stdin)),
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: () => undefined,
    loadDeps: async () => node.boot().deps,
  });
  return { exitCode, stdout, json: stdout === "" ? {} : (JSON.parse(stdout) as Json) };
}

async function add(changes: Json = {}, env: Record<string, string | undefined> = {}): Promise<Json> {
  const { exitCode, json } = await invoke(environment("ADD", env), config(changes));
  expect(json).not.toHaveProperty("code");
  expect(exitCode).toBe(0);
  return json;
}

const pod = () => {
  const namespace = node.kernel.namespaceAt(NETNS);
  if (typeof namespace !== "object") throw new Error("the pod's namespace is gone");
  return namespace;
};

beforeEach(() => {
  node = createFakeNode();
  node.kernel.addNamespace(NETNS);
});

describe("VERSION", () => {
  test("prints the versions that the plugin supports, and the version that it was asked with", async () => {
    const { exitCode, json } = await invoke({ CNI_COMMAND: "VERSION" }, { cniVersion: "0.4.0" });
    expect(exitCode).toBe(0);
    expect(json).toEqual({ cniVersion: "0.4.0", supportedVersions: ["0.3.1", "0.4.0", "1.0.0"] });
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
      { name: "eth0", mac: inside?.mac, sandbox: NETNS },
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
      interfaces: [{ name: "first0", sandbox: NETNS }],
      ips: [{ address: "10.1.1.1/24", interface: 0 }],
      routes: [{ dst: "10.1.0.0/16" }],
      dns: { nameservers: ["10.1.0.1"] },
    };
    const result = await add({ prevResult });
    expect(result.interfaces).toHaveLength(3);
    expect(result.interfaces).toContainEqual({ name: "first0", sandbox: NETNS });
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
  const del = (env: Record<string, string | undefined> = {}, changes: Json = {}) =>
    invoke(environment("DEL", env), config(changes));
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
      node.kernel.removeNamespace(NETNS, remains);
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
  const check = (changes: Json, env: Record<string, string | undefined> = {}) =>
    invoke(environment("CHECK", env), config(changes));

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
    ["the namespace is gone", () => node.kernel.removeNamespace(NETNS), "no network namespace"],
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

describe("errors", () => {
  const wrong: readonly (readonly [title: string, code: number, stdin: Json | string, said: string])[] = [
    ["a version that is not supported", 1, config({ cniVersion: "1.1.0" }), "1.1.0"],
    ["an old version", 1, config({ cniVersion: "0.2.0" }), "0.2.0"],
    ["a missing version, which means 0.1.0", 1, config({ cniVersion: undefined }), "0.1.0"],
    ["a mode of a later release", 2, config({ mode: "bridge" }), 'mode is "bridge"'],
    ["a foreign IPAM plugin", 2, config({ ipam: { type: "dhcp" } }), 'ipam.type is "dhcp"'],
    [
      "an IPv6 range",
      2,
      config({ ipam: { ranges: [[{ subnet: "fd00::/64" }]] } }),
      'ipam.ranges[0][0].subnet is "fd00::/64"',
    ],
    ["stdin that is no JSON", 6, "{", "no JSON"],
    ["an empty stdin", 6, "", "empty"],
    ["stdin that is no object", 6, "[]", "no object"],
    ["a wrong value", 7, config({ mtu: "many" }), 'mtu is "many"'],
    ["a network name that is no name", 7, config({ name: "../x" }), 'name is "../x"'],
    ["a network without a name", 7, config({ name: undefined }), "name is missing"],
  ];

  test.each(wrong)("%s is code %i, on stdout, with exit code 1", async (_title, code, stdin, said) => {
    const { exitCode, json } = await invoke(environment("ADD"), stdin);
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code, msg: expect.stringContaining(said) });
    expect(["0.3.1", "0.4.0", "1.0.0"]).toContain(json.cniVersion);
    expect(node.stateFiles()).toEqual([]);
    expect(node.sysctls.get("net.ipv4.ip_forward")).toBe("0");
  });

  test("carries the version of the configuration", async () => {
    const { json } = await invoke(environment("ADD"), config({ cniVersion: "0.3.1", mtu: -1 }));
    expect(json).toMatchObject({ cniVersion: "0.3.1", code: 7 });
  });

  test("names every missing variable in one message of code 4", async () => {
    const { json } = await invoke({ CNI_COMMAND: "ADD" }, config());
    expect(json).toMatchObject({ code: 4 });
    for (const name of ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"]) expect(json.msg).toContain(name);
  });

  test("names every problem of a configuration in one message", async () => {
    const ipam = { ranges: [[{ subnet: "10.0.0.1/24" }, { subnet: "none" }]], routes: [{ dst: "x" }] };
    const { json } = await invoke(environment("ADD"), config({ mtu: 1, ipMasq: "yes", ipam }));
    const keys = ["mtu", "ipMasq", "ipam.ranges[0][0].subnet", "ipam.ranges[0][1].subnet", "routes[0].dst"];
    for (const key of keys) expect(json.msg).toContain(key);
    expect(json).toMatchObject({ code: 7 });
  });

  const badVariables: readonly (readonly [string, Record<string, string>, string])[] = [
    ["a container id with a slash", { CNI_CONTAINERID: "../c1" }, "CNI_CONTAINERID"],
    ["an interface name that is too long", { CNI_IFNAME: "a-name-of-16-byt" }, "CNI_IFNAME"],
    ["an interface name with a colon", { CNI_IFNAME: "eth:0" }, "CNI_IFNAME"],
    ["an interface name with a space", { CNI_IFNAME: "eth 0" }, "CNI_IFNAME"],
    ["an interface name that is a directory", { CNI_IFNAME: ".." }, "CNI_IFNAME"],
    ["a namespace that is not there", { CNI_NETNS: "/run/netns/none" }, "CNI_NETNS"],
    ["arguments that are no pairs", { CNI_ARGS: "K8S_POD_NAME" }, "CNI_ARGS"],
    ["unknown arguments without IgnoreUnknown", { CNI_ARGS: "A=1;B=2" }, "A, B"],
    ["an unknown command", { CNI_COMMAND: "UPDATE" }, "CNI_COMMAND"],
    ["STATUS, which 1.0.0 does not have", { CNI_COMMAND: "STATUS" }, "CNI_COMMAND"],
    ["GC, which 1.0.0 does not have", { CNI_COMMAND: "GC" }, "CNI_COMMAND"],
  ];

  test.each(badVariables)("%s is code 4", async (_title, env, said) => {
    const { exitCode, json } = await invoke(environment("ADD", env), config());
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code: 4, msg: expect.stringContaining(said) });
    expect(node.stateFiles()).toEqual([]);
  });

  test("the host's own namespace is refused, unless CNI_NETNS_OVERRIDE is set", async () => {
    const own = node.kernel.addNamespace("/run/netns/own");
    Object.defineProperty(own, "inode", { value: node.kernel.host.inode });
    const env = { CNI_NETNS: "/run/netns/own" };
    const { json } = await invoke(environment("ADD", env), config());
    expect(json).toMatchObject({ code: 4, msg: expect.stringContaining("own namespace") });
    await add({}, { ...env, CNI_NETNS_OVERRIDE: "1" });
  });

  test("a network whose addresses are all leased is code 102 and takes nothing", async () => {
    const ipam = { ranges: [[{ subnet: "10.88.0.0/30" }]] };
    await add({ ipam });
    node.kernel.addNamespace("/run/netns/two");
    const before = node.stateFiles();
    const env = { CNI_CONTAINERID: "c2", CNI_NETNS: "/run/netns/two" };
    const { json } = await invoke(environment("ADD", env), config({ ipam }));
    expect(json).toMatchObject({ code: 102, msg: expect.stringContaining("all 1 are leased") });
    expect(node.stateFiles()).toEqual(before);
  });
});
