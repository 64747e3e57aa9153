import { beforeEach, describe, expect, test } from "vitest";
import { createFakeNode, type FakeNode } from "../../test/fakes/cni-node.ts";
import { errnoError } from "../host/errno.ts";
import { silentLog } from "../observe/log.ts";
import { createPlugin } from "./plugin.ts";

let node: FakeNode;

beforeEach(() => {
  node = createFakeNode();
});

const config = (ipam: object) => ({ cniVersion: "1.1.0", name: "pods", type: "trivet", ipam });
const tiny = { ranges: [[{ subnet: "10.88.0.0/29" }]] }; // five addresses
const gcFor = (...ids: string[]) => ({
  "cni.dev/valid-attachments": ids.map((containerID) => ({ containerID, ifname: "eth0" })),
});

interface Call {
  readonly id?: string;
  readonly ipam?: object;
  readonly changes?: object;
  readonly deps?: ReturnType<FakeNode["boot"]>["deps"];
}

async function call(
  command: string,
  { id = "", ipam = tiny, changes = {}, deps = node.boot().deps }: Call = {},
) {
  const netns = `/run/netns/${id}`;
  if (id !== "" && !node.kernel.namespaceAt(netns)) node.kernel.addNamespace(netns);
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_IFNAME: "eth0",
    CNI_NETNS: netns,
    CNI_PATH: "/opt/cni/bin",
  };
  const plugin = createPlugin({ deps, log: silentLog });
  const { stdout, exitCode } = await plugin.call({
    env,
    stdin: JSON.stringify({ ...config(ipam), ...changes }),
  });
  return { exitCode, stdout, error: stdout === "" ? undefined : (JSON.parse(stdout) as object) };
}

describe("STATUS", () => {
  test("is 0 on a node where nothing was ever added, says nothing, and leaves no file", async () => {
    expect(await call("STATUS")).toMatchObject({ exitCode: 0, stdout: "" });
    expect(node.stateFiles()).toEqual([]);
  });

  test("is 0 as long as one address is free, 50 when none is, and 0 again after a DEL", async () => {
    for (const id of ["a", "b", "c", "d", "e"]) {
      expect(await call("STATUS"), id).toMatchObject({ exitCode: 0 });
      expect(await call("ADD", { id })).toMatchObject({ exitCode: 0 });
    }
    expect((await call("STATUS")).error).toMatchObject({ code: 50, msg: expect.stringContaining("all 5") });
    await call("DEL", { id: "c" });
    expect(await call("STATUS")).toMatchObject({ exitCode: 0 });
  });

  test("an address that is reserved for some pods is none for the others", async () => {
    const reservations = ["10.88.0.5", "10.88.0.6"].map((address) => ({ address, pod: "default/db" }));
    const ipam = { ...tiny, reservations };
    for (const id of ["a", "b", "c"]) await call("ADD", { id, ipam });
    expect((await call("STATUS", { ipam })).error).toMatchObject({ code: 50 });
  });

  test.each(["mkdir", "create"])("is 50 when the state directory takes nothing: %s", async (effect) => {
    const { deps } = node.boot();
    const files = new Proxy(deps.files, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        if (key === effect) {
          return async (path: string) => {
            throw errnoError("EROFS", `file.${effect}`, path);
          };
        }
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const { error } = await call("STATUS", { deps: { ...deps, files } });
    expect(error).toMatchObject({ code: 50, msg: expect.stringContaining("EROFS") });
  });

  test("what is wrong with the call keeps its own code", async () => {
    expect((await call("STATUS", { changes: { mtu: -1 } })).error).toMatchObject({ code: 7 });
    expect((await call("STATUS", { changes: { cniVersion: "9.9.9" } })).error).toMatchObject({ code: 1 });
  });

  test("costs the same with four thousand leases as with few", async () => {
    const ipam = { ranges: [[{ subnet: "10.88.0.0/16" }]] };
    await call("ADD", { id: "a", ipam });
    const effects = async () => {
      const process = node.boot();
      await call("STATUS", { ipam, deps: process.deps });
      return process.steps.length;
    };
    const few = await effects();
    const leases = "/run/trivet/cni/11111111-2222-4333-8444-555555555555/pods/leases";
    for (let index = 0; index < 4_000; index += 1) {
      const address = `10.88.${64 + (index >> 8)}.${index & 255}`;
      await node.files().create(`${leases}/${address}`, Buffer.from("p {}"), 0o600);
    }
    expect(await effects()).toBe(few);
  });
});

describe("an exhausted pool", () => {
  test("is looked through once for all ADDs that find it so at the same moment", async () => {
    for (const id of ["a", "b", "c", "d", "e"])
      expect(await call("ADD", { id })).toMatchObject({ exitCode: 0 });
    let looks = 0;
    const observer = { call: () => undefined, swept: () => void looks++ };
    const plugin = createPlugin({ deps: { ...node.boot().deps, observer }, log: silentLog });
    const late = Array.from({ length: 32 }, (_, index) => {
      const CNI_NETNS = `/run/netns/late${index}`;
      node.kernel.addNamespace(CNI_NETNS);
      const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: `late${index}`, CNI_IFNAME: "eth0", CNI_NETNS };
      return plugin.call({ env, stdin: JSON.stringify(config(tiny)) });
    });
    for (const { stdout } of await Promise.all(late)) expect(JSON.parse(stdout)).toMatchObject({ code: 11 });
    expect(looks).toBeLessThan(4);
    expect(node.stateFiles()).toHaveLength(10);
  });
});

