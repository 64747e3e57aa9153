import { beforeEach, describe, expect, test } from "vitest";
import { createFakeNode, type FakeNode } from "../../../test/fakes/cni-node.ts";
import { createFakeExec, type FakeExec, type ProgramInput } from "../../../test/fakes/exec.ts";
import { ensureDirectory } from "../../host/files.ts";
import { silentLog } from "../../observe/log.ts";
import { createSweeper } from "../gc/sweeper.ts";
import { createPlugin } from "../plugin.ts";

type Json = Record<string, unknown>;

const network = {
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  ipam: { type: "host-local", subnet: "10.9.0.0/24" },
};

const given = {
  cniVersion: "1.0.0",
  ips: [{ address: "10.9.0.7/24", gateway: "10.9.0.1" }],
  routes: [{ dst: "10.0.0.0/8" }],
  dns: { nameservers: ["10.96.0.10"] },
};

let node: FakeNode;
let exec: FakeExec;
/** What the IPAM plugin was asked, in order, with what it had on stdin. */
let asked: { command: string | undefined; env: Json; config: Json }[];
let answer: (command: string, config: Json) => { exitCode?: number; stdout?: string; stderr?: string };

beforeEach(async () => {
  node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
  asked = [];
  answer = (command) => ({ stdout: command === "ADD" ? JSON.stringify(given) : "" });
  exec = createFakeExec({
    "/opt/cni/bin/host-local": ({ env, stdin }: ProgramInput) => {
      const config = JSON.parse(stdin) as Json;
      asked.push({ command: env.CNI_COMMAND, env, config });
      return answer(env.CNI_COMMAND ?? "", config);
    },
  });
});

async function call(command: string, changes: Json = {}, env: Json = {}) {
  const { deps } = node.boot();
  await ensureDirectory(deps.files, "/opt/cni/bin", 0o755);
  await deps.files.create("/opt/cni/bin/host-local", Buffer.from("x"), 0o755).catch(() => undefined);
  const plugin = createPlugin({ deps: { ...deps, exec }, log: silentLog });
  const request = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: "c1",
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/run/netns/c1",
    CNI_PATH: "/nowhere:/opt/cni/bin",
    CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=web",
    ...env,
  } as Record<string, string>;
  const { stdout, exitCode } = await plugin.call({
    env: request,
    stdin: JSON.stringify({ ...network, ...changes }),
  });
  return { exitCode, json: stdout === "" ? {} : (JSON.parse(stdout) as Json) };
}

const state = () => node.stateFiles().filter((path) => !path.startsWith("/opt"));

