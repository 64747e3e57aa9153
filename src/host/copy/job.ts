/** What one copy carries along: its options, what it has done so far, and what it found out about the file system. */
import { TrivetError } from "../../errors.ts";
import type { Slots } from "../slots.ts";
import type { Syscalls } from "../syscall.ts";
import { createSyncQueue, type SyncQueue } from "./sync-queue.ts";

/** How far a copy is. */
export interface CopyProgress {
  readonly copiedBytes: number;
  /** Files, directories and whatever else has a name. */
  readonly entries: number;
}

/** What became of a tree. */
export interface CopyReport extends CopyProgress {
  /** Device nodes that were left out. */
  readonly skippedDevices: number;
  /** Names at which something else is mounted: directories are empty in the copy, files are left out. */
  readonly skippedMounts: number;
  /** Names that were gone, or had moved, when their turn came. */
  readonly vanished: number;
}

/** What the caller says. */
export interface TreeCopyOptions {
  /** A copy that is given up stops within a second and throws `cancelled`; what it made is left to its caller. */
  readonly signal: AbortSignal;
  onProgress?(progress: CopyProgress): void;
  /** Whether device nodes are copied: a tenant's would be as good as the host's. */
  readonly devices?: boolean;
}

/** The system calls of a copy. */
export type CopySyscalls = Pick<
  Syscalls,
  | ("openBelow" | "readDirectory" | "seekDirectory" | "readLinkOf" | "makeNode" | "setTimes")
  | ("setTimesBelow" | "listXattrs" | "getXattr" | "setXattr")
  | ("shareContent" | "copyRange" | "nextData" | "nextHole" | "writeOut")
>;

/** The state of one copy. */
export interface CopyJob {
  readonly syscalls: CopySyscalls;
  readonly options: TreeCopyOptions;
  readonly slots: Slots;
  readonly sync: SyncQueue;
  readonly report: { -readonly [Key in keyof CopyReport]: CopyReport[Key] };
  /** Whether the file system can share content between files, until it says that it cannot. */
  canShare: boolean;
  /** Whether the kernel copies between files, until it says that it does not. */
  canCopyRange: boolean;
  /** Throws `cancelled` when the caller has given up: asked before each step, never within one. */
  check(): void;
  /** Counts, and tells the caller. */
  progress(done: { readonly bytes?: number; readonly entries?: number }): void;
}

/** A copy that has not begun. */
export function createCopyJob(syscalls: CopySyscalls, slots: Slots, options: TreeCopyOptions): CopyJob {
  const report = { copiedBytes: 0, entries: 0, skippedDevices: 0, skippedMounts: 0, vanished: 0 };
  const check = () => {
    if (!options.signal.aborted) return;
    throw new TrivetError({
      kind: "cancelled",
      op: "copy",
      subject: "copy",
      message: "the copy was given up",
    });
  };
  return {
    ...{ syscalls, options, slots, report, check },
    ...{ sync: createSyncQueue(slots, check), canShare: true, canCopyRange: true },
    progress({ bytes = 0, entries = 0 }) {
      report.copiedBytes += bytes;
      report.entries += entries;
      options.onProgress?.({ copiedBytes: report.copiedBytes, entries: report.entries });
    },
  };
}
