import { expect, test } from "vitest";
import { createFakeNode, type FakeNode } from "../../../test/fakes/cni-node.ts";
import { TrivetError } from "../../errors.ts";
import { type Log, type LogFields, silentLog } from "../../observe/log.ts";
import { createPlugin } from "../plugin.ts";
import type { LiveSandboxes } from "./live-sandboxes.ts";
import { createSweeper } from "./sweeper.ts";

const stateDir = "/run/trivet/cni";
const network = {
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
};

/** A node with a pod whose namespace went without a DEL. */
async function nodeWithDeadPod(): Promise<FakeNode> {
  const node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
  const env = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/run/netns/c1",
    CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
  };
  const plugin = createPlugin({ deps: node.boot().deps, log: silentLog });
  expect(await plugin.call({ env, stdin: JSON.stringify(network) })).toMatchObject({ exitCode: 0 });
  node.kernel.removeNamespace("/run/netns/c1");
  return node;
}

function sweeperOn(node: FakeNode, sandboxes?: LiveSandboxes) {
  const { deps } = node.boot();
  const warnings: (LogFields & { message: string })[] = [];
  const log: Log = { ...silentLog, warn: (message, fields) => void warnings.push({ ...fields, message }) };
  let nowMs = deps.clock.nowMs();
  const clock = { ...deps.clock, nowMs: () => nowMs };
  const sweeper = createSweeper({ deps: { ...deps, clock }, stateDir, log, sandboxes });
  const after = (ms: number) => {
    nowMs += ms;
    return sweeper.sweep();
  };
  return { after, warnings };
}

test("a pod that the runtime lists as ready is spared, however dead it looks", async () => {
  const node = await nodeWithDeadPod();
  const ready = new Set(["c1"]);
  const { after } = sweeperOn(node, { list: async () => ready });
  for (const ms of [0, 120_000, 120_000]) {
    expect(await after(ms)).toMatchObject({ settled: [], waiting: [] });
  }
  ready.delete("c1");
  expect(await after(0)).toMatchObject({ settled: [], waiting: [{ pod: "default/web" }] });
  expect(await after(60_000)).toMatchObject({ settled: [{ pod: "default/web" }] });
  expect(node.stateFiles()).toEqual([]);
});

test("what was settled is observed by its kind", async () => {
  const node = await nodeWithDeadPod();
  const { deps } = node.boot();
  const looks: object[] = [];
  const observer = { call: () => undefined, swept: (look: object) => void looks.push(look) };
  const sweeper = createSweeper({ deps: { ...deps, observer }, stateDir, log: silentLog, graceMs: 0 });
  await sweeper.sweep();
  await sweeper.sweep();
  expect(looks).toEqual([
    { settled: [], waiting: 1, failed: 0 },
    { settled: ["dead attachment"], waiting: 0, failed: 0 },
  ]);
});

test("a look for an ADD that needs an address leaves alone what has no age: another process may be about to use it", async () => {
  const node = await nodeWithDeadPod();
  const { deps } = node.boot();
  const staged = `${stateDir}/${deps.bootId}/pods/staging/c2:eth0:n1`;
  await deps.files.create(staged, Buffer.from("p {}"), 0o600);
  const sweeper = createSweeper({ deps, stateDir, log: silentLog });
  const look = { network: "pods", graceMs: 0, minAgeMs: 0 };
  await sweeper.sweep(look);
  expect(await sweeper.sweep(look)).toMatchObject({
    settled: [{ kind: "dead attachment" }],
    waiting: [{ kind: "staged file" }],
  });
});

test.each(["committed", "pending"])(
  "what is %s is swept also after the clock was set back",
  async (state) => {
    const node = await nodeWithDeadPod();
    if (state === "pending") {
      const path = `${stateDir}/${node.boot().deps.bootId}/pods/attachments/c1:eth0`;
      const text = (await node.files().read(path)).toString();
      await node.files().unlink(path);
      await node.files().create(path, Buffer.from(text.replace(/^c/, "p")), 0o600);
    }
    const { after } = sweeperOn(node);
    await after(-3_600_000);
    expect(await after(60_000)).toMatchObject({ settled: [{ kind: "dead attachment" }] });
    expect(node.stateFiles()).toEqual([]);
  },
);

test("while the runtime does not answer nothing is removed, and the log says so", async () => {
  const node = await nodeWithDeadPod();
  const failure = { kind: "unavailable", op: "cri", subject: "", message: "no answer" } as const;
  const { after, warnings } = sweeperOn(node, {
    list: async () => {
      throw new TrivetError(failure);
    },
  });
  for (const ms of [0, 120_000, 120_000]) expect(await after(ms)).toMatchObject({ settled: [], failed: 1 });
  expect(warnings[0]).toMatchObject({ network: "pods", error: "no answer" });
  expect(node.stateFiles()).toHaveLength(2);
});

test("the grace runs from the first look, and begins anew when the thing was gone in between", async () => {
  const node = await nodeWithDeadPod();
  const { after, warnings } = sweeperOn(node);
  await after(0);
  expect(await after(59_999)).toMatchObject({ settled: [] });
  node.kernel.addNamespace("/run/netns/c1");
  const namespace = node.kernel.namespaceAt("/run/netns/c1");
  const record = node
    .files()
    .paths()
    .find((line) => line.includes("attachments/c1"));
  const path = record?.replace(/ file .*/, "") ?? "";
  const inode = /"netnsInode":"(\d+)"/.exec((await node.files().read(path)).toString())?.[1] ?? "";
  Object.defineProperty(namespace, "inode", { value: BigInt(inode) });
  expect(await after(60_000)).toMatchObject({ settled: [], waiting: [] });
  node.kernel.removeNamespace("/run/netns/c1");
  expect(await after(60_000)).toMatchObject({ settled: [] });
  expect(await after(60_000)).toMatchObject({ settled: [{ kind: "dead attachment" }] });
  expect(warnings.at(-1)).toMatchObject({
    message: "swept",
    network: "pods",
    what: "dead attachment",
    subject: "c1 eth0",
    pod: "default/web",
    action: "remove",
  });
});

test("a namespace of another pod at the recorded path does not speak for this one", async () => {
  const node = await nodeWithDeadPod();
  node.kernel.addNamespace("/run/netns/c1");
  const { after } = sweeperOn(node);
  await after(0);
  expect(await after(60_000)).toMatchObject({ settled: [{ kind: "dead attachment" }] });
});