describe("addresses from another IPAM plugin", () => {
  test("it is found in CNI_PATH, has the call's environment and the whole configuration, and its answer is used", async () => {
    const { json } = await call("ADD", { "x.dev/y": 1 });
    expect(json).toMatchObject({
      ips: [{ address: expect.stringMatching(/^10\.9\.0\.7\//) }],
      dns: given.dns,
    });
    expect(json.routes).toMatchObject([{ dst: "10.0.0.0/8" }]);
    const { CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS, CNI_ARGS } = asked[0]?.env ?? {};
    expect([CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS]).toEqual([
      "ADD",
      "c1",
      "eth0",
      "/run/netns/c1",
    ]);
    expect(CNI_ARGS).toContain("K8S_POD_NAME=web");
    expect(asked[0]?.config).toEqual({ ...network, "x.dev/y": 1 });
    expect(state()).toEqual(["pods/attachments/c1:eth0"]);
  });

  test("its DEL goes by the record, whatever the configuration says by then, and is asked once", async () => {
    await call("ADD");
    asked = [];
    expect(await call("DEL", { ipam: { ranges: [[{ subnet: "10.1.0.0/24" }]] } })).toMatchObject({
      exitCode: 0,
    });
    expect(asked).toMatchObject([
      { command: "DEL", config: network, env: { CNI_PATH: "/nowhere:/opt/cni/bin" } },
    ]);
    expect(state()).toEqual([]);
  });

  test("without a record, as after a reboot, it is asked by the present configuration", async () => {
    expect(await call("DEL")).toMatchObject({ exitCode: 0 });
    expect(asked.map(({ command }) => command)).toEqual(["DEL"]);
  });

  test("a DEL that it refuses fails, and is possible again", async () => {
    await call("ADD");
    answer = () => ({ exitCode: 1, stdout: JSON.stringify({ code: 11, msg: "the server is away" }) });
    expect((await call("DEL")).json).toMatchObject({
      code: 11,
      msg: expect.stringContaining("the server is away"),
    });
    expect(state()).toEqual(["pods/attachments/c1:eth0"]);
    answer = () => ({});
    expect(await call("DEL")).toMatchObject({ exitCode: 0 });
    expect(state()).toEqual([]);
  });

  const failures: readonly (readonly [string, number, string, ReturnType<typeof answer>])[] = [
    ["an error object", 7, "bad range", { exitCode: 1, stdout: '{"code":7,"msg":"bad range"}' }],
    [
      "a code of its own",
      101,
      "no lease, code 142",
      { exitCode: 1, stdout: '{"code":142,"msg":"no lease"}' },
    ],
    ["a crash", 101, "panic", { exitCode: 2, stderr: "panic: oh" }],
    ["no JSON", 6, "no JSON", { stdout: "10.9.0.7" }],
    ["no address", 101, "no address", { stdout: '{"ips":[]}' }],
    ["an address that is none", 101, '"x/8"', { stdout: '{"ips":[{"address":"x/8"}]}' }],
    [
      "a gateway that is none",
      101,
      '"10.9.0.x" for a gateway',
      { stdout: '{"ips":[{"address":"10.9.0.7/24"}],"routes":[{"dst":"10.0.0.0/8","gw":"10.9.0.x"}]}' },
    ],
    ["a wrong list", 7, "the result of host-local.ips", { stdout: '{"ips":7}' }],
  ];

  test.each(failures)(
    "an ADD that gives %s is followed by its DEL, and nothing is left",
    async (_, code, said, given) => {
      answer = (command) => (command === "ADD" ? given : {});
      expect((await call("ADD")).json).toMatchObject({ code, msg: expect.stringContaining(said) });
      expect(asked.map(({ command }) => command)).toEqual(["ADD", "DEL"]);
      expect(state()).toEqual([]);
    },
  );

  test("an ADD that fails later gives the address back", async () => {
    const pod = node.kernel.namespaceAt("/run/netns/c1");
    if (typeof pod === "object") pod.addPlainLink("eth0", { mac: "02:aa:00:00:00:01", mtu: 1500 });
    expect((await call("ADD")).json).toMatchObject({ code: 100 });
    expect(asked.map(({ command }) => command)).toEqual(["ADD", "DEL"]);
    expect(state()).toEqual([]);
  });

  test("a plugin that is nowhere is code 7, with the path", async () => {
    const { json } = await call("ADD", { ipam: { type: "dhcp" } });
    expect(json).toMatchObject({ code: 7, msg: expect.stringMatching(/dhcp.*\/nowhere:\/opt\/cni\/bin/) });
    expect(state()).toEqual([]);
    // Nor does it keep the pod from being deleted: it never ran.
    expect(await call("DEL", { ipam: { type: "dhcp" } })).toMatchObject({ exitCode: 0 });
  });

  test("a plugin that is gone keeps no pod from being deleted; the sweep asks it when it is there again", async () => {
    await call("ADD");
    const { deps } = node.boot();
    await deps.files.unlink("/opt/cni/bin/host-local");
    const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" };
    const warnings: object[] = [];
    const log = {
      ...silentLog,
      warn: (message: string, fields = {}) => void warnings.push({ message, ...fields }),
    };
    const plugin = createPlugin({ deps: { ...deps, exec }, log });
    const del = { env, stdin: JSON.stringify(network) };
    expect(await plugin.call(del)).toEqual({ exitCode: 0, stdout: "" });
    expect(await plugin.call(del)).toEqual({ exitCode: 0, stdout: "" });
    expect(warnings[0]).toMatchObject({ error: expect.stringContaining("install the plugin") });
    expect(state()).toEqual(["pods/attachments/c1:eth0"]);
    node.kernel.removeNamespace("/run/netns/c1");
    const sweeper = createSweeper({ deps: { ...deps, exec }, stateDir: "/run/trivet/cni", log, graceMs: 0 });
    await sweeper.sweep();
    expect(await sweeper.sweep()).toMatchObject({ settled: [], failed: 1 });
    await deps.files.create("/opt/cni/bin/host-local", Buffer.from("x"), 0o755);
    expect(await sweeper.sweep()).toMatchObject({ settled: [{ kind: "dead attachment" }] });
    expect(asked.map(({ command }) => command)).toEqual(["ADD", "DEL"]);
    expect(state()).toEqual([]);
  });

  test("a plugin that has moved since the ADD is found by the CNI_PATH of the DEL", async () => {
    await call("ADD", {}, { CNI_PATH: "/opt/cni/bin" });
    await node.files().rename("/opt/cni/bin", "/opt/moved");
    const elsewhere = { "/opt/moved/host-local": () => ({}) };
    const deps = { ...node.boot().deps, exec: createFakeExec(elsewhere) };
    const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_PATH: "/opt/moved" };
    const plugin = createPlugin({ deps, log: silentLog });
    expect(await plugin.call({ env, stdin: JSON.stringify(network) })).toMatchObject({ exitCode: 0 });
    expect(state()).toEqual([]);
  });

  test("an older plugin is run with the newest version that it speaks", async () => {
    answer = (command, config) => {
      if (command === "VERSION") return { stdout: '{"supportedVersions":["0.3.1","0.4.0","1.0.0"]}' };
      if (config.cniVersion === "1.1.0") return { exitCode: 1, stdout: '{"code":1,"msg":"incompatible"}' };
      return { stdout: command === "ADD" ? JSON.stringify(given) : "" };
    };
    expect(await call("ADD", { cniVersion: "1.1.0" })).toMatchObject({
      exitCode: 0,
      json: { cniVersion: "1.1.0" },
    });
    expect(await call("DEL", { cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0 });
    const run = asked.map(({ command, config }) => `${command} ${String(config.cniVersion)}`);
    expect(run).toEqual([
      "ADD 1.1.0",
      "VERSION 1.1.0",
      "ADD 1.0.0",
      "DEL 1.1.0",
      "VERSION 1.1.0",
      "DEL 1.0.0",
    ]);
  });

  test("CHECK asks it, and tells what it says", async () => {
    const { json: prevResult } = await call("ADD");
    expect(await call("CHECK", { prevResult })).toMatchObject({ exitCode: 0 });
    answer = () => ({ exitCode: 1, stdout: '{"code":101,"msg":"the lease is gone"}' });
    expect((await call("CHECK", { prevResult })).json).toMatchObject({
      code: 101,
      msg: expect.stringContaining("the lease is gone"),
    });
  });

  test("STATUS asks it: what it says is code 50, and that it knows no STATUS is nothing", async () => {
    const status = () => call("STATUS", { cniVersion: "1.1.0" });
    expect(await status()).toMatchObject({ exitCode: 0 });
    answer = () => ({ exitCode: 1, stdout: '{"code":50,"msg":"no upstream"}' });
    expect((await status()).json).toMatchObject({ code: 50, msg: expect.stringContaining("no upstream") });
    answer = () => ({ exitCode: 1, stdout: '{"code":4,"msg":"unknown CNI_COMMAND: STATUS"}' });
    expect(await status()).toMatchObject({ exitCode: 0 });
  });

  test("GC asks it with the same list, after its own part", async () => {
    await call("ADD");
    asked = [];
    const valid = { "cni.dev/valid-attachments": [] };
    expect(await call("GC", { cniVersion: "1.1.0", ...valid })).toMatchObject({ exitCode: 0 });
    expect(asked.map(({ command }) => command)).toEqual(["DEL", "GC"]);
    expect(asked[1]?.config).toMatchObject(valid);
    expect(state()).toEqual([]);
  });
});

describe("as the IPAM plugin of another", () => {
  const bridge = {
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    ipMasq: true,
    mode: "vxlan",
    ipam: { type: "trivet", ranges: [[{ subnet: "10.9.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] },
  };

  test.each([
    ["0.3.1", { version: "4", address: "10.9.0.2/24", gateway: "10.9.0.1" }],
    ["1.1.0", { address: "10.9.0.2/24", gateway: "10.9.0.1" }],
  ])("%s: ADD gives an address with its subnet, and no interface", async (cniVersion, ip) => {
    const { json } = await call("ADD", { ...bridge, cniVersion });
    expect(json).toEqual({ cniVersion, ips: [ip], routes: [{ dst: "0.0.0.0/0" }], dns: {} });
    expect(state()).toEqual(["pods/attachments/c1:eth0", "pods/leases/10.9.0.2"]);
    expect([...node.kernel.host.links.keys()].some((name) => name.startsWith("tv"))).toBe(false);
  });

  test("CHECK, DEL, STATUS and GC go by the lease", async () => {
    const { json } = await call("ADD", bridge);
    expect(await call("CHECK", { ...bridge, prevResult: json })).toMatchObject({ exitCode: 0 });
    expect(await call("DEL", bridge)).toMatchObject({ exitCode: 0 });
    expect((await call("CHECK", { ...bridge, prevResult: json })).json).toMatchObject({ code: 3 });
    expect(state()).toEqual([]);
    expect(await call("STATUS", { ...bridge, cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0 });
    await call("ADD", bridge);
    const list = { "cni.dev/attachments": [] };
    expect(await call("GC", { ...bridge, ...list, cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0 });
    expect(state()).toEqual([]);
  });

  test("an address that is asked for is given; the other plugin's capabilities are its own business", async () => {
    const runtimeConfig = { ips: ["10.9.0.77/24"], mac: "02:00:00:00:00:01", bandwidth: { ingressRate: 1 } };
    const { json } = await call("ADD", { ...bridge, runtimeConfig });
    expect(json).toMatchObject({ ips: [{ address: "10.9.0.77/24" }] });
  });
});