describe("GC", () => {
  test("keeps what is valid and removes the rest, of this network only", async () => {
    for (const id of ["a", "b", "c"]) await call("ADD", { id });
    const ipam = { ranges: [[{ subnet: "10.99.0.0/29" }]] };
    await call("ADD", { id: "d", ipam, changes: { name: "others" } });
    expect(await call("GC", { changes: gcFor("b", "gone") })).toMatchObject({ exitCode: 0, stdout: "" });
    expect(node.stateFiles()).toEqual([
      "others/attachments/d:eth0",
      "others/leases/10.99.0.2",
      "pods/attachments/b:eth0",
      "pods/leases/10.88.0.3",
    ]);
    const links = [...node.kernel.host.links.keys()].filter((name) => name.startsWith("tv"));
    expect(links).toHaveLength(2);
  });

  test("what was made before the clock was set back goes too", async () => {
    await call("ADD", { id: "a" });
    const { deps } = node.boot();
    const clock = { ...deps.clock, nowMs: () => deps.clock.nowMs() - 3_600_000 };
    const changes = { "cni.dev/valid-attachments": [] };
    expect(await call("GC", { changes, deps: { ...deps, clock } })).toMatchObject({ exitCode: 0 });
    expect(node.stateFiles()).toEqual([]);
  });

  test("a runtime without pods sends null for its list: everything goes", async () => {
    await call("ADD", { id: "a" });
    const changes = { "cni.dev/valid-attachments": null, "cni.dev/attachments": null };
    expect(await call("GC", { changes })).toMatchObject({ exitCode: 0, stdout: "" });
    expect(node.stateFiles()).toEqual([]);
  });

  test.each([
    ["no list", {}, "cni.dev/valid-attachments is missing"],
    ["a list that is none", { "cni.dev/valid-attachments": "all" }, "cni.dev/valid-attachments"],
    ["an entry without an interface", { "cni.dev/valid-attachments": [{ containerID: "a" }] }, "[0]"],
  ])("%s is code 7 and removes nothing", async (_title, changes, said) => {
    await call("ADD", { id: "a" });
    const { error } = await call("GC", { changes });
    expect(error).toMatchObject({ code: 7, msg: expect.stringContaining(said) });
    expect(node.stateFiles()).toHaveLength(2);
  });

  test("does not wait for a stuck call beyond its deadline, and does everything else before", async () => {
    const { deps } = node.boot();
    const stuck = Promise.withResolvers<void>();
    let isStuck = true;
    const netlink: typeof deps.netlink = {
      connect(netns) {
        const connection = deps.netlink.connect(netns);
        return {
          ...connection,
          async apply(changes) {
            if (isStuck && netns?.path.endsWith("slow")) await stuck.promise;
            return connection.apply(changes);
          },
        };
      },
    };
    for (const id of ["a", "slow"]) node.kernel.addNamespace(`/run/netns/${id}`);
    let expire: () => void = () => undefined;
    const sleep: typeof deps.clock.sleep = (ms, signal) =>
      new Promise((resolve, reject) => {
        if (ms === 777) expire = resolve;
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    const plugin = createPlugin({
      deps: { ...deps, netlink, clock: { ...deps.clock, sleep } },
      log: silentLog,
    });
    const ask = (command: string, id: string, deadlineMs?: number) =>
      plugin.call({
        env: {
          CNI_COMMAND: command,
          CNI_CONTAINERID: id,
          CNI_IFNAME: "eth0",
          CNI_NETNS: `/run/netns/${id}`,
          CNI_PATH: "/opt/cni/bin",
        },
        stdin: JSON.stringify({ ...config(tiny), ...gcFor() }),
        deadlineMs,
      });
    expect(await ask("ADD", "a")).toMatchObject({ exitCode: 0 });
    const slow = ask("ADD", "slow");
    for (let turn = 0; turn < 300; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const collecting = ask("GC", "", 777);
    for (let turn = 0; turn < 300; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(node.stateFiles().filter((path) => path.includes("/a:"))).toEqual([]);
    expire();
    const answer = await collecting;
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 11, msg: expect.stringContaining("777 ms") });
    isStuck = false;
    stuck.resolve();
    await slow;
  });
});
