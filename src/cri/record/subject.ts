/** Reads from a request who it is about. Never throws: a request that cannot be read simply names nobody. */
import { createContainer, runPodSandbox } from "../wire/cri-fields.ts";
import { MessageReader } from "../wire/fields.ts";
import type { Subject } from "./call-record.ts";

/** The methods whose requests are worth holding for the record alone: those that name a pod or a container. */
export const namedMethods: ReadonlySet<string> = new Set(["RunPodSandbox", "CreateContainer"]);

// Names have at most 253 characters and images some 450: what is longer is neither, and no line of a log.
const MAX_LENGTH = 512;

function readSubject(method: string, message: Uint8Array): Subject {
  const reader = new MessageReader(message);
  const text = (path: readonly number[]) => reader.text(path).slice(0, MAX_LENGTH);
  if (method === "RunPodSandbox") {
    return {
      namespace: text(runPodSandbox.podNamespace),
      pod: text(runPodSandbox.podName),
      podUid: text(runPodSandbox.podUid),
    };
  }
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

/** Who the request of this method names; nobody where it cannot be read, or is of another method. */
export function subjectOf(method: string, message: Uint8Array): Subject {
  if (!namedMethods.has(method)) return {};
  try {
    return readSubject(method, message);
  } catch {
    return {};
  }
}
