/**
 * Where the API server is and how to prove who we are: from the service account of a pod, or from a kubeconfig. Files are
 * read again for each request, since tokens and certificates are replaced while we run. Sends nothing.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { Files } from "../host/files.ts";

/** What one request needs beyond its path. Certificates and keys are PEM. */
export interface Credentials {
  /** Undefined: those that the system trusts. */
  readonly ca?: string | undefined;
  readonly token?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** A cluster that can be asked. */
export interface ClusterAccess {
  /** `https://10.96.0.1:443`, without a slash at its end; `http` only if a kubeconfig says so. */
  readonly server: string;
  /** The name in the server's certificate, where it is another than that of the URL. */
  readonly serverName?: string | undefined;
  /** Whether the server's certificate is believed unseen, as a kubeconfig may ask for. */
  readonly insecure?: boolean;
  /** As they are now. Throws what reading the files throws. */
  credentials(): Promise<Credentials>;
}

/** Where the kubelet mounts the service account. */
export const serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether this process is a container of a pod that was given the API server's address. */
export function isInCluster(env: Environment): boolean {
  return Boolean(env.KUBERNETES_SERVICE_HOST && env.KUBERNETES_SERVICE_PORT);
}

/** The access of a pod's service account. Throws kind `precondition` outside of a cluster. */
export function inClusterAccess(
  files: Pick<Files, "read">,
  env: Environment,
  directory: string = serviceAccountDirectory,
): ClusterAccess {
  const { KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "" } = env;
  if (!isInCluster(env)) {
    throw new TrivetError({
      kind: "precondition",
      op: "kube.access",
      subject: "KUBERNETES_SERVICE_HOST",
      message:
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; give a kubeconfig instead",
    });
  }
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async credentials() {
      const [ca, token] = await Promise.all([
        files.read(join(directory, "ca.crt")),
        files.read(join(directory, "token")),
      ]);
      return { ca: ca.toString("utf8"), token: token.toString("utf8").trim() };
    },
  };
}
