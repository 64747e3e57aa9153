/** What adopting a directory comes to: its name, its id, and whether it may be taken at all. Pure. */
import { posix } from "node:path";
import type { MountInfo } from "../../host/mount.ts";
import { isWithin } from "../node/mount-state.ts";
import { invalid, refusal } from "../refusal.ts";

/** What is asked for. */
export interface AdoptRequest {
  /** The directory whose content becomes a volume. */
  readonly path: string;
  /** Absent: `default`, or the only one. */
  readonly pool?: string;
  /** Absent: what it holds, rounded up to a mebibyte. */
  readonly sizeBytes?: number;
  /** Of the PersistentVolume. Absent: made from the directory's name. */
  readonly name?: string;
  readonly claim?: { readonly namespace: string; readonly name: string };
  /** Whether the content may be copied, where it cannot be renamed; the directory then stays as it was. */
  readonly copy?: boolean;
}

/** What the caller writes a PersistentVolume of. */
export interface AdoptedVolume {
  readonly id: string;
  readonly name: string;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly claim?: { readonly namespace: string; readonly name: string };
  readonly topology: Readonly<Record<string, string>>;
  /** `already`: it had been adopted before, and nothing was changed. */
  readonly outcome: "renamed" | "copied" | "already";
}

const namePattern = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const labelPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** What local-path-provisioner calls its directories: the PersistentVolume, the namespace and the claim. */
const localPathPattern = /^(pvc-[0-9a-f-]{36})_([a-z0-9-]{1,63})_([a-z0-9.-]{1,253})$/;
/** Of the host itself: nothing in them is a volume. */
const systemDirectories = [
  ...["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"],
  ...["/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet/pods"],
];

/** The request with everything that follows from the directory's name. Throws `invalid`, naming the field. */
export function completeRequest(request: AdoptRequest): AdoptRequest & { readonly name: string } {
  const path = posix.normalize(request.path).replace(/(.)\/$/, "$1");
  if (!posix.isAbsolute(request.path) || path.includes("\0") || path.split("/").length < 3) {
    throw invalid(
      "PATH",
      `is "${request.path}": give the absolute path of a directory that is not a top directory`,
    );
  }
  const system = systemDirectories.find((directory) => isWithin(path, directory));
  if (system)
    throw invalid("PATH", `is "${request.path}", which is part of ${system}: that belongs to the host`);
  const [, , namespace, claimName] = localPathPattern.exec(posix.basename(path)) ?? [];
  const claim = request.claim ?? (namespace && claimName ? { namespace, name: claimName } : undefined);
  if (claim && !(labelPattern.test(claim.namespace) && namePattern.test(claim.name))) {
    throw invalid("--claim", `is "${claim.namespace}/${claim.name}": give NAMESPACE/NAME of the claim`);
  }
  const name = request.name ?? nameFrom(posix.basename(path));
  if (!namePattern.test(name)) {
    throw invalid(
      "--name",
      `is "${name}": give a name as Kubernetes takes it, of lower-case letters, digits, dots and dashes`,
    );
  }
  const { sizeBytes } = request;
  if (sizeBytes !== undefined && (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0)) {
    throw invalid("--size", `is ${sizeBytes}: give a size such as 10Gi`);
  }
  return { ...request, path, name, ...(claim ? { claim } : {}) };
}

function nameFrom(directory: string): string {
  const plain = directory
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, "-")
    .replace(/^[.-]+|[.-]+$/g, "");
  return `adopted-${plain}`.slice(0, 253).replace(/[.-]+$/, "");
}

/** The name that stands for the request: the same directory always becomes the same volume. */
export function originOf(path: string): string {
  return `adopt:${path}`;
}

/** Refuses a directory in which, or at which, something is mounted. */
export function requireNoMounts(table: readonly MountInfo[], path: string): void {
  const inside = table.find(({ mountPoint }) => isWithin(mountPoint, path));
  if (!inside) return;
  const where =
    inside.mountPoint === path ? "is a mount point itself" : `has a mount in it, at ${inside.mountPoint}`;
  throw refusal(
    "precondition",
    path,
    `${path} ${where}: only plain directories can be adopted; unmount it first`,
  );
}

/** Refuses what is part of a pool, or has one in it. */
export function requireOutside(roots: readonly string[], path: string): void {
  const root = roots.find((candidate) => isWithin(path, candidate) || isWithin(candidate, path));
  if (root === undefined) return;
  throw refusal(
    "precondition",
    path,
    `${path} and the pool at ${root} lie in one another: only what is outside of pools can be adopted`,
  );
}
