/**
 * The field numbers of CRI v1 that the proxy reads or writes, and nothing else of that API. `cri-fields.test.ts`
 * compares them with proto/runtime/v1/api.proto.
 */

/** Paths of field numbers in `RunPodSandboxRequest`. */
export const runPodSandbox = {
  podName: [1, 1, 1],
  podUid: [1, 1, 2],
  podNamespace: [1, 1, 3],
  labels: [1, 6],
  annotations: [1, 7],
} as const;

/** Paths of field numbers in `CreateContainerRequest`, which repeats the sandbox's configuration as field 3. */
export const createContainer = {
  podSandboxId: [1],
  containerName: [2, 1, 1],
  image: [2, 2, 1],
  userSpecifiedImage: [2, 2, 18],
  envs: [2, 6],
  labels: [2, 9],
  annotations: [2, 10],
  podName: [3, 1, 1],
  podUid: [3, 1, 2],
  podNamespace: [3, 1, 3],
  sandboxLabels: [3, 6],
  sandboxAnnotations: [3, 7],
} as const;
