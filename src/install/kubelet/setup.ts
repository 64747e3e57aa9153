/** What a look at the node tells of its kubelet, and the words for it that the other files of this directory share. */
import { TrivetError } from "../../errors.ts";
import { parseUnixAddress } from "../../host/unix-socket.ts";
import type { NodeProcess } from "./facts.ts";

export type Distribution = "kubelet" | "kubeadm" | "k3s" | "rke2" | "microk8s";

/** One setting of the two that name a socket: where it is written, and what it says. */
export interface Endpoint {
  readonly place: Place;
  /** The path of the socket. */
  readonly path: string;
}

/** Where a setting is written, or is to be written. */
export type Place =
  /** A flag in a file of `KEY=value` lines, in the variable `name`. */
  | { readonly kind: "environment-file"; readonly path: string; readonly name: string; readonly flag: string }
  /** A flag in the unit's own command line, or in a variable that the unit sets: overridden by a drop-in of the unit. */
  | { readonly kind: "unit"; readonly unit: string; readonly flag: string }
  /** A field of the file of `--config`. */
  | { readonly kind: "configuration"; readonly path: string }
  /** A file of our own in the directory of `--config-dir`. */
  | { readonly kind: "configuration-directory"; readonly path: string }
  /** A file of our own in k3s's or rke2's `config.yaml.d`. */
  | { readonly kind: "k3s-configuration"; readonly path: string }
  /** A file of flags, a line each. */
  | { readonly kind: "arguments-file"; readonly path: string; readonly flag: string };

export interface KubeletSetup {
  readonly distribution: Distribution;
  readonly process: NodeProcess;
  /** The service to restart. */
  readonly service: string;
  readonly runtime: Endpoint;
  /** Only if it is set by itself; the kubelet uses the runtime's otherwise. */
  readonly image: Endpoint | undefined;
  /** Undefined where the kubelet serves none. */
  readonly healthUrl: string | undefined;
  /** What whoever decides must know, a sentence each. */
  readonly notes: readonly string[];
}

export const runtimeFlag = "container-runtime-endpoint";
export const imageFlag = "image-service-endpoint";
/** What kubelets since 1.24 use if nobody says anything. */
export const defaultRuntimePath = "/run/containerd/containerd.sock";
export const defaultHealthPort = 10_248;

/** The path of an endpoint as kubelets take it: `unix:///run/x.sock` or a bare path. */
export function endpointPath(value: string, where: string): string {
  const path = parseUnixAddress(value);
  if (path !== undefined) return path;
  throw refusal(
    where,
    `the endpoint "${value}" in ${where} is no Unix socket: write it as unix:///PATH first`,
  );
}

/** The kubelet's health check, by its address and port; undefined for port 0, which turns it off. */
export function healthUrlOf(address: string | undefined, port: number | undefined): string | undefined {
  const chosen = port ?? defaultHealthPort;
  if (chosen === 0) return undefined;
  const everywhere: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  const host = everywhere[address ?? ""] ?? address ?? "127.0.0.1";
  return `http://${host.includes(":") ? `[${host}]` : host}:${chosen}/healthz`;
}

/** How a node is refused: nothing was changed, and this is what to do. */
export function refusal(subject: string, message: string): TrivetError {
  return new TrivetError({ kind: "precondition", op: "kubelet.detect", subject, message });
}
