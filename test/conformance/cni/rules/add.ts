/** ADD: what it makes, what it prints, and what it must leave alone. */
import { must, type Rule, type Runtime } from "../rule.ts";
import { show } from "../runtime.ts";
import { mustBeAsBefore, smallNetwork, warmUp, withoutRanges } from "./networks.ts";

const rules: readonly Omit<Rule, "group">[] = [
  {
    title:
      "makes the interface CNI_IFNAME in the container, and prints a result of the configuration's version",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      const result = await runtime.added(pod, { env: { CNI_IFNAME: "net7" } });
      must(result.cniVersion === runtime.version, `the result's cniVersion is ${show(result.cniVersion)}`);
      const link = (await pod.links()).find(({ name }) => name === "net7");
      must(link !== undefined, "there is no such interface");
      must(link.up, "the interface is down");
    },
  },
  {
    title: "lists the container's interface with its name, its MAC and the sandbox",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      const { interfaces } = await runtime.added(pod);
      const ours = interfaces.filter(({ sandbox }) => sandbox === pod.netns);
      must(ours.length === 1, `${ours.length} of its interfaces have the sandbox ${pod.netns}`);
      must(ours[0]?.name === "eth0", `its name is ${show(ours[0]?.name)}`);
      const link = (await pod.links()).find(({ name }) => name === "eth0");
      must(link?.mac === ours[0].mac?.toLowerCase(), `its MAC is ${link?.mac}, and not ${ours[0].mac}`);
    },
  },
  {
    title:
      "gives the interface just those addresses that it prints, in CIDR form, with the index of that interface",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      const { ips, interfaces } = await runtime.added(pod);
      must(ips.length > 0, "it prints no address");
      const links = await pod.links();
      const present = links.find(({ name }) => name === "eth0")?.addresses ?? [];
      for (const ip of ips) {
        must(present.includes(ip.address), `the interface has ${show(present)}, and not ${ip.address}`);
        must(
          interfaces[ip.interface ?? -1]?.sandbox === pod.netns,
          `the index of ${ip.address} is ${ip.interface}`,
        );
      }
      must(present.length === ips.length, `the interface has ${show(present)}`);
    },
  },
  {
    title: "says the family of an address up to 0.4.0, and no more from 1.0.0 on",
    async judge(runtime: Runtime) {
      const { ips } = await runtime.added(await runtime.pod());
      const old = ["0.3.1", "0.4.0"].includes(runtime.version);
      for (const { address, version } of ips) {
        const family = address.includes(":") ? "6" : "4";
        must(old ? version === family : version === undefined, `version of ${address} is ${show(version)}`);
      }
    },
  },
  {
    title:
      "fails where the container has an interface of that name, leaves it alone, and leaves nothing on the node",
    async judge(runtime: Runtime) {
      await warmUp(runtime);
      const pod = await runtime.pod();
      await pod.occupy("eth0");
      const before = await runtime.subject.traces();
      const links = await pod.links();
      await runtime.fails("ADD", pod);
      must(show(await pod.links()) === show(links), "it changed the container");
      await runtime.call("DEL", await runtime.pod(), {
        env: { CNI_CONTAINERID: pod.id, CNI_NETNS: undefined },
      });
      await mustBeAsBefore(runtime, before);
    },
  },
  {
    title: "fails for an attachment that exists, and leaves it as it was",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      await runtime.added(pod);
      const before = await pod.links();
      await runtime.fails("ADD", pod);
      must(show(await pod.links()) === show(before), "it changed the container");
    },
  },
  {
    title: "makes further interfaces of one container, each with an address of its own",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      const first = await runtime.added(pod);
      const second = await runtime.added(pod, { env: { CNI_IFNAME: "eth1" } });
      const names = (await pod.links()).map(({ name }) => name);
      must(names.includes("eth0") && names.includes("eth1"), `the container has ${show(names)}`);
      must(first.ips[0]?.address !== second.ips[0]?.address, `both have ${first.ips[0]?.address}`);
    },
  },
  {
    title: "may be called for several containers at once, and gives each another address",
    async judge(runtime: Runtime) {
      const pods = [];
      for (let index = 0; index < 8; index++) pods.push(await runtime.pod());
      const results = await Promise.all(pods.map((pod) => runtime.added(pod)));
      const addresses = results.map(({ ips }) => ips[0]?.address);
      must(new Set(addresses).size === pods.length, `the addresses are ${show(addresses)}`);
    },
  },
  {
    title:
      "given a prevResult, prints it again with what it changed: interfaces and addresses of plugins before it stay",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      const old = ["0.3.1", "0.4.0"].includes(runtime.version);
      const prevResult = {
        cniVersion: runtime.version,
        interfaces: [{ name: "first0", sandbox: pod.netns }],
        ips: [{ ...(old ? { version: "4" } : {}), address: "203.0.113.9/24", interface: 0 }],
        dns: {},
      };
      const { interfaces, ips } = await runtime.added(pod, { conf: { prevResult } });
      must(
        interfaces.some(({ name }) => name === "first0"),
        `its interfaces are ${show(interfaces)}`,
      );
      const kept = ips.find(({ address }) => address === "203.0.113.9/24");
      must(kept !== undefined, `its addresses are ${show(ips)}`);
      must(
        interfaces[kept.interface ?? -1]?.name === "first0",
        "the address before it has another interface now",
      );
    },
  },
  {
    title: "fails where no address is left; with the DEL that follows nothing remains of it",
    excused: withoutRanges,
    async judge(runtime: Runtime) {
      const conf = smallNetwork(runtime.subject);
      await runtime.added(await runtime.pod(), { conf });
      const pod = await runtime.pod();
      const before = await runtime.subject.traces();
      await runtime.fails("ADD", pod, { conf });
      await runtime.succeeds("DEL", pod, { conf });
      must((await pod.links()).length === 1, "there is an interface in the container");
      await mustBeAsBefore(runtime, before);
    },
  },
];

export const addRules: readonly Rule[] = rules.map((rule) => ({ group: "ADD", ...rule }));
