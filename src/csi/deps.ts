/** What this leg needs of the host. Interfaces only: `commands/` builds the real ones, tests bring fakes. */
import type { Btrfs } from "../host/btrfs.ts";
import type { Clock } from "../host/clock.ts";
import type { Copier } from "../host/copy-tree.ts";
import type { HoldName } from "../host/exclusive.ts";
import type { Files } from "../host/files.ts";
import type { Freezer } from "../host/freeze.ts";
import type { ServeGrpc } from "../host/grpc.ts";
import type { ImageFiles } from "../host/image-file.ts";
import type { Loops } from "../host/loop.ts";
import type { ImageFileSystems } from "../host/mkfs.ts";
import type { Mounts } from "../host/mount.ts";
import type { FindPathUsers } from "../host/path-users.ts";
import type { ProjectQuota } from "../host/quota.ts";

/** The effects of this leg. Each comes with a fake that keeps the same contract (`test/contract`). */
export interface CsiDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly quota: ProjectQuota;
  readonly btrfs: Btrfs;
  readonly loops: Loops;
  readonly images: ImageFiles;
  readonly imageFileSystems: ImageFileSystems;
  readonly copier: Copier;
  readonly freezer: Freezer;
  readonly pathUsers: FindPathUsers;
  readonly clock: Clock;
  /** A random version 4 UUID. */
  randomUuid(): string;
  readonly hold: HoldName;
  readonly serve: ServeGrpc;
}
