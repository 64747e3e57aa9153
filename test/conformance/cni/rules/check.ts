/** CHECK: compares the container with the result of its ADD, and changes nothing. */
import { must, type Pod, type Rule, type Runtime } from "../rule.ts";
import { show, unknownId } from "../runtime.ts";

function notices(
  title: string,
  damage: (pod: Pod, runtime: Runtime) => Promise<unknown>,
): Omit<Rule, "group"> {
  return {
    title,
    async judge(runtime) {
      const pod = await runtime.pod();
      const prevResult = await runtime.added(pod);
      await damage(pod, runtime);
      await runtime.fails("CHECK", pod, { conf: { prevResult } });
    },
  };
}

const rules: readonly Omit<Rule, "group">[] = [
  {
    title: "succeeds for a container that is as ADD made it, and changes nothing",
    async judge(runtime) {
      const pod = await runtime.pod();
      const prevResult = await runtime.added(pod);
      const before = [await pod.links(), await runtime.subject.traces()];
      await runtime.succeeds("CHECK", pod, { conf: { prevResult } });
      must(
        show([await pod.links(), await runtime.subject.traces()]) === show(before),
        "it changed something",
      );
    },
  },
  {
    title: "does not mind what later plugins of the chain added",
    async judge(runtime) {
      const pod = await runtime.pod();
      const added = await runtime.added(pod);
      await pod.occupy("later0");
      const prevResult = {
        ...added,
        interfaces: [...added.interfaces, { name: "later0", sandbox: pod.netns }],
      };
      await runtime.succeeds("CHECK", pod, { conf: { prevResult } });
    },
  },
  notices("fails if the interface is gone", (pod) => pod.removeLink("eth0")),
  notices("fails if the interface lacks an address of the result", async (pod) => {
    const link = (await pod.links()).find(({ name }) => name === "eth0");
    for (const address of link?.addresses ?? []) await pod.removeAddress("eth0", address);
  }),
  notices("fails for an attachment that was deleted", (pod, runtime) => runtime.succeeds("DEL", pod)),
  {
    title: "fails without a prevResult",
    async judge(runtime) {
      const pod = await runtime.pod();
      await runtime.added(pod);
      await runtime.fails("CHECK", pod);
    },
  },
  {
    title: "fails for a container that it never heard of",
    async judge(runtime) {
      const pod = await runtime.pod();
      const prevResult = await runtime.added(pod);
      const bare = await runtime.pod();
      const env = { CNI_CONTAINERID: unknownId(), CNI_NETNS: bare.netns };
      await runtime.fails("CHECK", pod, { env, conf: { prevResult } });
    },
  },
];

export const checkRules: readonly Rule[] = rules.map((rule) => ({ group: "CHECK", since: "0.4.0", ...rule }));
