/** The kubelet's CRI client: one connection for both services, its receive limit and its deadline for each method. */
import { serviceOf } from "../containerd/apis.ts";
import type { ContainerStatus, Image, PodSandboxStatus } from "../containerd/messages.ts";
import { deadlineMs, RUNTIME_REQUEST_TIMEOUT_MS } from "./deadlines.ts";
import { type Authority, type CallSettings, connectGrpc } from "./grpc-client.ts";

export const MAX_RECEIVE_BYTES = 16 << 20;

export interface CriClientOptions {
  readonly path: string;
  readonly authority?: Authority;
  /** The kubelet's `runtimeRequestTimeout`. */
  readonly runtimeRequestTimeoutMs?: number;
}

/** The answers of the methods that the fakes read. */
export interface CriResponses {
  readonly Version: {
    readonly version: string;
    readonly runtime_name: string;
    readonly runtime_version: string;
  };
  readonly Status: {
    readonly status: {
      readonly conditions: readonly {
        readonly type: string;
        readonly status: boolean;
        readonly reason: string;
        readonly message: string;
      }[];
    } | null;
  };
  readonly RunPodSandbox: { readonly pod_sandbox_id: string };
  readonly PodSandboxStatus: { readonly status: PodSandboxStatus };
  readonly ListPodSandbox: { readonly items: readonly { readonly id: string; readonly state: string }[] };
  readonly CreateContainer: { readonly container_id: string };
  readonly ContainerStatus: { readonly status: ContainerStatus };
  readonly ListContainers: {
    readonly containers: readonly {
      readonly id: string;
      readonly pod_sandbox_id: string;
      readonly state: string;
    }[];
  };
  readonly ExecSync: { readonly stdout: Buffer; readonly stderr: Buffer; readonly exit_code: number };
  readonly ImageStatus: { readonly image: Image | null };
  readonly PullImage: { readonly image_ref: string };
  readonly ListImages: { readonly images: readonly Image[] };
}

type Response<Method extends string> = Method extends keyof CriResponses
  ? CriResponses[Method]
  : Readonly<Record<string, unknown>>;

export interface CriClient {
  readonly path: string;
  call<Method extends string>(
    method: Method,
    request?: object,
    settings?: Partial<CallSettings>,
  ): Promise<Response<Method>>;
  stream(
    method: string,
    request?: object,
    settings?: Partial<CallSettings>,
  ): AsyncIterable<Readonly<Record<string, unknown>>>;
  close(): void;
}

/** Connects on the first call; a missing socket is that call's UNAVAILABLE, as the kubelet sees it. */
export function connectCri(options: CriClientOptions): CriClient {
  const { path, runtimeRequestTimeoutMs = RUNTIME_REQUEST_TIMEOUT_MS } = options;
  const services = [serviceOf("runtime", "RuntimeService"), serviceOf("runtime", "ImageService")];
  const client = connectGrpc(services, {
    ...options,
    maxReceiveBytes: MAX_RECEIVE_BYTES,
  });
  const settle = (method: string, request: object, settings: Partial<CallSettings>): CallSettings => ({
    timeoutMs: deadlineMs(method, request, runtimeRequestTimeoutMs),
    ...settings,
  });
  return {
    path,
    call: (method, request = {}, settings = {}) =>
      client.unary(method, request, settle(method, request, settings)),
    stream: (method, request = {}, settings = {}) =>
      client.stream(method, request, settle(method, request, settings)),
    close: client.close,
  };
}
