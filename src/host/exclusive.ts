/**
 * Names that one process of this machine holds at a time. A name is a socket in the abstract namespace (unix(7)): it is gone
 * with its process however that ends, and unlike a lock on a file it keeps no disk from being unmounted. It reaches as far
 * as the network namespace, which `trivet node` shares with the host.
 */
import { createServer } from "node:net";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";

/** A name that is ours. */
export interface HeldName {
  release(): Promise<void>;
}

/** Throws `conflict` where another process, or this one, holds the name. At most 100 bytes. */
export type HoldName = (name: string) => Promise<HeldName>;

/** The real one. */
export const holdName: HoldName = (name) =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "EADDRINUSE" ? taken(name, error) : fromNodeError(error, "name.hold", name)),
    );
    server.listen(`\0${name}`, () => {
      server.unref(); // a name keeps no process alive
      resolve({ release: () => new Promise((released) => server.close(() => released())) });
    });
  });

function taken(name: string, cause: unknown): TrivetError {
  const message = `another process holds the name ${name}`;
  return new TrivetError({ kind: "conflict", op: "name.hold", subject: name, message, cause });
}
