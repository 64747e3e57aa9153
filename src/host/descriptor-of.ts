/** The file descriptor below an object of `node:net`: to hand it on to another process, or to ask the kernel about it. */
import type { Server, Socket } from "node:net";
import { TrivetError } from "../errors.ts";

/** Its handle knows the number, its interface does not say it. It stays the object's own. Throws `io` for a closed one. */
export function descriptorOf(socket: Socket | Server): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = handle !== null && typeof handle === "object" ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd === "number" && Number.isInteger(fd) && fd >= 0) return fd;
  throw new TrivetError({
    kind: "io",
    op: "socket.descriptor",
    subject: "socket",
    message: "the socket is closed",
  });
}
