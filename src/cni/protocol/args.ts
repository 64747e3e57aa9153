/** CNI_ARGS (`K=V;K=V`): the pod's identity, which containerd and CRI-O send, and an address or a MAC. Other keys need IgnoreUnknown. */
import type { PodIdentity } from "./environment.ts";

/** What a user may ask for through CNI_ARGS, as host-local and bridge take it. */
export interface AddressArgs {
  /** `IP`: addresses with or without a prefix length, separated by commas. */
  readonly ip: string | undefined;
  /** `MAC`. */
  readonly mac: string | undefined;
}

const ours = new Set([
  "IgnoreUnknown",
  "K8S_POD_NAMESPACE",
  "K8S_POD_NAME",
  "K8S_POD_UID",
  "K8S_POD_INFRA_CONTAINER_ID",
  "IP",
  "MAC",
]);

/** No name in Kubernetes is longer (RFC 1123). What is goes into records and log lines, and is cut. */
const MAX_NAME = 253;
const MAX_SHOWN = 120;

interface Args {
  readonly pod: PodIdentity;
  readonly asked: AddressArgs;
  readonly problems: string[];
}

/** The pod as far as it is named, and what is wrong with the text. The order of the pairs means nothing. */
export function parseArgs(args: string): Args {
  const values = new Map<string, string>();
  const problems: string[] = [];
  for (const pair of args.split(";")) {
    if (pair === "") continue;
    const split = pair.indexOf("=");
    if (split < 1) problems.push(`CNI_ARGS holds "${pair.slice(0, MAX_SHOWN)}", which is no KEY=VALUE`);
    else values.set(pair.slice(0, split), pair.slice(split + 1));
  }
  const ignoreUnknown = ["1", "true"].includes((values.get("IgnoreUnknown") ?? "").toLowerCase());
  const unknown = [...values.keys()].filter((key) => !ours.has(key));
  if (unknown.length > 0 && !ignoreUnknown) {
    const names = unknown.join(", ").slice(0, MAX_SHOWN);
    problems.push(`CNI_ARGS holds unknown keys without IgnoreUnknown=1: ${names}`);
  }
  const name = (key: string) => (values.get(key) ?? "").slice(0, MAX_NAME);
  return {
    pod: { namespace: name("K8S_POD_NAMESPACE"), name: name("K8S_POD_NAME"), uid: name("K8S_POD_UID") },
    asked: { ip: values.get("IP") || undefined, mac: values.get("MAC") || undefined },
    problems,
  };
}
