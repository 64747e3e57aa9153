/**
 * A call from what people write about it: the pod, the container and the image by name, and as much of the request as
 * matters; the rest is made as the kubelet makes it. Pure.
 */
import { TrivetError } from "../../errors.ts";
import { type ContainerFacts, isStaticPod, type PodFacts } from "../pods/facts.ts";
import { type Field, messageType, methodOf } from "../wire/descriptors.ts";
import { nearestName } from "../wire/nearest.ts";
import { encodeRequest, type GivenCall } from "./explain.ts";
import { policyMethodNames } from "./named-by.ts";

export interface GivenPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Empty for the runtime's default. */
  readonly runtimeHandler?: string | undefined;
  /** The kubelet has it from a file. */
  readonly isStatic?: boolean | undefined;
}

export interface CallDescription {
  readonly method: string;
  /** Without it, the request says all there is to know. */
  readonly pod?: GivenPod | undefined;
  readonly container?: string | undefined;
  readonly image?: string | undefined;
  readonly listener?: string | undefined;
  /** Goes over what is made of the rest, by the names of the .proto; null takes a field away. */
  readonly request?: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

const SANDBOX_ID = "given-sandbox";
const CONTAINER_ID = "given-container";
/** A kubelet creates by the id that the runtime has told it. */
const IMAGE_ID = `sha256:${"0".repeat(64)}`;
const SOURCE = "kubernetes.io/config.source";

function annotationsOf({ annotations, isStatic }: GivenPod): Record<string, string> {
  return { [SOURCE]: isStatic === true ? "file" : "api", ...annotations };
}

function uidOf({ namespace, name, uid }: GivenPod): string {
  return uid ?? `uid-of-${namespace}-${name}`;
}

/** As the kubelet writes it, as far as policies look at it. */
function sandboxConfigOf(pod: GivenPod): Fields {
  const { namespace, name, labels } = pod;
  const uid = uidOf(pod);
  const own = {
    "io.kubernetes.pod.name": name,
    "io.kubernetes.pod.namespace": namespace,
    "io.kubernetes.pod.uid": uid,
  };
  return {
    metadata: { name, uid, namespace, attempt: 0 },
    labels: { ...labels, ...own },
    annotations: annotationsOf(pod),
  };
}

/** What of a request's field is known without asking. */
function fieldFor({ name, message }: Field, { pod, container, image }: CallDescription): unknown {
  if (message === "PodSandboxConfig") return pod && sandboxConfigOf(pod);
  if (message === "ContainerConfig" && name === "config") {
    return {
      ...(container !== undefined && { metadata: { name: container, attempt: 0 } }),
      ...(image !== undefined && { image: { image: IMAGE_ID, user_specified_image: image } }),
    };
  }
  if (message === "ImageSpec" && name === "image") return image === undefined ? undefined : { image };
  if (name === "container_id") return CONTAINER_ID;
  if (name === "pod_sandbox_id") return SANDBOX_ID;
  if (name === "runtime_handler") return pod?.runtimeHandler;
  return undefined;
}

const isMapping = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `over` on `base`: mappings field by field, all else as a whole; null takes away. */
function merged(base: unknown, over: unknown): unknown {
  if (over === undefined) return base;
  if (!isMapping(over)) return over;
  const result = new Map<string, unknown>(Object.entries(isMapping(base) ? base : {}));
  for (const [name, value] of Object.entries(over)) {
    if (value === null) result.delete(name);
    else result.set(name, merged(result.get(name), value));
  }
  return Object.fromEntries(result);
}

function podFactsOf(pod: GivenPod): PodFacts {
  const { namespace, name, labels = {}, runtimeHandler = "" } = pod;
  const annotations = new Map(Object.entries(annotationsOf(pod)));
  const isStatic = isStaticPod(annotations);
  const texts = { sandboxId: SANDBOX_ID, namespace, name, uid: uidOf(pod), runtimeHandler };
  return { ...texts, labels: new Map(Object.entries(labels)), annotations, isStatic, incomplete: false };
}

function containerFactsOf({ container = "", image = "" }: CallDescription, pod: PodFacts): ContainerFacts {
  return { containerId: CONTAINER_ID, name: container, image, pod };
}

function invalid(method: string, message: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "policy.explain", subject: method, message });
}

/** The request, encoded. Nothing can be said in the request of a method that our API does not describe. */
function messageOf(description: CallDescription): Uint8Array {
  const { method, request } = description;
  const described = methodOf(method);
  if (!described) {
    const names = policyMethodNames();
    const near = nearestName(method, names);
    if (!names.includes(method))
      throw invalid(method, `CRI has no method ${method}${near ? `, did you mean ${near}?` : ""}`);
    if (request === undefined) return Buffer.alloc(0);
    throw invalid(method, `${method}: what its request holds is not known here: leave the request out`);
  }
  if (request !== undefined && !isMapping(request))
    throw invalid(method, `${method}: the request must be a mapping of its fields`);
  const base: Record<string, unknown> = {};
  for (const field of messageType(described.request).fields) {
    const value = fieldFor(field, description);
    if (value !== undefined) base[field.name] = value;
  }
  return encodeRequest(method, merged(base, request));
}

/** Throws `invalid` with the path of what is wrong with the request. */
export function giveCall(description: CallDescription): GivenCall {
  const { method, pod, listener } = description;
  const facts = pod && podFactsOf(pod);
  return {
    method,
    message: messageOf(description),
    ...(listener !== undefined && { listener }),
    ...(facts && { pod: facts, container: containerFactsOf(description, facts) }),
  };
}
