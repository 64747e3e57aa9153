/**
 * The CRI messages as TypeScript shapes, as far as the fakes read them. Field names are the wire's; 64-bit numbers
 * are strings, enums are names and bytes are Buffers, as `loadServices` gives them. Everything else in a message is
 * kept but not typed.
 */

/** A message as it goes to the wire: absent fields take their defaults. */
export type Message = object;

export interface PodSandboxMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
}

export interface NamespaceOptions {
  /** `POD`, `CONTAINER`, `NODE` or `TARGET`. */
  readonly network: string;
  readonly pid: string;
  readonly ipc: string;
}

export interface PodSandboxConfig {
  readonly metadata: PodSandboxMetadata | null;
  readonly hostname: string;
  readonly log_directory: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly port_mappings: readonly {
    readonly protocol: string;
    readonly container_port: number;
    readonly host_port: number;
    readonly host_ip: string;
  }[];
  readonly linux: {
    readonly cgroup_parent: string;
    readonly security_context: { readonly namespace_options: NamespaceOptions | null } | null;
  } | null;
}

export interface ImageSpec {
  readonly image: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly user_specified_image: string;
}

export interface Mount {
  readonly container_path: string;
  readonly host_path: string;
  readonly readonly: boolean;
  readonly propagation: string;
}

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number } | null;
  readonly image: ImageSpec | null;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly working_dir: string;
  readonly envs: readonly { readonly key: string; readonly value: Buffer }[];
  readonly mounts: readonly Mount[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly log_path: string;
  readonly linux: { readonly resources: object | null } | null;
}

export type SandboxState = "SANDBOX_READY" | "SANDBOX_NOTREADY";
export type ContainerState =
  | "CONTAINER_CREATED"
  | "CONTAINER_RUNNING"
  | "CONTAINER_EXITED"
  | "CONTAINER_UNKNOWN";

export interface PodSandboxStatus {
  readonly id: string;
  readonly metadata: PodSandboxMetadata | null;
  readonly state: SandboxState;
  /** Nanoseconds since the epoch. */
  readonly created_at: string;
  readonly network: {
    readonly ip: string;
    readonly additional_ips: readonly { readonly ip: string }[];
  } | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly runtime_handler: string;
}

export interface ContainerStatus {
  readonly id: string;
  readonly metadata: { readonly name: string; readonly attempt: number } | null;
  readonly state: ContainerState;
  /** Nanoseconds since the epoch, `0` for what has not happened yet. */
  readonly created_at: string;
  readonly started_at: string;
  readonly finished_at: string;
  readonly exit_code: number;
  readonly image: ImageSpec | null;
  readonly image_ref: string;
  readonly image_id: string;
  readonly reason: string;
  readonly message: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  readonly log_path: string;
}

export interface Image {
  readonly id: string;
  readonly repo_tags: readonly string[];
  readonly repo_digests: readonly string[];
  /** Bytes. */
  readonly size: string;
  readonly pinned: boolean;
}
