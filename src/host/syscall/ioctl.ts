/** ioctl(2) with a structure of fixed size. Which request takes which structure is the business of its callers. */
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { asynchronous, requireInteger } from "./call.ts";

/** One request at a time on koffi's pool: a request may wait for a disk. */
export interface IoctlCalls {
  /**
   * `argument` is read and written in place. Its length must be the one that is part of `request` (asm-generic/ioctl.h):
   * the kernel copies that many bytes, whatever the buffer holds.
   */
  ioctl(fd: number, request: number, argument: Uint8Array): Promise<void>;
}

/** The size of the structure in a request's number: 14 bits, above eight of number and eight of type. */
export function sizeOfRequest(request: number): number {
  return (request >>> 16) & 0x3fff;
}

/** Binds the call. */
export function createIoctlCalls(libc: LibraryHandle): IoctlCalls {
  const ioctl = asynchronous(
    libc.func("int ioctl(int fd, ulong request, _Inout_ uint8_t *argument)"),
    "ioctl",
  );
  return {
    async ioctl(fd, request, argument) {
      requireInteger("ioctl", { fd, request });
      const size = sizeOfRequest(request);
      if (!(argument instanceof Uint8Array) || argument.length !== size) {
        const message = `ioctl: request 0x${request.toString(16)} takes ${size} bytes, not ${argument?.length}`;
        throw new TrivetError({ kind: "bug", op: "ioctl", subject: "argument", message });
      }
      await ioctl(`fd ${fd}`, fd, request, argument);
    },
  };
}
