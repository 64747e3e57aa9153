/**
 * The methods of the CRI by name, and the groups that a listener's allow-list may name. A table of names and nothing else,
 * so that the settings can be checked without the descriptors; a test compares it with the .proto file.
 */

export const runtimeMethods = [
  "Version",
  "RunPodSandbox",
  "StopPodSandbox",
  "RemovePodSandbox",
  "PodSandboxStatus",
  "ListPodSandbox",
  "StreamPodSandboxes",
  "CreateContainer",
  "StartContainer",
  "StopContainer",
  "RemoveContainer",
  "ListContainers",
  "StreamContainers",
  "ContainerStatus",
  "UpdateContainerResources",
  "ReopenContainerLog",
  "ExecSync",
  "Exec",
  "Attach",
  "PortForward",
  "ContainerStats",
  "ListContainerStats",
  "StreamContainerStats",
  "PodSandboxStats",
  "ListPodSandboxStats",
  "StreamPodSandboxStats",
  "UpdateRuntimeConfig",
  "Status",
  "CheckpointContainer",
  "GetContainerEvents",
  "ListMetricDescriptors",
  "ListPodSandboxMetrics",
  "StreamPodSandboxMetrics",
  "RuntimeConfig",
  "UpdatePodSandboxResources",
] as const;

export const imageMethods = [
  "ListImages",
  "StreamImages",
  "ImageStatus",
  "PullImage",
  "RemoveImage",
  "ImageFsInfo",
] as const;

const stats = [
  "ContainerStats",
  "ListContainerStats",
  "StreamContainerStats",
  "PodSandboxStats",
  "ListPodSandboxStats",
  "StreamPodSandboxStats",
  "ListMetricDescriptors",
  "ListPodSandboxMetrics",
  "StreamPodSandboxMetrics",
  "ImageFsInfo",
] as const;

/**
 * What a list may name beside methods. `read-only` is all that shows and changes nothing, but for GetContainerEvents: some
 * runtimes give each event to one subscriber only, so that a second one would take events from the kubelet. Who has such a
 * runtime not may name that method beside the group.
 */
export const methodGroups = {
  "read-only": [
    "Version",
    "Status",
    "RuntimeConfig",
    "ListPodSandbox",
    "StreamPodSandboxes",
    "PodSandboxStatus",
    "ListContainers",
    "StreamContainers",
    "ContainerStatus",
    "ListImages",
    "StreamImages",
    "ImageStatus",
    ...stats,
  ],
  stats: ["Version", ...stats],
  all: [...runtimeMethods, ...imageMethods],
} as const satisfies Readonly<Record<string, readonly MethodName[]>>;

/** A method of one of the two services. */
export type MethodName = (typeof runtimeMethods)[number] | (typeof imageMethods)[number];

const paths: ReadonlyMap<string, string> = new Map([
  ...runtimeMethods.map((name) => [name, `/runtime.v1.RuntimeService/${name}`] as const),
  ...imageMethods.map((name) => [name, `/runtime.v1.ImageService/${name}`] as const),
]);

/** Every word that an allow-list may hold, besides full paths. */
export const allowedWords: readonly string[] = [...Object.keys(methodGroups), ...paths.keys()];

/** A path as it stands in `:path`, for a method that this version does not know by name: `/package.Service/Method`. */
const FULL_PATH = /^\/[\w.]+\/\w+$/;

/** Whether an allow-list may hold `word`. */
export function isAllowedWord(word: string): boolean {
  return Object.hasOwn(methodGroups, word) || paths.has(word) || FULL_PATH.test(word);
}

/** An allow-list as the `:path` of each method. Words that may not stand in it are left out: the settings refuse them. */
export function allowedPaths(words: readonly string[]): ReadonlySet<string> {
  const groups: Readonly<Record<string, readonly string[]>> = methodGroups;
  const names = words.flatMap((word) => (Object.hasOwn(groups, word) ? (groups[word] ?? []) : [word]));
  return new Set(names.map((name) => paths.get(name) ?? name).filter((path) => FULL_PATH.test(path)));
}
