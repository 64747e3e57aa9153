/**
 * Reads from a request who it is about: from what the request says itself, and from what is known of the id in it. Never
 * throws and never asks: a request that cannot be read, or whose id nobody has seen, simply names nobody.
 */
import type { ContainerFacts, PodFacts, PodIndex } from "../pods/pod-index.ts";
import { fieldNumbers } from "../wire/field-path.ts";
import { MessageReader } from "../wire/fields.ts";
import type { Subject } from "./call-record.ts";

const sandboxField = (path: string) => fieldNumbers("RunPodSandboxRequest", path);
const runPodSandbox = {
  podName: sandboxField("config.metadata.name"),
  podUid: sandboxField("config.metadata.uid"),
  podNamespace: sandboxField("config.metadata.namespace"),
};

const containerField = (path: string) => fieldNumbers("CreateContainerRequest", path);
const createContainer = {
  podSandboxId: containerField("pod_sandbox_id"),
  containerName: containerField("config.metadata.name"),
  image: containerField("config.image.image"),
  userSpecifiedImage: containerField("config.image.user_specified_image"),
  podName: containerField("sandbox_config.metadata.name"),
  podUid: containerField("sandbox_config.metadata.uid"),
  podNamespace: containerField("sandbox_config.metadata.namespace"),
};

/** Where a request has the id that it is about. */
const idFields: Readonly<
  Record<string, { readonly kind: "sandbox" | "container"; readonly number: number }>
> = {
  StopPodSandbox: { kind: "sandbox", number: 1 },
  RemovePodSandbox: { kind: "sandbox", number: 1 },
  PodSandboxStatus: { kind: "sandbox", number: 1 },
  PortForward: { kind: "sandbox", number: 1 },
  UpdatePodSandboxResources: { kind: "sandbox", number: 1 },
  StartContainer: { kind: "container", number: 1 },
  StopContainer: { kind: "container", number: 1 },
  RemoveContainer: { kind: "container", number: 1 },
  ContainerStatus: { kind: "container", number: 1 },
  UpdateContainerResources: { kind: "container", number: 1 },
  ReopenContainerLog: { kind: "container", number: 1 },
  ExecSync: { kind: "container", number: 1 },
  Exec: { kind: "container", number: 1 },
  Attach: { kind: "container", number: 1 },
  CheckpointContainer: { kind: "container", number: 1 },
};

/** `image.image` of these, and the metadata of PullImage's `sandbox_config`. */
const imageField = [1, 1];
const userImageField = [1, 18];
const pulledFor = { pod: [3, 1, 1], podUid: [3, 1, 2], namespace: [3, 1, 3] };
const imageMethods: ReadonlySet<string> = new Set(["PullImage", "RemoveImage", "ImageStatus"]);

/** Tests compare these numbers with the API's file. */
export const subjectFields = { idFields, imageField, userImageField, pulledFor };

/** The methods whose requests say who they are about: worth holding for the record alone. */
export const namedMethods: ReadonlySet<string> = new Set([
  "RunPodSandbox",
  "CreateContainer",
  ...Object.keys(idFields),
  ...imageMethods,
]);

// Names have at most 253 characters and images some 450: what is longer is neither, and no line of a log.
const MAX_LENGTH = 512;

type Index = Pick<PodIndex, "sandbox" | "container">;

/** Who the request of this method names; nobody where it cannot be read, or is of another method. */
export function subjectOf(method: string, message: Uint8Array, pods?: Index): Subject {
  if (!namedMethods.has(method)) return {};
  try {
    return withoutEmpty(readSubject(method, new MessageReader(message), pods));
  } catch {
    return {};
  }
}

function readSubject(method: string, reader: MessageReader, pods: Index | undefined): Subject {
  const text = (path: readonly number[]) => reader.text(path).slice(0, MAX_LENGTH);
  if (method === "RunPodSandbox") {
    return {
      namespace: text(runPodSandbox.podNamespace),
      pod: text(runPodSandbox.podName),
      podUid: text(runPodSandbox.podUid),
    };
  }
  if (method === "CreateContainer") {
    return {
      namespace: text(createContainer.podNamespace),
      pod: text(createContainer.podName),
      podUid: text(createContainer.podUid),
      container: text(createContainer.containerName),
      // The request's image is an id by now; what the user wrote stands beside it since Kubernetes 1.28.
      image: text(createContainer.userSpecifiedImage) || text(createContainer.image),
      sandboxId: text(createContainer.podSandboxId),
    };
  }
  if (imageMethods.has(method)) {
    const image = text(imageField) || text(userImageField);
    if (method !== "PullImage") return { image };
    const { pod, podUid, namespace } = pulledFor;
    return { namespace: text(namespace), pod: text(pod), podUid: text(podUid), image };
  }
  return subjectOfId(method, text, pods);
}

function subjectOfId(
  method: string,
  text: (path: readonly number[]) => string,
  pods: Index | undefined,
): Subject {
  const where = idFields[method];
  if (!where) return {};
  const id = text([where.number]);
  if (where.kind === "sandbox") return { ...ofPod(pods?.sandbox(id)), sandboxId: id };
  return { ...ofContainer(pods?.container(id)), containerId: id };
}

function ofPod(pod: PodFacts | undefined): Subject {
  if (!pod) return {};
  const { namespace, name, uid, sandboxId } = pod;
  return { namespace, pod: name, podUid: uid, sandboxId };
}

function ofContainer(container: ContainerFacts | undefined): Subject {
  if (!container) return {};
  return { ...ofPod(container.pod), container: container.name, image: container.image };
}

function withoutEmpty(subject: Subject): Subject {
  const filled: Record<string, string> = {};
  for (const name in subject) {
    const value = subject[name as keyof Subject];
    if (value !== undefined && value !== "") filled[name] = value;
  }
  return filled;
}
