/**
 * RestorePod (CRI after v0.37) makes a sandbox and its containers from a checkpoint, past RunPodSandbox and CreateContainer.
 * Its request carries the configurations of all of them, so that each can be judged as if it came by its own call.
 */
import { bytesField } from "../wire/encode.ts";
import { eachValue, MessageReader } from "../wire/fields.ts";

/** RestorePodRequest: path = 1, config = 2 (PodSandboxConfig), options = 4, container_configs = 5. */
const restorePod = { config: 2, containers: 5 } as const;
const runPodSandbox = { config: 1 } as const;
const createContainer = { config: 2, sandboxConfig: 3 } as const;

export interface RestoredCall {
  readonly method: "RunPodSandbox" | "CreateContainer";
  readonly message: Uint8Array;
}

/** The calls that would make the same. None for a request that does not say what it restores. */
export function restoredCalls(message: Uint8Array): RestoredCall[] {
  const config = new MessageReader(message).submessage([restorePod.config]);
  if (!config) return [];
  const calls: RestoredCall[] = [
    { method: "RunPodSandbox", message: bytesField(runPodSandbox.config, config) },
  ];
  eachValue(message, restorePod.containers, (start, end) => {
    const container = bytesField(createContainer.config, message.subarray(start, end));
    const sandbox = bytesField(createContainer.sandboxConfig, config);
    calls.push({ method: "CreateContainer", message: Buffer.concat([container, sandbox]) });
  });
  return calls;
}
