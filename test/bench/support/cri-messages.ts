/** What the benchmark of the CRI proxy sends and is answered: messages of CRI v1, in the sizes that nodes have. */
import { encodeMessage } from "../../../src/cri/wire/value.ts";

export interface Call {
  readonly method: string;
  readonly message: Buffer;
}

/** With gRPC's prefix. */
export function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The length of the request of a CreateContainer, prefix included: `4 KiB` in the tables. */
export const CREATE_BYTES = 4_096;
const LISTED = 330;
/** What one of them takes in the list of a runtime on a full node. */
const LISTED_BYTES = 518;
const POD_NOTES = 10;

const encode = (name: string, value: object): Buffer => Buffer.from(encodeMessage(name, value, ""));

export const idOf = (kind: string, number: number): string =>
  `${kind}${String(number).padStart(64 - kind.length, "0")}`;

const podOf = (number: number, namespace: string) => ({
  metadata: { name: `web-${number}`, uid: `uid-${number}`, namespace },
  // With certificates of its own: the mount of the one example is what another one forbids.
  labels: { app: "web", release: `web-${number}`, "example.org/own-certificates": "true" },
  annotations: Object.fromEntries(
    Array.from({ length: POD_NOTES }, (_, index) => [`note-${index}`, "x".repeat(100)]),
  ),
});

const listed = (number: number, padding: string) => ({
  id: idOf("c", number),
  pod_sandbox_id: idOf("s", number),
  metadata: { name: "main" },
  image: { image: `sha256:${"a".repeat(64)}` },
  image_ref: `sha256:${"a".repeat(64)}`,
  labels: { "io.kubernetes.pod.name": `web-${number}`, "io.kubernetes.pod.namespace": "web" },
  annotations: { padding },
});

/** The answer to ListContainers: some 171 KB. */
export function containerList(): Buffer {
  const containers = Array.from({ length: LISTED }, (_, number) => {
    const bare = encode("Container", listed(number, "")).length;
    return listed(number, "x".repeat(LISTED_BYTES - bare));
  });
  return encode("ListContainersResponse", { containers });
}

/** A container that the example policies let pass; which of them change it depends on the namespace. */
export function createContainer(number: number, namespace: string): Buffer {
  const request = (padding: string) => ({
    pod_sandbox_id: idOf("s", number),
    config: {
      metadata: { name: "main" },
      image: { image: `sha256:${"a".repeat(64)}`, user_specified_image: "registry.example.org/web:1" },
      args: ["serve", "--port=8080"],
      envs: Array.from({ length: 30 }, (_, index) => ({ key: `SERVICE_${index}`, value: "tcp://10.0.0.1" })),
      mounts: Array.from({ length: 6 }, (_, index) => ({
        container_path: `/data${index}`,
        host_path: `/var/lib/kubelet/pods/uid-${number}/volumes/${index}`,
      })),
      annotations: { padding },
      linux: {
        resources: { memory_limit_in_bytes: 268_435_456, cpu_quota: 100_000 },
        security_context: { run_as_user: { value: 1_000 }, readonly_rootfs: true },
      },
    },
    sandbox_config: podOf(number, namespace),
  });
  const bare = encode("CreateContainerRequest", request("")).length;
  // The lengths before the padding grow with it: by one octet each, for its own field and the three around it.
  const padding = Math.max(0, CREATE_BYTES - bare - 5 - 4);
  return encode("CreateContainerRequest", request("x".repeat(padding)));
}

const one = (method: string, request: string, value: object): Call => ({
  method,
  message: encode(request, value),
});

export const version = one("Version", "VersionRequest", {});
export const list = one("ListContainers", "ListContainersRequest", {});
export const containerStatus = one("ContainerStatus", "ContainerStatusRequest", {
  container_id: idOf("c", 0),
});
export const runPodSandbox = (number: number): Call =>
  one("RunPodSandbox", "RunPodSandboxRequest", { config: podOf(number, "web") });

/** The n-th of the calls of a busy node: mostly polls, and now and then a pod comes and another one goes. */
export function callOfDay(n: number): Call {
  const pod = Math.floor(n / 100);
  const gone = Math.max(0, pod - 200);
  switch (n % 100) {
    case 0:
      return runPodSandbox(pod);
    case 1:
      return { method: "CreateContainer", message: createContainer(pod, "web") };
    case 2:
      return one("StartContainer", "StartContainerRequest", { container_id: idOf("c", pod) });
    case 3:
      return one("StopContainer", "StopContainerRequest", { container_id: idOf("c", gone) });
    case 4:
      return one("RemovePodSandbox", "RemovePodSandboxRequest", { pod_sandbox_id: idOf("s", gone) });
    default:
      return poll(n, pod);
  }
}

function poll(n: number, pod: number): Call {
  if (n % 10 === 5) return list;
  const recent = (of: number) => ({ container_id: idOf("c", Math.max(0, pod - (n % of))) });
  return n % 10 < 3
    ? one("ExecSync", "ExecSyncRequest", { ...recent(50), cmd: ["/bin/healthy"] })
    : one("ContainerStatus", "ContainerStatusRequest", recent(300));
}
