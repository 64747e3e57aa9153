/** The CRI configurations of a pod as the kubelet writes them: names, labels, annotations, log paths. Pure. */
import { join } from "node:path";
import type { MountedVolume } from "./volumes.ts";

export interface PodVolume {
  /** The PersistentVolume's name. */
  readonly name: string;
  readonly driver: string;
  readonly volumeId: string;
  readonly volumeContext?: Readonly<Record<string, string>>;
  readonly readonly?: boolean;
}

export interface PodContainer {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Volume name -> path in the container. */
  readonly volumeMounts?: Readonly<Record<string, string>>;
  /** Paths of the host -> paths in the container, read-only. */
  readonly hostMounts?: Readonly<Record<string, string>>;
}

export interface PodSpec {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
  readonly runtimeHandler?: string;
  /** The attempt of the sandbox, counted by the kubelet. */
  readonly attempt?: number;
  readonly cgroupParent?: string;
  readonly portMappings?: readonly { readonly containerPort: number; readonly hostPort: number }[];
  readonly volumes?: readonly PodVolume[];
  readonly containers: readonly PodContainer[];
}

/** `<root>/<namespace>_<name>_<uid>`, with a directory for each container in it. */
export function podLogDirectory({ namespace, name, uid }: PodSpec, logRoot: string): string {
  return join(logRoot, `${namespace}_${name}_${uid}`);
}

export function sandboxConfig(spec: PodSpec, logRoot: string) {
  return {
    metadata: { name: spec.name, uid: spec.uid, namespace: spec.namespace, attempt: spec.attempt ?? 0 },
    hostname: spec.hostNetwork ? "" : spec.name,
    log_directory: podLogDirectory(spec, logRoot),
    dns_config: { servers: [], searches: [], options: [] },
    port_mappings: (spec.portMappings ?? []).map(({ containerPort, hostPort }) => ({
      protocol: "TCP",
      container_port: containerPort,
      host_port: hostPort,
    })),
    labels: { ...spec.labels, ...podLabels(spec) },
    annotations: { ...spec.annotations, "kubernetes.io/config.source": "api" },
    linux: {
      cgroup_parent: spec.cgroupParent ?? "",
      security_context: {
        namespace_options: {
          network: spec.hostNetwork ? "NODE" : "POD",
          pid: "CONTAINER",
          ipc: "POD",
        },
      },
    },
  };
}

function podLabels({ name, namespace, uid }: PodSpec) {
  return {
    "io.kubernetes.pod.name": name,
    "io.kubernetes.pod.namespace": namespace,
    "io.kubernetes.pod.uid": uid,
  };
}

export interface ContainerFacts {
  /** What ImageStatus or PullImage answered: the kubelet creates by id. */
  readonly imageId: string;
  readonly volumes: readonly MountedVolume[];
}

export function containerConfig(
  spec: PodSpec,
  container: PodContainer,
  { imageId, volumes }: ContainerFacts,
) {
  return {
    metadata: { name: container.name, attempt: 0 },
    image: { image: imageId, user_specified_image: container.image },
    command: container.command ?? [],
    args: container.args ?? [],
    envs: Object.entries(container.env ?? {}).map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: [...volumeMounts(container, volumes), ...hostMounts(container)],
    labels: { ...podLabels(spec), "io.kubernetes.container.name": container.name },
    annotations: {
      "io.kubernetes.container.restartCount": "0",
      "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
      "io.kubernetes.pod.terminationGracePeriod": "30",
    },
    log_path: join(container.name, "0.log"),
    linux: { resources: { cpu_shares: "2", oom_score_adj: "1000" }, security_context: {} },
  };
}

function volumeMounts(container: PodContainer, volumes: readonly MountedVolume[]) {
  return Object.entries(container.volumeMounts ?? {}).map(([name, containerPath]) => {
    const volume = volumes.find((candidate) => candidate.name === name);
    if (!volume) throw new Error(`container ${container.name} mounts a volume ${name} that the pod lacks`);
    return {
      container_path: containerPath,
      host_path: volume.targetPath,
      readonly: volume.readonly ?? false,
      propagation: "PROPAGATION_PRIVATE",
    };
  });
}

function hostMounts(container: PodContainer) {
  return Object.entries(container.hostMounts ?? {}).map(([hostPath, containerPath]) => ({
    container_path: containerPath,
    host_path: hostPath,
    readonly: true,
    propagation: "PROPAGATION_PRIVATE",
  }));
}
