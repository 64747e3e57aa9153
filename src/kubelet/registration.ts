/**
 * Tells the kubelet that there is a CSI driver: a socket in its `plugins_registry` on which it asks who we are and
 * says what came of it. Works with kubelets from 1.29 on; older ones send an authority that Node's HTTP/2 resets, and
 * need the registrar sidecar. Knows the driver by name and endpoint only.
 */
import { join } from "node:path";
import type { ServeGrpc } from "../host/grpc.ts";
import type { Log } from "../observe/log.ts";

/** The CSI versions that the kubelet may speak to us: it knows 1.x only. */
const supportedVersions = ["1.0.0"];

/** Which driver to register, and where. */
export interface RegistrationOptions {
  /** The kubelet's directory. */
  readonly kubeletRoot: string;
  readonly driverName: string;
  /** The driver's socket as a path of the host, where the kubelet will dial it. Must accept already. */
  readonly endpoint: string;
  readonly serve: ServeGrpc;
  readonly log: Log;
}

/** A registration that is being served. */
export interface Registration {
  readonly path: string;
  /** What the kubelet said last; undefined before it said anything. */
  registered(): boolean | undefined;
  /** Takes the socket away, which is how the kubelet learns that the driver is gone. */
  stop(options: { readonly timeoutMs: number }): Promise<void>;
}

interface RegistrationStatus {
  readonly plugin_registered: boolean;
  readonly error: string;
}

/**
 * Serves until `stop`. The socket is a new one each time, since the kubelet backs off for minutes from a stale one;
 * `conflict` if another process registers the same driver.
 */
export async function registerWithKubelet(options: RegistrationOptions): Promise<Registration> {
  const { driverName: name, endpoint, log } = options;
  let registered: boolean | undefined;
  const server = await options.serve({
    api: "pluginregistration",
    path: join(options.kubeletRoot, "plugins_registry", `${name}-reg.sock`),
    handlers: {
      Registration: {
        GetInfo: async () => ({ type: "CSIPlugin", name, endpoint, supported_versions: supportedVersions }),
        NotifyRegistrationStatus: async (request) => {
          const { plugin_registered, error } = request as RegistrationStatus;
          registered = plugin_registered;
          // A refusal is not the end: the kubelet asks again by itself, and we answer.
          if (registered) log.info("registered with the kubelet", { driver: name, endpoint });
          else log.error("not registered with the kubelet: it will try again", { driver: name, error });
          return {};
        },
      },
    },
    statusOf: () => ({ code: "INTERNAL", message: "internal error of the driver: its log has the details" }),
  });
  return { path: server.path, registered: () => registered, stop: server.stop };
}
