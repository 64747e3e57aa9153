/**
 * What is known of a pod and a container whose id alone stands in a request. Small on purpose: no environment, no
 * arguments, no mounts, and only as many labels and annotations as a policy can reasonably ask for.
 */

/** Of one sandbox. */
export interface PodFacts {
  readonly sandboxId: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  /** Empty for the runtime's default. */
  readonly runtimeHandler: string;
  /** The kubelet read the pod from a file or a URL of its own. See `isStaticPod`. */
  readonly isStatic: boolean;
  /**
   * Labels were left out, for there were too many or one was too long. Annotations are not meant: a long one is a document,
   * which many pods have, and no selector is about them.
   */
  readonly incomplete: boolean;
  /** The keys of what was left out. Undefined where nothing was, or where it is not known. */
  readonly leftOut?: { readonly labels: LeftOut; readonly annotations: LeftOut } | undefined;
}

/** Keys of entries that are not kept; `many` where even the keys are too many. */
export type LeftOut = ReadonlySet<string> | "many";

/** Of one container, with its pod. */
export interface ContainerFacts {
  readonly containerId: string;
  readonly name: string;
  /** As the user wrote it where the runtime tells that, else what the runtime was asked for. */
  readonly image: string;
  readonly pod: PodFacts;
}

/** Labels have at most 63 characters of value; what is longer among the annotations is a document, not a mark. */
const MAX_VALUE_LENGTH = 1_024;
const MAX_KEY_LENGTH = 512;
const MAX_ENTRIES = 128;
const MAX_TOTAL_LENGTH = 16 << 10;
const MAX_LEFT_OUT = 32;

/** Where the kubelet has a pod from: see `isStaticPod`. However many others there are, this one is kept. */
const CONFIG_SOURCE = "kubernetes.io/config.source";

/** The entries that are kept of a pod's labels or annotations, and the keys of those that are not. */
export function capEntries(entries: Iterable<readonly [string, string]>): {
  readonly kept: ReadonlyMap<string, string>;
  readonly leftOut: LeftOut;
} {
  const kept = new Map<string, string>();
  const leftOut = new Set<string>();
  let total = 0;
  let many = false;
  for (const [key, value] of entries) {
    const room =
      (kept.has(key) || kept.size < MAX_ENTRIES) && total + key.length + value.length <= MAX_TOTAL_LENGTH;
    const short = key.length <= MAX_KEY_LENGTH && value.length <= MAX_VALUE_LENGTH;
    if (short && (room || key === CONFIG_SOURCE)) {
      kept.set(key, value);
      leftOut.delete(key);
      total += key.length + value.length;
      continue;
    }
    // The last entry of a key holds: an earlier one must not stand for one that is left out.
    kept.delete(key);
    if (key.length <= MAX_KEY_LENGTH && leftOut.size < MAX_LEFT_OUT) leftOut.add(key);
    else many = true;
  }
  return { kept, leftOut: many ? "many" : leftOut };
}

/**
 * Whether the kubelet made the pod by itself, from a file or a URL. It overwrites this annotation for every pod by where
 * it has it from (kubelet, pkg/kubelet/config), so a pod of the API server cannot claim it; `kubernetes.io/config.mirror`
 * anybody may set.
 */
export function isStaticPod(annotations: ReadonlyMap<string, string>): boolean {
  const source = annotations.get(CONFIG_SOURCE);
  return source === "file" || source === "http";
}

/** The characters that the texts of these facts have: what they cost in memory, about. */
export function weightOf(pod: PodFacts): number {
  let weight = pod.sandboxId.length + pod.namespace.length + pod.name.length + pod.uid.length;
  for (const entries of [pod.labels, pod.annotations]) {
    for (const [key, value] of entries) weight += key.length + value.length;
  }
  for (const keys of [pod.leftOut?.labels, pod.leftOut?.annotations]) {
    if (keys instanceof Set) for (const key of keys) weight += key.length;
  }
  return weight;
}
