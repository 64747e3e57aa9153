/**
 * Where the last lease was made, in a small file. Only a hint, and written without a lock: concurrent calls may overwrite
 * each other's, and a file that is missing or cut off means starting from the beginning, which is right as well.
 */
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";

/** Wide enough for any IPv6 pool; a fixed width lets a shorter number overwrite a longer one. */
const WIDTH = 40;
const FILE_MODE = 0o600;

/** The place of the last lease, or -1. */
export async function readCursor(files: Files, path: string): Promise<bigint> {
  try {
    const text = (await files.read(path)).toString("utf8").trim();
    return /^[0-9]+$/.test(text) ? BigInt(text) : -1n;
  } catch (error) {
    if (isKind(error, "not-found")) return -1n;
    throw error;
  }
}

export async function writeCursor(files: Files, path: string, place: bigint): Promise<void> {
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
    await files.create(path, content, FILE_MODE).catch((failure: unknown) => {
      if (!isKind(failure, "conflict")) throw failure;
    });
  }
}
