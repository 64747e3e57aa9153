/** DEL: succeeds in whatever state things are, and takes only what is the attachment's. */
import { must, type Rule, type Runtime } from "../rule.ts";
import { show, unknownId } from "../runtime.ts";
import { mustBeAsBefore, smallNetwork, warmUp, withoutRanges } from "./networks.ts";

/** ADD, spoil, DEL; afterwards the node is as it was. */
function afterwards(
  title: string,
  spoil: (runtime: Runtime, pod: Awaited<ReturnType<Runtime["pod"]>>) => Promise<unknown>,
  env: Readonly<Record<string, string | undefined>> = {},
): Omit<Rule, "group"> {
  return {
    title,
    async judge(runtime) {
      await warmUp(runtime);
      const pod = await runtime.pod();
      const before = await runtime.subject.traces();
      await runtime.added(pod);
      await spoil(runtime, pod);
      await runtime.succeeds("DEL", pod, { env });
      await pod.remove("nothing"); // what hangs on the namespace may go with it
      await mustBeAsBefore(runtime, before);
    },
  };
}

const nothing = async () => undefined;

const rules: readonly Omit<Rule, "group">[] = [
  {
    title: "removes the interface from the container, and all that was made for it from the node",
    async judge(runtime) {
      await warmUp(runtime);
      const pod = await runtime.pod();
      const before = await runtime.subject.traces();
      const prevResult = await runtime.added(pod);
      await runtime.succeeds("DEL", pod, { conf: { prevResult } });
      must(!(await pod.links()).some(({ name }) => name === "eth0"), "the interface is still there");
      await mustBeAsBefore(runtime, before);
    },
  },
  {
    title: "succeeds when it is called again",
    async judge(runtime) {
      const pod = await runtime.pod();
      await runtime.added(pod);
      for (let count = 0; count < 3; count++) await runtime.succeeds("DEL", pod);
    },
  },
  {
    title: "succeeds for a container that it never heard of",
    async judge(runtime) {
      await runtime.succeeds("DEL", await runtime.pod(), { env: { CNI_CONTAINERID: unknownId() } });
    },
  },
  {
    title: "succeeds after an ADD that failed",
    async judge(runtime) {
      const pod = await runtime.pod();
      await pod.occupy("eth0");
      await runtime.fails("ADD", pod);
      await pod.removeLink("eth0");
      await runtime.succeeds("DEL", pod);
      await runtime.added(pod);
    },
  },
  afterwards("succeeds and cleans up when the interface is gone already", (_, pod) => pod.removeLink("eth0")),
  afterwards("succeeds and cleans up when CNI_NETNS is empty", nothing, { CNI_NETNS: "" }),
  afterwards("succeeds and cleans up when CNI_NETNS is missing", nothing, { CNI_NETNS: undefined }),
  afterwards("succeeds and cleans up when the namespace is gone", (_, pod) => pod.remove("nothing")),
  afterwards("succeeds and cleans up when a plain file is left of the namespace", (_, pod) =>
    pod.remove("plain-file"),
  ),
  {
    title: "frees the address: it can be given again",
    excused: withoutRanges,
    async judge(runtime) {
      const conf = smallNetwork(runtime.subject);
      for (let count = 0; count < 3; count++) {
        const pod = await runtime.pod();
        await runtime.added(pod, { conf });
        await runtime.succeeds("DEL", pod, { conf });
      }
    },
  },
  {
    title: "takes nothing from other containers, interfaces and networks",
    async judge(runtime) {
      const [pod, other] = [await runtime.pod(), await runtime.pod()];
      await runtime.added(pod);
      await runtime.added(pod, { env: { CNI_IFNAME: "eth1" } });
      await runtime.added(other);
      const before = [await pod.links(), await other.links()];
      const eth0 = before[0]?.find(({ name }) => name === "eth0");
      await runtime.succeeds("DEL", pod, { env: { CNI_IFNAME: "eth1" } });
      await runtime.succeeds("DEL", pod, { env: { CNI_CONTAINERID: unknownId(), CNI_NETNS: "" } });
      const after = (await pod.links()).find(({ name }) => name === "eth0");
      must(show(after) === show(eth0), `eth0 was ${show(eth0)} and is ${show(after)}`);
      must(show(await other.links()) === show(before[1]), "it changed another container");
    },
  },
];

export const delRules: readonly Rule[] = rules.map((rule) => ({ group: "DEL", ...rule }));
