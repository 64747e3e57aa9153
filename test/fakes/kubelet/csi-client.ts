/**
 * CSI as the kubelet and external-provisioner call it: a new connection for every call, with 2 minutes for the
 * kubelet's node calls and 15 seconds for the provisioner's.
 */
import { serviceOf } from "../containerd/apis.ts";
import { connectGrpc } from "./grpc-client.ts";

/** The kubelet's limit for one CSI call. */
export const NODE_TIMEOUT_MS = 120_000;
/** external-provisioner's default `--timeout`. */
export const PROVISIONER_TIMEOUT_MS = 15_000;

export interface CsiVolume {
  readonly volume_id: string;
  /** Bytes; `0` when the driver does not say. */
  readonly capacity_bytes: string;
  readonly volume_context: Readonly<Record<string, string>>;
  readonly accessible_topology: readonly { readonly segments: Readonly<Record<string, string>> }[];
}

/** The answers of the methods that the fakes read. */
export interface CsiResponses {
  readonly GetPluginInfo: { readonly name: string; readonly vendor_version: string };
  readonly CreateVolume: { readonly volume: CsiVolume | null };
  readonly NodeGetInfo: {
    readonly node_id: string;
    readonly max_volumes_per_node: string;
    readonly accessible_topology: { readonly segments: Readonly<Record<string, string>> } | null;
  };
  readonly NodeGetCapabilities: {
    readonly capabilities: readonly { readonly rpc: { readonly type: string } | null }[];
  };
}

type Response<Method extends string> = Method extends keyof CsiResponses
  ? CsiResponses[Method]
  : Readonly<Record<string, unknown>>;

export interface CsiClient {
  readonly path: string;
  /** Dials, calls, hangs up. The time-out follows from the method's caller unless given. */
  call<Method extends string>(
    method: Method,
    request?: object,
    timeoutMs?: number,
  ): Promise<Response<Method>>;
}

/** A client of the driver at `path`; nothing is connected until a call is made. */
export function createCsiClient(path: string): CsiClient {
  const controller = serviceOf("csi", "Controller");
  const services = [serviceOf("csi", "Identity"), controller, serviceOf("csi", "Node")];
  const defaultTimeoutMs = (method: string) =>
    method in controller.service ? PROVISIONER_TIMEOUT_MS : NODE_TIMEOUT_MS;
  return {
    path,
    async call(method, request = {}, timeoutMs = defaultTimeoutMs(method)) {
      const client = connectGrpc(services, { path, authority: "localhost" });
      try {
        return await client.unary(method, request, { timeoutMs });
      } finally {
        client.close();
      }
    },
  };
}
