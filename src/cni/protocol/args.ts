/** CNI_ARGS (`K=V;K=V`): the pod's identity, which containerd and CRI-O send. Other keys need IgnoreUnknown. */
import type { PodIdentity } from "./environment.ts";

const ours = new Set([
  "IgnoreUnknown",
  "K8S_POD_NAMESPACE",
  "K8S_POD_NAME",
  "K8S_POD_UID",
  "K8S_POD_INFRA_CONTAINER_ID",
]);

/** The pod as far as it is named, and what is wrong with the text. The order of the pairs means nothing. */
export function parsePod(args: string): { pod: PodIdentity; problems: string[] } {
  const values = new Map<string, string>();
  const problems: string[] = [];
  for (const pair of args.split(";")) {
    if (pair === "") continue;
    const split = pair.indexOf("=");
    if (split < 1) problems.push(`CNI_ARGS holds "${pair}", which is no KEY=VALUE`);
    else values.set(pair.slice(0, split), pair.slice(split + 1));
  }
  const ignoreUnknown = ["1", "true"].includes((values.get("IgnoreUnknown") ?? "").toLowerCase());
  const unknown = [...values.keys()].filter((key) => !ours.has(key));
  if (unknown.length > 0 && !ignoreUnknown) {
    problems.push(`CNI_ARGS holds unknown keys without IgnoreUnknown=1: ${unknown.join(", ")}`);
  }
  const pod = {
    namespace: values.get("K8S_POD_NAMESPACE") ?? "",
    name: values.get("K8S_POD_NAME") ?? "",
    uid: values.get("K8S_POD_UID") ?? "",
  };
  return { pod, problems };
}
