/** Who is at the other end of a unix socket: getsockopt(2) with SO_PEERCRED. */
import type { LibraryHandle } from "koffi";
import { checked, requireInteger } from "./call.ts";

/** Synchronous: the kernel has the answer at hand. */
export interface PeerCalls {
  /** The credentials that the peer had when it connected. */
  peerCredentials(fd: number): PeerCredentials;
}

/** struct ucred, as unix(7) has it. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** sizeof(struct ucred): three 32-bit numbers. */
const UCRED_BYTES = 12;

/** Binds the call. */
export function createPeerCalls(libc: LibraryHandle): PeerCalls {
  const getsockopt = libc.func(
    "int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)",
  );
  return {
    peerCredentials(fd) {
      requireInteger("getsockopt", { fd });
      const value = Buffer.alloc(UCRED_BYTES);
      const length = new Uint32Array([UCRED_BYTES]);
      checked("getsockopt", `fd ${fd}`, getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length));
      const [pid = 0, uid = 0, gid = 0] = new Uint32Array(value.buffer, value.byteOffset, 3);
      return { pid, uid, gid };
    },
  };
}
