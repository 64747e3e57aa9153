/**
 * Reads facts of pods and containers from requests and responses of CRI v1. Knows the field numbers of those messages and
 * walks over all the rest. Throws `decode` for what is not protobuf.
 */
import { eachValue, MessageReader } from "../wire/fields.ts";
import { capEntries, isStaticPod, type LeftOut, type PodFacts } from "./facts.ts";

/** Where the facts lie in `PodSandboxConfig`, `PodSandbox` and `PodSandboxStatus`: they differ in these numbers only. */
export interface PodFields {
  readonly metadata: number;
  readonly labels: number;
  readonly annotations: number;
  readonly runtimeHandler?: number;
}

/** Field numbers, in the order of the API's file; `read-facts.test.ts` compares them with it. */
export const fields = {
  PodSandboxConfig: { metadata: 1, labels: 6, annotations: 7 },
  RunPodSandboxRequest: { config: 1, runtimeHandler: 2 },
  RunPodSandboxResponse: { podSandboxId: 1 },
  PodSandboxStatusResponse: { status: 1 },
  PodSandboxStatus: { id: 1, metadata: 2, labels: 7, annotations: 8, runtimeHandler: 9 },
  ListPodSandboxResponse: { items: 1 },
  PodSandbox: { id: 1, metadata: 2, labels: 5, annotations: 6, runtimeHandler: 7 },
  PodSandboxMetadata: { name: 1, uid: 2, namespace: 3 },
  CreateContainerRequest: { podSandboxId: 1, config: 2, sandboxConfig: 3 },
  CreateContainerResponse: { containerId: 1 },
  ContainerConfig: { metadata: 1, image: 2 },
  ListContainersResponse: { containers: 1 },
  Container: { id: 1, podSandboxId: 2, metadata: 3, image: 4 },
  ContainerMetadata: { name: 1 },
  ImageSpec: { image: 1, userSpecifiedImage: 18 },
  /** The one field of `RemovePodSandboxRequest` and `RemoveContainerRequest` alike. */
  RemoveRequest: { id: 1 },
} as const;

/** A container as the runtime names it, before its pod is known. */
export interface ContainerEntry {
  readonly containerId: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly image: string;
}

// Names have at most 253 characters and images some 800; ids are 64.
const MAX_NAME_LENGTH = 1_024;

/** Copied out of the message's text, so that a fact never keeps a larger string alive. */
const nameAt = (reader: MessageReader, path: readonly number[]): string =>
  Buffer.from(reader.text(path).slice(0, MAX_NAME_LENGTH)).toString();

function* entriesAt(message: Buffer, number: number): Generator<readonly [string, string]> {
  const places: [number, number][] = [];
  eachValue(message, number, (start, end) => places.push([start, end]));
  for (const [start, end] of places) {
    const entry = new MessageReader(message.subarray(start, end));
    yield [entry.text([1]), entry.text([2])];
  }
}

const isAny = (leftOut: LeftOut) => leftOut === "many" || leftOut.size > 0;

/** Of one of the three messages that say what a pod is. */
export function readPod(message: Uint8Array, where: PodFields, known: { sandboxId: string }): PodFacts {
  const reader = new MessageReader(message);
  const own = reader.submessage([]) ?? Buffer.alloc(0);
  const labels = capEntries(entriesAt(own, where.labels));
  const annotations = capEntries(entriesAt(own, where.annotations));
  const { name, uid, namespace } = fields.PodSandboxMetadata;
  return {
    sandboxId: known.sandboxId,
    namespace: nameAt(reader, [where.metadata, namespace]),
    name: nameAt(reader, [where.metadata, name]),
    uid: nameAt(reader, [where.metadata, uid]),
    labels: labels.kept,
    annotations: annotations.kept,
    runtimeHandler: where.runtimeHandler ? nameAt(reader, [where.runtimeHandler]) : "",
    isStatic: isStaticPod(annotations.kept),
    incomplete: isAny(labels.leftOut),
    ...((isAny(labels.leftOut) || isAny(annotations.leftOut)) && {
      leftOut: { labels: labels.leftOut, annotations: annotations.leftOut },
    }),
  };
}

/** An item of `ListPodSandboxResponse`, or the status of one. Undefined without an id. */
export function readListedPod(
  message: Uint8Array,
  where: typeof fields.PodSandbox | typeof fields.PodSandboxStatus,
): PodFacts | undefined {
  const sandboxId = nameAt(new MessageReader(message), [where.id]);
  return sandboxId === "" ? undefined : readPod(message, where, { sandboxId });
}

/** What a RunPodSandbox is to make; its id is in the answer. */
export function readRunPodSandbox(request: Uint8Array): PodFacts | undefined {
  const reader = new MessageReader(request);
  const config = reader.submessage([fields.RunPodSandboxRequest.config]);
  if (!config) return undefined;
  const pod = readPod(config, fields.PodSandboxConfig, { sandboxId: "" });
  return { ...pod, runtimeHandler: nameAt(reader, [fields.RunPodSandboxRequest.runtimeHandler]) };
}

/** The id in the answer of a RunPodSandbox or of a CreateContainer: both have it as their only field. */
export function readMadeId(response: Uint8Array): string {
  return nameAt(new MessageReader(response), [fields.RunPodSandboxResponse.podSandboxId]);
}

function imageAt(reader: MessageReader, path: readonly number[]): string {
  // What was asked for is an id by the time of the create; what the user wrote stands beside it since Kubernetes 1.28.
  const { image, userSpecifiedImage } = fields.ImageSpec;
  return nameAt(reader, [...path, userSpecifiedImage]) || nameAt(reader, [...path, image]);
}

/** What a CreateContainer is to make; its id is in the answer. */
export function readCreateContainer(request: Uint8Array): ContainerEntry {
  const reader = new MessageReader(request);
  const { podSandboxId, config } = fields.CreateContainerRequest;
  return {
    containerId: "",
    sandboxId: nameAt(reader, [podSandboxId]),
    name: nameAt(reader, [config, fields.ContainerConfig.metadata, fields.ContainerMetadata.name]),
    image: imageAt(reader, [config, fields.ContainerConfig.image]),
  };
}

/** The sandboxes of a `ListPodSandboxResponse`. */
export function readPodList(response: Uint8Array): PodFacts[] {
  const found: PodFacts[] = [];
  eachValue(response, fields.ListPodSandboxResponse.items, (start, end) => {
    const pod = readListedPod(response.subarray(start, end), fields.PodSandbox);
    if (pod) found.push(pod);
  });
  return found;
}

/** The containers of a `ListContainersResponse`. */
export function readContainerList(response: Uint8Array): ContainerEntry[] {
  const found: ContainerEntry[] = [];
  const { id, podSandboxId, metadata, image } = fields.Container;
  eachValue(response, fields.ListContainersResponse.containers, (start, end) => {
    const reader = new MessageReader(response.subarray(start, end));
    const containerId = nameAt(reader, [id]);
    if (containerId === "") return;
    found.push({
      containerId,
      sandboxId: nameAt(reader, [podSandboxId]),
      name: nameAt(reader, [metadata, fields.ContainerMetadata.name]),
      image: imageAt(reader, [image]),
    });
  });
  return found;
}

/** The id in a Remove request. */
export function readRemovedId(request: Uint8Array): string {
  return nameAt(new MessageReader(request), [fields.RemoveRequest.id]);
}
