/**
 * Where the last lease was made: in memory for the calls of one process, so that those at the same moment start at different
 * places, and in a small file for the next process. Only a hint, and written without a lock: a file that is missing, cut
 * off or overwritten by another process means starting elsewhere, which is right as well.
 */
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { needingRoom } from "../state/room.ts";

/** Wide enough for any IPv6 pool; a fixed width lets a shorter number overwrite a longer one. */
const WIDTH = 40;
const FILE_MODE = 0o600;

/** One cursor per file: that is per network and range set. */
export interface Cursors {
  /** The place at which to start looking: behind that of the last lease, and behind where others started since. */
  next(path: string): Promise<bigint>;
  /** Where the next search will start; changes nothing. */
  peek(path: string): Promise<bigint>;
  /** A search that began at `start` ended with a lease at `place`. */
  leased(path: string, found: { readonly start: bigint; readonly place: bigint }): Promise<void>;
}

/** One per process. */
export function createCursors(files: Files): Cursors {
  const lastByPath = new Map<string, bigint>();
  return {
    peek: async (path) => (lastByPath.get(path) ?? (await readCursor(files, path))) + 1n,
    async next(path) {
      const stored = lastByPath.has(path) ? -1n : await readCursor(files, path);
      // Looked at again after the wait: another call may have moved it meanwhile.
      const next = (lastByPath.get(path) ?? stored) + 1n;
      lastByPath.set(path, next);
      return next;
    },
    async leased(path, { start, place }) {
      // One that found its first choice free leaves alone how far others have come meanwhile.
      if (place !== start) lastByPath.set(path, place);
      await writeCursor(files, path, place);
    },
  };
}

async function readCursor(files: Files, path: string): Promise<bigint> {
  try {
    const text = (await files.read(path)).toString("utf8").trim();
    return /^[0-9]+$/.test(text) ? BigInt(text) : -1n;
  } catch (error) {
    if (isKind(error, "not-found")) return -1n;
    throw error;
  }
}

async function writeCursor(files: Files, path: string, place: bigint): Promise<void> {
  const content = Buffer.from(place.toString().padStart(WIDTH));
  try {
    const file = await files.open(path);
    try {
      await file.write(content, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    await needingRoom(files.create(path, content, FILE_MODE)).catch((failure: unknown) => {
      if (!isKind(failure, "conflict")) throw failure;
    });
  }
}
