/**
 * Sockets that Node cannot open. `setns` must only be used through `host/netns.ts`, which switches there and back in one
 * synchronous go.
 */
import type { LibraryHandle } from "koffi";
import { asynchronous, checked, requireInteger } from "./call.ts";

/** Synchronous but for `sendAsync`. */
export interface SocketCalls {
  /** setns(2) on this thread. */
  setns(fd: number, namespaceType: number): void;
  /** socket(2); gives the descriptor. */
  socket(domain: number, type: number, protocol: number): number;
  /** setsockopt(2) with the option's bytes as they are. */
  setsockopt(fd: number, level: number, option: number, value: Uint8Array): void;
  /** send(2); gives the number of bytes sent. */
  send(fd: number, data: Uint8Array, flags: number): number;
  /** send(2) on koffi's pool, for requests that the kernel works on for long before it returns. */
  sendAsync(fd: number, data: Uint8Array, flags: number): Promise<void>;
  /** recv(2) into `buffer`; gives the number of bytes received. */
  recv(fd: number, buffer: Uint8Array, flags: number): number;
  close(fd: number): void;
}

/** Binds the calls. */
export function createSocketCalls(libc: LibraryHandle): SocketCalls {
  const setns = libc.func("int setns(int fd, int nstype)");
  const socket = libc.func("int socket(int domain, int type, int protocol)");
  const setsockopt = libc.func(
    "int setsockopt(int fd, int level, int name, const uint8_t *value, uint length)",
  );
  const send = libc.func("long send(int fd, const uint8_t *data, size_t length, int flags)");
  const sendAsync = asynchronous(send, "send");
  const recv = libc.func("long recv(int fd, _Out_ uint8_t *buffer, size_t length, int flags)");
  const close = libc.func("int close(int fd)");
  return {
    setns(fd, namespaceType) {
      requireInteger("setns", { fd, namespaceType });
      checked("setns", `fd ${fd}`, setns(fd, namespaceType));
    },
    socket(domain, type, protocol) {
      requireInteger("socket", { domain, type, protocol });
      return checked("socket", "socket", socket(domain, type, protocol));
    },
    setsockopt(fd, level, option, value) {
      requireInteger("setsockopt", { fd, level, option });
      checked("setsockopt", `fd ${fd}`, setsockopt(fd, level, option, value, value.length));
    },
    send(fd, data, flags) {
      requireInteger("send", { fd, flags });
      return checked("send", `fd ${fd}`, Number(send(fd, data, data.length, flags)));
    },
    async sendAsync(fd, data, flags) {
      requireInteger("send", { fd, flags });
      await sendAsync(`fd ${fd}`, fd, data, data.length, flags);
    },
    recv(fd, buffer, flags) {
      requireInteger("recv", { fd, flags });
      return checked("recv", `fd ${fd}`, Number(recv(fd, buffer, buffer.length, flags)));
    },
    close(fd) {
      requireInteger("close", { fd });
      checked("close", `fd ${fd}`, close(fd));
    },
  };
}
