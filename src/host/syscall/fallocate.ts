/** Space of a file, reserved before it is written: fallocate(2). */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous, requireInteger } from "./call.ts";

/** It may wait for the disk. */
export interface AllocationCalls {
  /**
   * fallocate(2) of `length` bytes at `offset`. The size of the file stays: it is to change in one step, when all of the
   * space is there.
   */
  allocate(fd: number, offset: number, length: number): Promise<void>;
}

const FALLOC_FL_KEEP_SIZE = 1;

/** Binds the call. */
export function createAllocationCalls(libc: LibraryHandle): AllocationCalls {
  const fallocate = asynchronous(
    libc.func("int fallocate(int fd, int mode, int64 offset, int64 length)"),
    "fallocate",
  );
  return {
    async allocate(fd, offset, length) {
      requireInteger("fallocate", { fd });
      if (!Number.isSafeInteger(offset + length) || offset < 0 || length <= 0) {
        const message = `fallocate: ${length} bytes at ${offset} are no part of a file`;
        throw new TrivetError({ kind: "bug", op: "fallocate", subject: "length", message });
      }
      await fallocate(`fd ${fd}`, fd, FALLOC_FL_KEEP_SIZE, offset, length);
    },
  };
}
