/** What the rules of a node are after calls, flushes and races; on the fake, whose contract the kernel keeps. */
import { describe, expect, test } from "vitest";
import { bootId, createFakeNode } from "../../../test/fakes/cni-node.ts";
import { silentLog } from "../../observe/log.ts";
import { createPlugin } from "../plugin.ts";
import { repairRules } from "./repair.ts";
import { ruleTable } from "./rule-table.ts";

const stateDir = "/run/trivet/cni";

function start() {
  const node = createFakeNode();
  for (const pod of ["a", "b", "c"]) node.kernel.addNamespace(`/run/netns/${pod}`);
  const process = node.boot();
  const plugin = createPlugin({ deps: process.deps, log: silentLog });
  const call = async (command: string, pod: string, portMappings: readonly object[] = [], ipMasq = true) => {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod,
      CNI_IFNAME: "eth0",
      CNI_NETNS: `/run/netns/${pod}`,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod}`,
    };
    const network = {
      ...{ cniVersion: "1.0.0", name: "pods", type: "trivet", ipMasq, runtimeConfig: { portMappings } },
      ipam: { ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]] },
    };
    const from = process.steps.length;
    const { stdout } = await plugin.call({ env, stdin: JSON.stringify(network) });
    const reply = stdout === "" ? {} : (JSON.parse(stdout) as { code?: number; msg?: string });
    return { ...reply, nft: process.steps.slice(from).filter((step) => step.startsWith("nft.")) };
  };
  const table = () => node.tables.get(ruleTable);
  const ports = () =>
    [...(table()?.ports.values() ?? [])].map(({ podAddress, hostPort }) => `${hostPort} ${podAddress}`);
  return { node, deps: process.deps, call, table, ports };
}

const web = [{ hostPort: 80, containerPort: 8080, protocol: "tcp" }];

describe("the cost of a call in nf_tables", () => {
  test("the first ADD is one transaction, ports and masquerade together", async () => {
    const { call } = start();
    const { nft } = await call("ADD", "a", web);
    expect(nft.filter((step) => step.startsWith("nft.write"))).toHaveLength(1);
  });

  test("later ADDs without ports ask for the generation alone, and their DELs for nothing", async () => {
    const { call } = start();
    await call("ADD", "a");
    expect((await call("ADD", "b")).nft).toEqual(["nft.read generation"]);
    expect((await call("DEL", "b")).nft).toEqual([]);
  });

  test("an ADD with ports is one transaction, so is its DEL", async () => {
    const { call } = start();
    await call("ADD", "a");
    const writes = (nft: readonly string[]) => nft.filter((step) => step.startsWith("nft.write"));
    expect(writes((await call("ADD", "b", web)).nft)).toHaveLength(1);
    expect((await call("DEL", "b")).nft).toEqual([`nft.write ${ruleTable}`]);
  });

  test("without ports and masquerade it is nothing at all", async () => {
    const { call, table } = start();
    expect((await call("ADD", "a", [], false)).nft).toEqual([]);
    expect(table()).toBeUndefined();
  });
});

test("a port that a pod has is refused with that pod's name, over DELs of others and restarts", async () => {
  const { call, ports } = start();
  await call("ADD", "a", web);
  expect(await call("ADD", "b", web)).toMatchObject({ code: 100, msg: expect.stringContaining("default/a") });
  await call("DEL", "b");
  expect(ports()).toEqual(["80 10.88.0.2", "80 fd00:88::2"]);
  await call("DEL", "a");
  expect(ports()).toEqual([]);
  expect(await call("ADD", "b", web)).not.toHaveProperty("code");
});

test("an element that no record claims is taken over", async () => {
  const { deps, call, ports } = start();
  await call("ADD", "a");
  const orphan = { family: 4, protocol: "tcp", hostPort: 80, hostIp: undefined } as const;
  await deps.nft.write(ruleTable, {
    install: ["ports"],
    ports: { add: [{ ...orphan, podAddress: "10.88.0.99", podPort: 1 }], remove: [] },
  });
  expect(await call("ADD", "b", web)).not.toHaveProperty("code");
  expect(ports()).toEqual(["80 10.88.0.3", "80 fd00:88::3"]);
});

test("another program that changes rules all the time only makes an ADD look again", async () => {
  const { node, deps, call, ports } = start();
  await call("ADD", "a");
  let changes = 5;
  const write = deps.nft.write;
  Object.assign(deps.nft, {
    write: (...args: Parameters<typeof write>) => {
      if (changes-- > 0) node.tables.generation += 1;
      return write(...args);
    },
  });
  expect(await call("ADD", "b", web)).not.toHaveProperty("code");
  expect(ports()).toHaveLength(2);
});

describe("rules that somebody flushed", () => {
  test.each([
    ["without ports", []],
    ["with ports", [{ hostPort: 81, containerPort: 1 }]],
  ])("come back for all pods with the next ADD, %s", async (_title, mine) => {
    const { node, call, table, ports } = start();
    await call("ADD", "a", web);
    node.tables.clear();
    await call("ADD", "b", mine);
    expect([...(table()?.parts ?? [])].sort()).toEqual(["masquerade", "ports"]);
    expect(ports()).toEqual(expect.arrayContaining(["80 10.88.0.2", "80 fd00:88::2"]));
    expect([...(table()?.networks ?? [])]).toEqual(["10.88.0.0/24", "fd00:88::/64"]);
    expect([...(table()?.hairpins ?? [])]).toEqual(expect.arrayContaining(["10.88.0.2", "fd00:88::2"]));
  });

  test("do not keep a pod from being deleted", async () => {
    const { node, call, table } = start();
    await call("ADD", "a", web);
    node.tables.clear();
    expect(await call("DEL", "a")).not.toHaveProperty("code");
    expect(table()).toBeUndefined();
    expect(node.stateFiles()).toEqual([]);
  });

  test("come back by a repair, which tells what it did and then has nothing to do", async () => {
    const { node, deps, call, ports } = start();
    await call("ADD", "a", web);
    await call("ADD", "b", [{ hostPort: 81, containerPort: 1 }]);
    const before = ports();
    node.tables.clear();
    expect(await repairRules(deps, { stateDir })).toEqual({
      ...{ installed: ["masquerade", "ports"], networksAdded: 2, portsAdded: 4, portsRemoved: 0 },
    });
    expect(ports().sort()).toEqual([...before].sort());
    const nothing = { installed: [], networksAdded: 0, portsAdded: 0, portsRemoved: 0 };
    const { generation } = node.tables;
    expect(await repairRules(deps, { stateDir })).toEqual(nothing);
    expect(node.tables.generation).toBe(generation);
  });
});

test("a repair removes elements that no record claims, and makes nothing where no pod is", async () => {
  const { node, deps, call, ports, table } = start();
  await repairRules(deps, { stateDir });
  expect(table()).toBeUndefined();
  await call("ADD", "a", web);
  await node.files().unlink(`${stateDir}/${bootId}/pods/attachments/a:eth0`);
  expect(await repairRules(deps, { stateDir })).toMatchObject({ portsRemoved: 2 });
  expect(ports()).toEqual([]);
  expect([...(table()?.hairpins ?? [])]).toEqual([]);
});
