/**
 * Public names of unix sockets that go from one process to the next without a moment in which nobody answers: by
 * rename(2) over the old name, which the old process can take back, or by inheriting what already has the name. Knows
 * nothing of what the sockets are for.
 */
import { link, lstat, rename, unlink } from "node:fs/promises";
import type { Server } from "node:net";
import { fromNodeError } from "./errno.ts";
import { bindPrivately, hiddenSocketPath, type PublishedSocket, type SocketAccess } from "./unix-socket.ts";

/** A public name that was given away, and may be wanted back. */
export interface YieldedName {
  /** Puts the old socket back in its place: it answers again. */
  undo(): Promise<void>;
  /** Gives up the way back. */
  done(): Promise<void>;
}

/**
 * Gives the public name of a listening socket of ours to the one at `temporary` in the same directory, in one step. A
 * second name keeps ours reachable until `done`, since a socket without any name cannot get one again.
 */
export async function yieldName(path: string, temporary: string): Promise<YieldedName> {
  // Where the old socket waits; told from a name that is only being bound.
  const spare = hiddenSocketPath(path, "~");
  try {
    await unlink(spare).catch(() => undefined);
    await link(path, spare);
    await rename(temporary, path);
  } catch (error) {
    await unlink(spare).catch(() => undefined);
    throw fromNodeError(error, "socket.yield", path);
  }
  return {
    undo: async () => {
      await rename(spare, path).catch((error) => {
        throw fromNodeError(error, "socket.take-back", path);
      });
    },
    done: () => unlink(spare).catch(() => undefined),
  };
}

/**
 * The public name of a socket that this process has inherited, or got from its predecessor: from now on it is ours to
 * withdraw.
 */
export async function adoptName(path: string): Promise<PublishedSocket> {
  const { ino } = await lstat(path).catch((error) => {
    throw fromNodeError(error, "socket.adopt", path);
  });
  return {
    path,
    async withdraw() {
      const present = await lstat(path).catch(() => undefined);
      if (present?.ino === ino) await unlink(path).catch(() => undefined);
    },
  };
}

/** Listens on `path` even if another process serves it: that one's socket loses its name, and nothing else. */
export async function listenInPlaceOf(
  server: Server,
  path: string,
  access: SocketAccess = {},
): Promise<PublishedSocket> {
  const own = await bindPrivately(server, path, access);
  try {
    await rename(own, path);
    return await adoptName(path);
  } catch (error) {
    server.close();
    throw fromNodeError(error, "socket.replace", path);
  }
}
