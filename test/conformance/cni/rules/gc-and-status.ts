/** GC and STATUS, which came with 1.1.0. */
import { must, type Pod, type Rule, type Runtime } from "../rule.ts";
import { show } from "../runtime.ts";
import { mustBeAsBefore, otherNetwork, smallNetwork, warmUp, withoutRanges } from "./networks.ts";

const attachment = (pod: Pod) => ({ containerID: pod.id, ifname: "eth0" });

/** As a runtime does: no container's variables, and the list of what is valid in the configuration. */
async function collect(runtime: Runtime, valid: readonly object[]): Promise<void> {
  const { subject } = runtime;
  const conf = { ...runtime.conf(), "cni.dev/valid-attachments": valid };
  const outcome = await subject.call({ CNI_COMMAND: "GC", CNI_PATH: subject.cniPath }, JSON.stringify(conf));
  must(outcome.exitCode === 0, `GC failed: ${show(outcome.stdout)}`);
}

const gcRules: readonly Omit<Rule, "group">[] = [
  {
    title: "takes away the attachments that are not in the list, and no other",
    async judge(runtime) {
      const [kept, stale] = [await runtime.pod(), await runtime.pod()];
      await runtime.added(kept);
      const before = await runtime.subject.traces();
      await runtime.added(stale);
      const links = await kept.links();
      await collect(runtime, [attachment(kept)]);
      must(show(await kept.links()) === show(links), "it changed a container that is in the list");
      must(
        show(await runtime.subject.traces()) === show(before),
        "it left something of the other on the node",
      );
      await runtime.succeeds("DEL", stale);
      await runtime.succeeds("DEL", kept);
    },
  },
  {
    title: "with an empty list takes all of the network's, and succeeds when it is called again",
    async judge(runtime) {
      await warmUp(runtime);
      const pod = await runtime.pod();
      const before = await runtime.subject.traces();
      await runtime.added(pod);
      await collect(runtime, []);
      await collect(runtime, []);
      await mustBeAsBefore(runtime, before);
      await runtime.added(pod);
    },
  },
  {
    title: "leaves other networks alone",
    async judge(runtime) {
      const pod = await runtime.pod();
      const conf = otherNetwork(runtime.subject, "other");
      await runtime.added(pod, { conf });
      const before = await pod.links();
      await collect(runtime, []);
      must(show(await pod.links()) === show(before), "it changed a container of another network");
    },
  },
];

const statusRules: readonly Omit<Rule, "group">[] = [
  {
    title: "succeeds while ADD would, without the variables of a container",
    async judge(runtime) {
      const { subject } = runtime;
      const env = { CNI_COMMAND: "STATUS", CNI_PATH: subject.cniPath };
      const outcome = await subject.call(env, JSON.stringify(runtime.conf()));
      must(outcome.exitCode === 0, `STATUS failed: ${show(outcome.stdout)}`);
      await runtime.added(await runtime.pod());
    },
  },
  {
    title: "fails with code 50 or 51 when no address is left",
    excused: withoutRanges,
    async judge(runtime) {
      const conf = smallNetwork(runtime.subject);
      const pod = await runtime.pod();
      await runtime.added(pod, { conf });
      const { code } = await runtime.fails("STATUS", pod, { conf });
      must(code === 50 || code === 51, `the code is ${code}`);
      await runtime.succeeds("DEL", pod, { conf });
      await runtime.succeeds("STATUS", pod, { conf });
    },
  },
];

export const gcAndStatusRules: readonly Rule[] = [
  ...gcRules.map((rule) => ({ group: "GC", since: "1.1.0", ...rule })),
  ...statusRules.map((rule) => ({ group: "STATUS", since: "1.1.0", ...rule })),
];
