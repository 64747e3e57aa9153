/** One look at what was deleted: which volume it was, where that can still be told. */
import { basename } from "node:path";
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { parseSnapshotId } from "../snapshot/id.ts";
import type { VolumeId } from "../volume/id.ts";
import { parseRecord, type VolumeRecord } from "../volume/record.ts";
import { wrapperLayout } from "./layout.ts";
import { parseTrashName } from "./trash-name.ts";

/** The record of an entry of the trash; undefined where it is gone already, or is no record. */
export async function readInTrash(files: Files, wrapper: string): Promise<VolumeRecord | undefined> {
  const id = parseTrashName(basename(wrapper))?.id ?? snapshotIn(basename(wrapper));
  if (!id) return undefined;
  try {
    return parseRecord(await files.read(wrapperLayout(wrapper).record), id);
  } catch (error) {
    if (isKind(error, "not-found", "precondition")) return undefined;
    throw error;
  }
}

/** A deleted snapshot has a record like a volume's; nobody can bring it back by that. */
function snapshotIn(entry: string): VolumeId | undefined {
  const id = parseSnapshotId(entry.split(".")[0] ?? "");
  return id && (id as string as VolumeId);
}
