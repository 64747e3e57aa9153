/** Reads from a request who it is about. Never throws: a request that cannot be read simply names nobody. */
import { createContainer, runPodSandbox } from "../wire/cri-fields.ts";
import { text } from "../wire/fields.ts";
import type { Subject } from "./call-record.ts";

/** The methods whose requests are worth holding for the record alone: those that name a pod or a container. */
export const namedMethods: ReadonlySet<string> = new Set(["RunPodSandbox", "CreateContainer"]);

function readSubject(method: string, message: Uint8Array): Subject {
  if (method === "RunPodSandbox") {
    return {
      namespace: text(message, runPodSandbox.podNamespace),
      pod: text(message, runPodSandbox.podName),
      podUid: text(message, runPodSandbox.podUid),
    };
  }
  return {
    namespace: text(message, createContainer.podNamespace),
    pod: text(message, createContainer.podName),
    podUid: text(message, createContainer.podUid),
    container: text(message, createContainer.containerName),
    // The request's image is an id by now; what the user wrote stands beside it since Kubernetes 1.28.
    image: text(message, createContainer.userSpecifiedImage) || text(message, createContainer.image),
    sandboxId: text(message, createContainer.podSandboxId),
  };
}

export function subjectOf(method: string, message: Uint8Array): Subject {
  if (!namedMethods.has(method)) return {};
  try {
    return readSubject(method, message);
  } catch {
    return {};
  }
}
