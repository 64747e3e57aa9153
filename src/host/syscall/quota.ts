/** quotactl_fd(2), Linux 5.14: quotas of the file system that a descriptor lies on; no device path, no mount table. */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous, requireInteger } from "./call.ts";

/** What is asked of project quotas; other types of quota are none of ours. */
export type QuotaCommand = "get" | "set" | "state";

/** A call may wait for the journal, so it runs on koffi's pool. */
export interface QuotaCalls {
  /**
   * `get` and `set` take a struct if_dqblk of project `id`, `state` a struct fs_quota_statv and no id. The structure is
   * read and written in place. ESRCH where quotas are off, ENOSYS where the kernel or the file system has none.
   */
  quotactl(fd: number, command: QuotaCommand, id: number, structure: Uint8Array): Promise<void>;
}

// The number is the same on every processor.
const SYS_QUOTACTL_FD = 443;
const PRJQUOTA = 2;
/** Commands of linux/quota.h and linux/dqblk_xfs.h, and sizeof the structure that each copies. Both serve XFS and ext4. */
const commands = {
  get: { number: 0x800007, bytes: 72 },
  set: { number: 0x800008, bytes: 72 },
  state: { number: 0x5808, bytes: 160 },
} as const satisfies Record<QuotaCommand, { number: number; bytes: number }>;

/** Length of the structure that `command` takes. */
export function quotaStructureBytes(command: QuotaCommand): number {
  return commands[command].bytes;
}

/** Binds the call. */
export function createQuotaCalls(libc: LibraryHandle): QuotaCalls {
  const quotactl = asynchronous(
    libc.func("syscall", "long", ["long", "uint", "uint", "uint", "_Inout_ uint8_t *"]),
    "quotactl_fd",
  );
  return {
    async quotactl(fd, command, id, structure) {
      requireInteger("quotactl_fd", { fd, id });
      const { number, bytes } = commands[command];
      if (!(structure instanceof Uint8Array) || structure.length !== bytes) {
        const message = `quotactl_fd: ${command} takes ${bytes} bytes, not ${structure?.length}`;
        throw new TrivetError({ kind: "bug", op: "quotactl_fd", subject: "structure", message });
      }
      await quotactl(`fd ${fd}`, SYS_QUOTACTL_FD, fd, ((number << 8) | PRJQUOTA) >>> 0, id, structure);
    },
  };
}
