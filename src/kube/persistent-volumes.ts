/** PersistentVolumes of one CSI driver as the few facts that are compared with a disk. From the API server, or from a list in a file. */
import { TrivetError } from "../errors.ts";
import type { ApiClient } from "./api-client.ts";

/** What is kept of a PersistentVolume (core/v1). */
export interface PersistentVolume {
  readonly name: string;
  /** `spec.csi.volumeHandle`. */
  readonly handle: string;
  /** `status.phase`. */
  readonly phase: string;
  /** `namespace/name` of `spec.claimRef`. */
  readonly claim?: string;
  /** What `spec.nodeAffinity` asks of the topology key. */
  readonly nodes: readonly string[];
}

/** Which PersistentVolumes are meant. */
export interface PersistentVolumeFilter {
  readonly driver: string;
  readonly topologyKey: string;
}

const PAGE_SIZE = 500;
const IDLE_MS = 30_000;

type Json = Readonly<Record<string, unknown>>;
const fields = (value: unknown): Json => (typeof value === "object" && value !== null ? value : {}) as Json;
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown): string => (typeof value === "string" ? value : "");

/**
 * Those of the driver in a `PersistentVolumeList`, a `List` as kubectl prints it, or a single PersistentVolume. Throws
 * `decode` for anything else: a wrong file must not pass for a cluster without volumes.
 */
export function parsePersistentVolumes(
  content: unknown,
  filter: PersistentVolumeFilter,
): readonly PersistentVolume[] {
  const { kind, items } = fields(content);
  const isList = (kind === "List" || kind === "PersistentVolumeList") && Array.isArray(items);
  if (!isList && kind !== "PersistentVolume") {
    throw refused(`it is no list of PersistentVolumes (its kind is ${JSON.stringify(kind) ?? "missing"})`);
  }
  return (isList ? list(items) : [content]).flatMap((item) => {
    const { kind: own = "PersistentVolume", metadata, spec, status } = fields(item);
    if (own !== "PersistentVolume")
      throw refused(`it holds a ${String(own)}: ask for "kubectl get pv -o json"`);
    const { csi, claimRef, nodeAffinity } = fields(spec);
    if (fields(csi).driver !== filter.driver) return [];
    const claim = fields(claimRef);
    return [
      {
        name: text(fields(metadata).name),
        handle: text(fields(csi).volumeHandle),
        phase: text(fields(status).phase),
        ...(claimRef ? { claim: `${text(claim.namespace)}/${text(claim.name)}` } : {}),
        nodes: nodesIn(nodeAffinity, filter.topologyKey),
      },
    ];
  });
}

function nodesIn(nodeAffinity: unknown, topologyKey: string): readonly string[] {
  const terms = list(fields(fields(nodeAffinity).required).nodeSelectorTerms);
  return terms
    .flatMap((term) => list(fields(term).matchExpressions))
    .filter((expression) => fields(expression).key === topologyKey)
    .flatMap((expression) => list(fields(expression).values).map(text));
}

/** All of the driver in the cluster, page by page. Throws `unavailable` where the server does not answer or refuses. */
export async function listPersistentVolumes(
  client: ApiClient,
  filter: PersistentVolumeFilter,
  signal: AbortSignal,
): Promise<readonly PersistentVolume[]> {
  const found: PersistentVolume[] = [];
  let token = "";
  do {
    const chunks: Buffer[] = [];
    const rest = token === "" ? "" : `&continue=${encodeURIComponent(token)}`;
    const { status, message } = await client.get({
      path: `/api/v1/persistentvolumes?limit=${PAGE_SIZE}${rest}`,
      ...{ signal, idleMs: IDLE_MS, onData: (bytes) => void chunks.push(bytes) },
    });
    if (status !== 200) throw unanswered(status, message);
    const page: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    found.push(...parsePersistentVolumes(page, filter));
    token = text(fields(fields(page).metadata).continue);
  } while (token !== "");
  return found;
}

function unanswered(status: number, message: string): TrivetError {
  const remedy = status === 403 ? ": give the account the verbs get and list for persistentvolumes" : "";
  return new TrivetError({
    ...{ kind: "unavailable", op: "kube.list", subject: "persistentvolumes" },
    message: `the API server did not list PersistentVolumes: ${status} ${message}${remedy}`,
  });
}

function refused(why: string): TrivetError {
  const message = `the PersistentVolumes cannot be read: ${why}`;
  return new TrivetError({ kind: "decode", op: "kube.parse", subject: "persistentvolumes", message });
}
