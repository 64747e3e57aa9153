/** What `trivet storage` shows and compares. Types only: they are the JSON of `-o json`, so their fields only grow. */
import type { BackendName } from "../backend/backend.ts";

/** What becomes of a volume at the moment. `abnormal`: it has a condition, which `detail` tells. */
export type VolumeState = "idle" | "staged" | "published" | "abnormal" | "quarantined" | "trash" | "retained";

/** One volume of this node, whole or not, there or deleted. */
export interface VolumeView {
  /** Its volume handle; of what is quarantined the name of its directory. */
  readonly id: string;
  readonly pool: string;
  readonly state: VolumeState;
  /** Why it is abnormal or quarantined; until when it is kept. */
  readonly detail?: string;
  /** The name that CreateVolume was called with: that of its PersistentVolume. */
  readonly name?: string;
  /** `namespace/name`, where the provisioner tells it. */
  readonly claim?: string;
  readonly backend?: BackendName;
  readonly sizeBytes?: number;
  /** Absent where nothing counts what it holds: directories without a limit, and images that are not mounted. */
  readonly usedBytes?: number;
  /** ISO 8601. */
  readonly created?: string;
  /** Where pods see it. */
  readonly published: readonly string[];
  /** Other places where it is mounted, such as the kubelet's staging path. */
  readonly staged: readonly string[];
  /** Whether it is the inline volume of a pod: it has no PersistentVolume. */
  readonly inline?: boolean;
  /** The name of what is in the trash, or retained: one id may be there twice. */
  readonly entry?: string;
}

/** What is compared of a PersistentVolume of this driver. */
export interface PersistentVolumeFacts {
  readonly name: string;
  /** `spec.csi.volumeHandle`. */
  readonly handle: string;
  /** `Bound`, `Released` and so on. */
  readonly phase: string;
  /** `namespace/name`. */
  readonly claim?: string;
  /** The values of our topology key in `spec.nodeAffinity`; empty where it names none. */
  readonly nodes: readonly string[];
}

/** A mount that shows a volume. */
export interface VolumeMount {
  readonly id: string;
  readonly mountPoint: string;
  /** Whether the kernel says that what it shows was deleted. */
  readonly isDeleted: boolean;
}

/** A loop device on a file of one of our pools. */
export interface VolumeLoop {
  readonly device: string;
  readonly file: string;
  readonly isMissing: boolean;
}

/** Everything that is compared. */
export interface DiskFacts {
  readonly volumes: readonly VolumeView[];
  /** What lies in `staging` of a pool and nobody works on. */
  readonly leftovers: readonly { readonly pool: string; readonly name: string }[];
  /** Those below the kubelet's directory. */
  readonly mounts: readonly VolumeMount[];
  readonly loops: readonly VolumeLoop[];
  /** Pools that are away: what they hold is not known. */
  readonly away: readonly string[];
  /** The value of our topology key that stands for this node. */
  readonly node: string;
  readonly nowMs: number;
}

/** What does not fit together. */
export type OrphanKind =
  | "volume without PersistentVolume"
  | "PersistentVolume without volume"
  | "left in staging"
  | "mount of a deleted volume"
  | "loop device of a missing image"
  | "quarantined"
  | "retained";

/** One thing that does not fit together. */
export interface Orphan {
  readonly kind: OrphanKind;
  /** What `--delete` takes to name it. */
  readonly subject: string;
  readonly pool?: string;
  readonly claim?: string;
  readonly sizeBytes?: number;
  /** Why it is one, and what to do. */
  readonly detail: string;
  /** Whether `--delete` removes it: always, only where it is named, or never. */
  readonly removal: "yes" | "named" | "no";
}
