/** Space of a file, reserved before it is written: fallocate(2). */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous, requireInteger } from "./call.ts";

/** It may wait for the disk. */
export interface AllocationCalls {
  /**
   * fallocate(2) of the first `length` bytes. The size of the file stays: it is to change in one step, when all of the
   * space is there.
   */
  allocate(fd: number, length: number): Promise<void>;
}

const FALLOC_FL_KEEP_SIZE = 1;

/** Binds the call. */
export function createAllocationCalls(libc: LibraryHandle): AllocationCalls {
  const fallocate = asynchronous(
    libc.func("int fallocate(int fd, int mode, int64 offset, int64 length)"),
    "fallocate",
  );
  return {
    async allocate(fd, length) {
      requireInteger("fallocate", { fd });
      if (!Number.isSafeInteger(length) || length <= 0) {
        const message = `fallocate: length is no size: ${length}`;
        throw new TrivetError({ kind: "bug", op: "fallocate", subject: "length", message });
      }
      await fallocate(`fd ${fd}`, fd, FALLOC_FL_KEEP_SIZE, 0, length);
    },
  };
}
