/**
 * The fault sweep of the CNI leg: for every step of ADD and of DEL, the step fails before or after its effect, or the process
 * is killed there. Then the runtime does what it always does after a failure: DEL. Nothing of the attachment may be left,
 * and nothing of another pod may be lost.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { createPlugin } from "../../src/cni/plugin.ts";
import { silentLog } from "../../src/observe/log.ts";
import { type BootedProcess, createFakeNode, type FakeNode, type Fault } from "../fakes/cni-node.ts";

const modes = ["fail-before", "fail-after", "kill-before", "kill-after"] as const;
const deadlines = ["deadline-before", "deadline-after"] as const;

const plain = { cniVersion: "1.0.0", name: "pods", type: "trivet", ipMasq: true };
const dualStack = { ipam: { ranges: [[{ subnet: "10.88.0.0/28" }], [{ subnet: "fd00:88::/120" }]] } };
/** Each pod has its own; `other` has one more, on one address of the host. */
const portsOf = (pod: string) => ({
  runtimeConfig: {
    portMappings:
      pod === "mine"
        ? [
            { hostPort: 8080, containerPort: 80, protocol: "tcp" },
            { hostPort: 53, containerPort: 5353, protocol: "udp", hostIP: "192.0.2.1" },
          ]
        : [
            { hostPort: 8081, containerPort: 80, protocol: "tcp" },
            { hostPort: 53, containerPort: 5353, protocol: "udp", hostIP: "192.0.2.2" },
          ],
  },
});

type Configure = (pod: string) => Readonly<Record<string, unknown>>;

const networks: readonly (readonly [title: string, config: Configure])[] = [
  [
    "routed, two addresses of IPv4",
    () => ({ ...plain, ipam: { ranges: [[{ subnet: "10.88.0.0/28" }], [{ subnet: "10.99.0.0/28" }]] } }),
  ],
  ["routed, dual stack, host ports", (pod) => ({ ...plain, ...dualStack, ...portsOf(pod) })],
  [
    "bridge, dual stack, host ports",
    (pod) => ({
      ...plain,
      ...dualStack,
      ...portsOf(pod),
      mode: "bridge",
      bridge: "trbr0",
      portIsolation: true,
    }),
  ],
];

let configure: Configure = () => plain;

type Verb = "ADD" | "DEL" | "CHECK";

