import { expect, test } from "vitest";
import { bootId, createFakeNode } from "../../test/fakes/cni-node.ts";
import type { Clock } from "../host/clock.ts";
import { errnoError } from "../host/errno.ts";
import { type Log, type LogFields, silentLog } from "../observe/log.ts";
import { hostLinkName } from "./datapath/names.ts";
import type { CniCallObservation, CniDeps, CniStepObservation } from "./deps.ts";
import { createPlugin } from "./plugin.ts";

const network = {
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
};

const stdin = JSON.stringify(network);
const env = (command: string) => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: "/run/netns/c1",
  CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;SECRET=hidden",
});

function nodeWithPod() {
  const node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
  return node;
}

interface Line extends LogFields {
  readonly level: string;
  readonly message: string;
}

function memoryLog(): { log: Log; lines: Line[] } {
  const lines: Line[] = [];
  const write = (level: string) => (message: string, fields?: LogFields) =>
    void lines.push({ ...fields, level, message });
  const log: Log = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: () => log,
  };
  return { log, lines };
}

test("each call is one line in the log, with named fields and nothing of the arguments besides", async () => {
  const { log, lines } = memoryLog();
  const plugin = createPlugin({ deps: nodeWithPod().boot().deps, log });
  await plugin.call({ env: env("ADD"), stdin });
  await plugin.call({ env: env("ADD"), stdin });
  const calls = lines.filter(({ message }) => message.startsWith("cni call"));
  const common = { command: "ADD", network: "pods", containerId: "c1", ifname: "eth0", pod: "default/web" };
  expect(calls).toMatchObject([
    { level: "info", ...common, code: 0, addresses: ["10.88.0.2"], ms: expect.any(Number) },
    { level: "warn", ...common, code: 100, kind: "conflict", op: "attachment.claim" },
  ]);
  expect(JSON.stringify(lines)).not.toContain("hidden");
});

test("forwarding that was off is switched on and said once; that is on is left alone", async () => {
  const { log, lines } = memoryLog();
  const node = nodeWithPod();
  const plugin = createPlugin({ deps: node.boot().deps, log });
  for (const command of ["ADD", "DEL", "ADD"]) await plugin.call({ env: env(command), stdin });
  expect(node.sysctls.get("net.ipv4.ip_forward")).toBe("1");
  expect(lines.filter(({ message }) => message.includes("forwarding"))).toHaveLength(1);
});

