/** Sorts the methods of CRI by what a record of them is good for. A method that we do not know is `other`. */

export const methodClasses = ["change", "exec", "image", "probe", "status", "poll", "other"] as const;

/**
 * `change`: makes, changes or removes a pod or a container, or tells of that. `exec`: somebody enters one. `image`: images
 * come and go. `probe`: commands that the kubelet runs in containers. `status`: questions about one object. `poll`: lists
 * and statistics, asked again and again. `other`: all that we do not know.
 */
export type MethodClass = (typeof methodClasses)[number];

const methods: Readonly<Record<Exclude<MethodClass, "other">, readonly string[]>> = {
  change: [
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "UpdateContainerResources",
    "UpdatePodSandboxResources",
    "UpdateRuntimeConfig",
    "ReopenContainerLog",
    "CheckpointContainer",
    "CheckpointPod",
    "RestorePod",
    "GetContainerEvents",
  ],
  exec: ["Exec", "Attach", "PortForward"],
  image: ["PullImage", "RemoveImage"],
  probe: ["ExecSync"],
  status: [
    "Version",
    "Status",
    "RuntimeConfig",
    "PodSandboxStatus",
    "ContainerStatus",
    "ImageStatus",
    "ContainerStats",
    "PodSandboxStats",
  ],
  poll: [
    "ListPodSandbox",
    "ListContainers",
    "ListImages",
    "ListContainerStats",
    "ListPodSandboxStats",
    "ListMetricDescriptors",
    "ListPodSandboxMetrics",
    "StreamPodSandboxes",
    "StreamContainers",
    "StreamImages",
    "StreamContainerStats",
    "StreamPodSandboxStats",
    "StreamPodSandboxMetrics",
    "ImageFsInfo",
  ],
};

const classByMethod: ReadonlyMap<string, MethodClass> = new Map(
  Object.entries(methods).flatMap(([name, list]) =>
    list.map((method): [string, MethodClass] => [method, name as MethodClass]),
  ),
);

/** Of a method of `runtime.v1` by its name, and of anything else by its path. */
export function methodClass(method: string): MethodClass {
  return classByMethod.get(method) ?? "other";
}