async function call({ deps }: BootedProcess, verb: Verb, pod: string, signal?: AbortSignal) {
  const env = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: pod,
    CNI_IFNAME: "eth0",
    CNI_NETNS: `/run/netns/${pod}`,
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod}`,
  };
  const plugin = createPlugin({ deps, log: silentLog });
  const reply = await plugin.call({ env, stdin: JSON.stringify(configure(pod)), signal });
  return { ...reply, code: reply.exitCode === 0 ? 0 : (JSON.parse(reply.stdout) as { code: number }).code };
}

/** A node on which pod `other` is attached, and pod `mine` has its namespace only. */
async function nodeWithNeighbour(): Promise<FakeNode> {
  const node = createFakeNode();
  node.kernel.addNamespace("/run/netns/other");
  node.kernel.addNamespace("/run/netns/mine");
  expect(await call(node.boot(), "ADD", "other")).toMatchObject({ code: 0 });
  return node;
}

/** All that pods could leave or lose. The loopback interface of a pod comes up once and stays so. */
const picture = (node: FakeNode) => ({
  files: node.stateFiles(),
  rules: [...node.tables.values()].flatMap(({ ports, hairpins }) => [...ports.keys(), ...hairpins].sort()),
  kernel: node.kernel.describe().filter((line) => !/: link 1 lo /.test(line)),
  descriptors: node.kernel.openDescriptors,
});

async function countSteps(verb: Verb): Promise<string[]> {
  const node = await nodeWithNeighbour();
  if (verb !== "ADD") await call(node.boot(), "ADD", "mine");
  const process = node.boot();
  expect(await call(process, verb, "mine")).toMatchObject({ code: 0 });
  return process.steps;
}

/** The kernel may keep such a flow for some minutes more: a pod is worth more. */
const tolerated = /^conntrack/;

describe.each(networks)("%s", (_title, config) => {
  beforeAll(() => {
    configure = config;
  });

  describe("ADD that goes wrong at any step, then DEL", () => {
    let steps: string[] = [];

    beforeAll(async () => {
      steps = await countSteps("ADD");
      expect(steps.length).toBeGreaterThan(40);
    });

    test.each(modes)("leaves nothing and takes nothing from others: %s", async (mode) => {
      for (const [step, name] of steps.entries()) {
        const node = await nodeWithNeighbour();
        const before = picture(node);
        const fault: Fault = { step, mode };
        const process = node.boot(fault);
        const added = await call(process, "ADD", "mine");
        const where = `${mode} at step ${step}, ${name}`;
        if (mode.startsWith("kill")) process.kill();
        else expect(node.kernel.openDescriptors, where).toBe(before.descriptors);
        const successor = node.boot();
        expect(await call(successor, "DEL", "mine"), where).toMatchObject({ code: 0, stdout: "" });
        expect({ ...picture(node), descriptors: 0 }, where).toEqual({ ...before, descriptors: 0 });
        if (!tolerated.test(name) || mode.startsWith("kill")) {
          expect(added.exitCode, `${where}: a failed step makes a failed ADD`).toBe(1);
        }
        expect(await call(successor, "ADD", "mine"), `${where}: ADD again`).toMatchObject({ code: 0 });
      }
    });

    test.each(deadlines)("is taken back, or done, when its time is over: %s", async (mode) => {
      for (const [step, name] of steps.entries()) {
        const node = await nodeWithNeighbour();
        const before = picture(node);
        const deadline = new AbortController();
        const added = await call(node.boot({ step, mode, deadline }), "ADD", "mine", deadline.signal);
        const where = `${mode} at step ${step}, ${name}`;
        if (added.code !== 0)
          expect({ code: added.code, ...picture(node) }, where).toEqual({ code: 11, ...before });
        expect(await call(node.boot(), "DEL", "mine"), where).toMatchObject({ code: 0, stdout: "" });
        expect(picture(node), where).toEqual(before);
      }
    });

    test("rolls back by itself after a plain failure, so that no lease waits for a DEL", async () => {
      for (const [step, name] of steps.entries()) {
        if (tolerated.test(name)) continue;
        const node = await nodeWithNeighbour();
        const before = picture(node);
        await call(node.boot({ step, mode: "fail-before" }), "ADD", "mine");
        const staged = /staging/;
        const after = picture(node);
        const files = after.files.filter((path) => !staged.test(path));
        expect({ ...after, files }, `fail-before at step ${step}, ${name}`).toEqual(before);
      }
    });
  });

  describe("DEL that goes wrong at any step, then DEL again", () => {
    test.each(modes)("frees everything, and never what belongs to another: %s", async (mode) => {
      const steps = await countSteps("DEL");
      expect(steps.length).toBeGreaterThan(15);
      for (const [step, name] of steps.entries()) {
        const node = await nodeWithNeighbour();
        const before = picture(node);
        await call(node.boot(), "ADD", "mine");
        const process = node.boot({ step, mode });
        await call(process, "DEL", "mine");
        const where = `${mode} at step ${step}, ${name}`;
        process.kill();
        expect(await call(node.boot(), "DEL", "mine"), where).toMatchObject({ code: 0 });
        expect({ ...picture(node), descriptors: 0 }, where).toEqual({ ...before, descriptors: 0 });
      }
    });

    test.each(modes)(
      "keeps the address taken for as long as a route leads to the old pod: %s",
      async (mode) => {
        const steps = await countSteps("DEL");
        for (const step of steps.keys()) {
          const node = await nodeWithNeighbour();
          await call(node.boot(), "ADD", "mine");
          await call(node.boot({ step, mode }), "DEL", "mine");
          const leased = node.stateFiles().flatMap((path) => /leases\/(.*)/.exec(path)?.[1] ?? []);
          const routed = node.kernel.host.routes.filter(({ prefixLength }) => prefixLength >= 32);
          for (const { destination } of routed) expect(leased).toContain(destination);
        }
      },
    );
  });

  describe("a namespace that dies with a killed ADD", () => {
    test.each(["kill-before", "kill-after"] as const)(
      "does not keep the same container from being added again, without a DEL: %s",
      async (mode) => {
        const steps = await countSteps("ADD");
        for (const [step, name] of steps.entries()) {
          const node = await nodeWithNeighbour();
          const before = picture(node);
          await call(node.boot({ step, mode }), "ADD", "mine");
          node.kernel.removeNamespace("/run/netns/mine");
          node.kernel.addNamespace("/run/netns/mine");
          const successor = node.boot();
          const where = `${mode} at step ${step}, ${name}`;
          expect(await call(successor, "ADD", "mine"), where).toMatchObject({ code: 0 });
          expect(await call(successor, "DEL", "mine"), where).toMatchObject({ code: 0 });
          const kernel = picture(node).kernel;
          expect({ files: picture(node).files, kernel }, where).toEqual({
            files: before.files,
            kernel: before.kernel,
          });
        }
      },
    );
  });
});
