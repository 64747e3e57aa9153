/**
 * Which policies are about a call of the call log. The record has no request, so only what selects by pod, container and
 * image can be told; what policies made of the call then is what the record says. Pure.
 */
import type { CallRecord } from "../record/call-record.ts";
import { type CallFacts, type FactsOfPod, PolicyFailure } from "./facts.ts";
import { namedBy } from "./named-by.ts";
import type { RuntimePolicy } from "./policy.ts";
import { type Exemptions, whyNotSelected } from "./select.ts";

export interface RecordedPolicy {
  readonly policy: string;
  readonly file: string;
  /** `unknown` where that takes more than the record holds. */
  readonly matched: "yes" | "no" | "unknown";
  readonly reason?: string;
}

function missing(what: string): PolicyFailure {
  return new PolicyFailure(`the record does not hold ${what}`);
}

class RecordedPod implements FactsOfPod {
  readonly annotations = new Map<string, string>();
  readonly isStatic = false;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;

  constructor({ namespace = "", pod = "", podUid = "" }: CallRecord) {
    this.namespace = namespace;
    this.name = pod;
    this.uid = podUid;
  }

  get labels(): ReadonlyMap<string, string> {
    throw missing("the pod's labels");
  }

  get runtimeHandler(): string {
    throw missing("the pod's runtime handler");
  }
}

function factsOf(record: CallRecord): CallFacts {
  const by = namedBy(record.method);
  const namesPod = by?.config !== undefined || by?.id !== undefined;
  const namesContainer = by?.container !== undefined || by?.id?.kind === "container";
  return {
    pod() {
      if (record.pod !== undefined) return new RecordedPod(record);
      if (namesPod) throw missing("the name of the pod");
      return undefined;
    },
    container() {
      if (record.container === undefined && namesContainer) throw missing("the name of the container");
      return record.container;
    },
    image() {
      if (record.image === undefined && (by?.image || namesContainer)) throw missing("the image");
      return record.image;
    },
  };
}

/** Policies by the sandbox that this container is of, or by the names of images: what they match is not in their methods. */
function followsSandbox({ methods }: RuntimePolicy, method: string): boolean {
  return method === "CreateContainer" && (methods.get("RunPodSandbox")?.mutations.length ?? 0) > 0;
}

function explainOne(policy: RuntimePolicy, record: CallRecord, exempt: Exemptions): RecordedPolicy {
  const { name, file, methods, selector, imageRewrites } = policy;
  const told = { policy: name, file };
  const recorded = record.policies?.filter((outcome) => outcome.policy === name) ?? [];
  const changed = record.changes?.some((change) => change.policy === name) ?? false;
  if (recorded.length > 0 || changed) return { ...told, matched: "yes", reason: "the record says so" };
  const plan = methods.get(record.method);
  const rewrites = imageRewrites.length > 0 && namedBy(record.method)?.image !== undefined;
  if (!plan && !rewrites && !followsSandbox(policy, record.method))
    return { ...told, matched: "no", reason: "the policy is not about this method" };
  if (rewrites)
    return { ...told, matched: "unknown", reason: "the record does not hold the name as it came" };
  try {
    const reason = whyNotSelected(selector, factsOf(record), exempt);
    if (reason !== undefined) return { ...told, matched: "no", reason };
  } catch (error) {
    if (!(error instanceof PolicyFailure)) throw error;
    return { ...told, matched: "unknown", reason: error.message };
  }
  if ((plan?.conditions.length ?? 0) === 0) return { ...told, matched: "yes" };
  return {
    ...told,
    matched: "unknown",
    reason: "matchConditions need the request, which the record does not hold",
  };
}

/** In the order in which policies are asked. That a pod is no static one is taken for granted. */
export function explainRecord(
  policies: readonly RuntimePolicy[],
  record: CallRecord,
  exempt: Exemptions,
): RecordedPolicy[] {
  return policies.map((policy) => explainOne(policy, record, exempt));
}
