/** Our plugin in this process, on the kernel in memory: for the rules in the unit tests. */
import { runCni } from "../../../src/cni/client/run.ts";
import { createFakeNode } from "../../fakes/cni-node.ts";
import type { FakeNamespace } from "../../fakes/netlink-namespace.ts";
import type { Json, Pod, PodLink, Subject } from "./rule.ts";

/** A configuration that every release of the plugin accepts. */
const conf: Json = {
  name: "pods",
  type: "trivet",
  socket: "/nonexistent/cni.sock",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
};

export function createFakeSubject(): Subject {
  const node = createFakeNode();
  const { deps } = node.boot();
  let pods = 0;
  const call: Subject["call"] = async (env, stdin) => {
    let stdout = "";
    const exitCode = await runCni({
      env,
      standalone: true,
      readStdin: async () => stdin,
      writeStdout: (text) => {
        stdout += text;
      },
      writeStderr: () => undefined,
      loadDeps: async () => deps,
    });
    return { exitCode, stdout };
  };
  return {
    conf,
    cniPath: "/opt/cni/bin",
    call,
    async pod() {
      const netns = `/run/netns/pod-${pods++}`;
      const namespace = node.kernel.addNamespace(netns);
      return fakePod(namespace, netns, (remains) => node.kernel.removeNamespace(netns, remains));
    },
    async traces() {
      return [JSON.stringify(node.kernel.host.describe()), ...node.stateFiles()];
    },
  };
}

function fakePod(
  namespace: FakeNamespace,
  netns: string,
  remove: (remains: "nothing" | "plain-file") => void,
): Pod {
  return {
    id: netns.slice("/run/netns/".length),
    netns,
    links: async () => [...namespace.links.values()].map((link) => describeLink(namespace, link)),
    async occupy(name) {
      namespace.addPlainLink(name, { mac: "02:aa:00:00:00:01", mtu: 1500 });
    },
    removeLink: async (name) => namespace.deleteLink(name),
    async removeAddress(_link, cidr) {
      const at = namespace.addresses.findIndex(({ address }) => cidr.startsWith(`${address}/`));
      namespace.addresses.splice(at, 1);
    },
    remove: async (remains) => remove(remains),
  };
}

function describeLink(
  namespace: FakeNamespace,
  { name, up, mac, index }: { name: string; up: boolean; mac: string; index: number },
): PodLink {
  const addresses = namespace
    .addressesOf(index)
    .map(({ address, prefixLength }) => `${address}/${prefixLength}`);
  // Of the loopback only that it is there.
  return name === "lo" ? { name, up: true, mac, addresses: [] } : { name, up, mac, addresses };
}