test("an ADD to a full disk is code 5 with a remedy, and has touched neither kernel nor rules", async () => {
  const node = nodeWithPod();
  const { deps } = node.boot();
  const full = async (path: string) => {
    throw errnoError("ENOSPC", "file.create", path);
  };
  for (const effect of ["mkdir", "create"]) {
    const files = new Proxy(deps.files, {
      get: (target, key) => {
        const value: unknown = key === effect ? full : Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const plugin = createPlugin({ deps: { ...deps, files }, log: silentLog });
    const call = { env: env("ADD"), stdin: JSON.stringify({ ...network, ipMasq: true }) };
    const { exitCode, stdout } = await plugin.call(call);
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([
      1,
      { code: 5, msg: expect.stringMatching(/ENOSPC.*stateDir/) },
    ]);
    expect(await plugin.call({ env: env("DEL"), stdin })).toEqual({ exitCode: 0, stdout: "" });
  }
  expect(node.sysctls.get("net.ipv4.ip_forward")).toBe("0");
  expect(node.tables.size).toBe(0);
  expect(node.stateFiles()).toEqual([]);
});

test("a kernel without nf_tables is code 2, which names the key, its value and the way out", async () => {
  const { deps } = nodeWithPod().boot();
  const nft = {
    ...deps.nft,
    readRules: async () => {
      throw errnoError("EPROTONOSUPPORT", "socket", "fd -1");
    },
  };
  const plugin = createPlugin({ deps: { ...deps, nft }, log: silentLog });
  const { stdout } = await plugin.call({
    env: env("ADD"),
    stdin: JSON.stringify({ ...network, ipMasq: true }),
  });
  expect(JSON.parse(stdout)).toMatchObject({
    code: 2,
    msg: expect.stringMatching(/ipMasq is true.*nf_tables/),
  });
});

test.each([
  ["nothing", ""],
  ["no record", "c {}"],
  [
    "no link's name",
    '{"containerId":"c1","ifname":"eth0","hostLink":"a-name-that-is-too-long","addresses":[]}',
  ],
  [
    "a path for an address",
    '{"containerId":"c1","ifname":"eth0","hostLink":"tv1","addresses":["..","10.88.0.2"]}',
  ],
  ["an empty address", '{"containerId":"c1","ifname":"eth0","hostLink":"tv1","addresses":[""]}'],
  ["another type", '{"containerId":"c1","ifname":5,"hostLink":"tv1","addresses":"10.88.0.2"}'],
  ["somebody else's attachment", '{"containerId":"c2","ifname":"eth0","hostLink":"tv1","addresses":[]}'],
])("DEL of an attachment whose record holds %s clears away link and lease all the same", async (_, json) => {
  const node = nodeWithPod();
  const plugin = createPlugin({ deps: node.boot().deps, log: silentLog });
  await plugin.call({ env: env("ADD"), stdin });
  const path = `/run/trivet/cni/${bootId}/pods/attachments/c1:eth0`;
  await node.files().unlink(path);
  await node.files().create(path, Buffer.from(json.startsWith("{") ? `c ${json}\n` : json), 0o600);
  expect(await plugin.call({ env: env("DEL"), stdin })).toEqual({ exitCode: 0, stdout: "" });
  expect(node.stateFiles()).toEqual([]);
  expect([...node.kernel.host.links.keys()].filter((name) => name.startsWith("tv"))).toEqual([]);
});

test("forwarding that cannot be switched on is code 5, with what to type", async () => {
  const { deps } = nodeWithPod().boot();
  const sysctl = {
    ...deps.sysctl,
    write: async (name: string) => {
      throw errnoError("EROFS", "sysctl.write", name);
    },
  };
  const plugin = createPlugin({ deps: { ...deps, sysctl }, log: silentLog });
  const { stdout } = await plugin.call({ env: env("ADD"), stdin });
  expect(JSON.parse(stdout)).toMatchObject({
    code: 5,
    msg: expect.stringContaining("sysctl -w net.ipv4.ip_forward=1"),
  });
});

test("a link that is too small for IPv6, or a host without it, is no obstacle", async () => {
  const plugin = createPlugin({ deps: nodeWithPod().boot().deps, log: silentLog });
  const { exitCode } = await plugin.call({
    env: env("ADD"),
    stdin: JSON.stringify({ ...network, mtu: 1_000 }),
  });
  expect(exitCode).toBe(0);
});

test("without ipMasq no rule is touched", async () => {
  const node = nodeWithPod();
  await createPlugin({ deps: node.boot().deps, log: silentLog }).call({ env: env("ADD"), stdin });
  expect(node.tables.size).toBe(0);
});

test("finished calls are observed with their code", async () => {
  const seen: CniCallObservation[] = [];
  const deps = {
    ...nodeWithPod().boot().deps,
    observer: { call: (call: CniCallObservation) => void seen.push(call) },
  };
  const plugin = createPlugin({ deps, log: silentLog });
  await plugin.call({ env: env("ADD"), stdin });
  await plugin.call({ env: env("ADD"), stdin: "{" });
  expect(seen).toMatchObject([
    { command: "ADD", code: 0 },
    { command: "ADD", code: 6 },
  ]);
});

test("an error that nobody foresaw is code 999 with a fixed text; the log has the rest", async () => {
  const { log, lines } = memoryLog();
  const { deps } = nodeWithPod().boot();
  const netns: CniDeps["netns"] = {
    ...deps.netns,
    open: () => {
      throw new Error("token=secret");
    },
  };
  const reply = await createPlugin({ deps: { ...deps, netns }, log }).call({ env: env("ADD"), stdin });
  expect(reply.exitCode).toBe(1);
  expect(JSON.parse(reply.stdout)).toMatchObject({ code: 999 });
  expect(reply.stdout).not.toContain("secret");
  expect(lines.at(-1)).toMatchObject({ kind: "bug", stack: expect.stringContaining("token=secret") });
});

test("at its deadline an ADD is taken back and answered with code 11", async () => {
  const node = nodeWithPod();
  const { deps, steps } = node.boot();
  let expire: () => void = () => undefined;
  const clock: Clock = {
    ...deps.clock,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (ms === 1_234) expire = resolve;
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
  };
  // The time runs out while the link is being made.
  const netlink: CniDeps["netlink"] = {
    connect(netns) {
      const connection = deps.netlink.connect(netns);
      return {
        ...connection,
        async applyThenLink(changes, name) {
          const link = await connection.applyThenLink(changes, name);
          if (changes.some(({ op }) => op === "veth.add")) expire();
          await new Promise((resolve) => setImmediate(resolve));
          return link;
        },
      };
    },
  };
  const plugin = createPlugin({ deps: { ...deps, clock, netlink }, log: silentLog });
  const reply = await plugin.call({ env: env("ADD"), stdin, deadlineMs: 1_234 });
  expect(JSON.parse(reply.stdout)).toMatchObject({ code: 11, msg: expect.stringContaining("1234 ms") });
  expect(steps).toContain("netlink.apply link.delete");
  expect(node.stateFiles()).toEqual([]);
});

test("a foreign interface that has our link's name is left alone, by ADD and by DEL", async () => {
  const node = nodeWithPod();
  const name = hostLinkName({ network: "pods", containerId: "c1", ifname: "eth0" });
  const foreign = node.kernel.host.addPlainLink(name, { mac: "02:aa:00:00:00:01", mtu: 1500 });
  foreign.kind = "veth";
  const plugin = createPlugin({ deps: node.boot().deps, log: silentLog });
  const reply = await plugin.call({ env: env("ADD"), stdin });
  expect(JSON.parse(reply.stdout)).toMatchObject({ code: 100, msg: expect.stringContaining(name) });
  expect(await plugin.call({ env: env("DEL"), stdin })).toMatchObject({ exitCode: 0 });
  expect(node.kernel.host.links.get(name)).toBe(foreign);
  expect(node.stateFiles()).toEqual([]);
});

test("a rollback that fails is told beside the failure that made it necessary", async () => {
  const node = nodeWithPod();
  const { deps } = node.boot();
  const netlink: CniDeps["netlink"] = {
    connect(netns) {
      const connection = deps.netlink.connect(netns);
      return {
        ...connection,
        async apply(changes) {
          if (changes.some(({ op }) => op === "link.delete")) throw errnoError("EBUSY", "link.delete", "tv");
          await connection.apply(changes);
          if (changes.some(({ op }) => op === "address.add"))
            throw errnoError("EADDRINUSE", "address.add", "10.88.0.2");
        },
      };
    },
  };
  const { log, lines } = memoryLog();
  const plugin = createPlugin({ deps: { ...deps, netlink }, log });
  const reply = await plugin.call({ env: env("ADD"), stdin });
  expect(JSON.parse(reply.stdout)).toMatchObject({ code: 5, details: expect.stringContaining("EBUSY") });
  expect(lines.at(-1)).toMatchObject({ cleanup: [expect.stringContaining("EBUSY")] });
  // The record is still there, so that the runtime's DEL finds the rest.
  expect(node.stateFiles().some((path) => path.includes("attachments"))).toBe(true);
  const successor = createPlugin({ deps: node.boot().deps, log: silentLog });
  expect(await successor.call({ env: env("DEL"), stdin })).toMatchObject({ exitCode: 0 });
  expect(node.stateFiles()).toEqual([]);
});

test("the steps of an ADD and of a DEL are measured one by one", async () => {
  const steps: string[] = [];
  const { deps } = nodeWithPod().boot();
  const observer = {
    call: () => undefined,
    step: ({ command, step, ms }: CniStepObservation) => void (ms >= 0 && steps.push(`${command} ${step}`)),
  };
  const plugin = createPlugin({ deps: { ...deps, observer }, log: silentLog });
  for (const command of ["ADD", "DEL"]) await plugin.call({ env: env(command), stdin });
  expect(steps).toEqual([
    ...["ADD record", "ADD addresses", "ADD rules", "ADD link", "ADD flows", "ADD commit"],
    ...["DEL rules", "DEL link", "DEL addresses", "DEL record"],
  ]);
});
