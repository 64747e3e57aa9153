/** Whether a policy is about a call, by what needs no expression. */

import { type CallFacts, type FactsOfPod, PolicyFailure } from "./facts.ts";
import { isImageId } from "./images/reference.ts";
import { type LabelSelector, meets } from "./label-selector.ts";
import type { PolicySelector } from "./policy.ts";

/** Which pods are left alone, unless a policy asks for them by name. */
export interface Exemptions {
  readonly namespaces: ReadonlySet<string>;
  readonly staticPods: boolean;
}

/** What runs the node must start whatever a policy says. */
export const defaultExemptions: Exemptions = {
  namespaces: new Set(["kube-system", "trivet-system"]),
  staticPods: true,
};

/** Why the policy is not about the call; undefined where it is. Throws a PolicyFailure where that cannot be told. */
export function whyNotSelected(
  selector: PolicySelector,
  facts: CallFacts,
  exempt: Exemptions,
): string | undefined {
  return podReason(selector, facts.pod(), exempt) ?? containerReason(selector, facts);
}

function podReason(
  selector: PolicySelector,
  pod: FactsOfPod | undefined,
  exempt: Exemptions,
): string | undefined {
  const { namespaces, podSelector, runtimeHandlers, includeStaticPods } = selector;
  if (!pod) {
    const asked = namespaces ?? podSelector ?? runtimeHandlers;
    return asked ? "the call names no pod" : undefined;
  }
  const { namespace } = pod;
  if (namespaces && !namespaces.has(namespace)) return `the namespace is ${JSON.stringify(namespace)}`;
  if (!pod.claimed) {
    if (!namespaces && exempt.namespaces.has(namespace)) return `the namespace ${namespace} is exempt`;
    if (exempt.staticPods && !includeStaticPods && pod.isStatic) return "static pods are exempt";
  }
  if (runtimeHandlers && !runtimeHandlers.has(pod.runtimeHandler)) {
    return `the runtime handler is ${JSON.stringify(pod.runtimeHandler)}`;
  }
  return podSelector && labelReason(podSelector, pod);
}

function labelReason(selector: LabelSelector, pod: FactsOfPod): string | undefined {
  for (const requirement of selector) {
    if (!meets(pod.labels, requirement)) return `the label ${requirement.key} is not as podSelector wants it`;
  }
  return undefined;
}

function containerReason({ containers, images }: PolicySelector, facts: CallFacts): string | undefined {
  if (containers) {
    const name = facts.container();
    if (name === undefined || !containers.has(name)) return `the container is ${JSON.stringify(name ?? "")}`;
  }
  if (!images) return undefined;
  const image = facts.image();
  if (image === undefined || image === "") return "the call names no image";
  if (isImageId(image)) throw new PolicyFailure("the request has only the id of the image, not its name");
  return images.some((pattern) => pattern.matches(image)) ? undefined : "the image is not one of images";
}
