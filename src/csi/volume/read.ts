/** One look at the disk: whether a volume is there. */
import { join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { type PoolLayout, wrapperLayout } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import type { VolumeId } from "./id.ts";
import { parseRecord, type VolumeRecord } from "./record.ts";

/** The record of the volume, undefined if the pool has no such volume, `precondition` if its record cannot be used. */
export async function readVolume(
  files: Files,
  layout: PoolLayout,
  id: VolumeId,
): Promise<VolumeRecord | undefined> {
  const wrapper = join(layout.volumes, id);
  try {
    return parseRecord(await files.read(wrapperLayout(wrapper).record), id);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
  }
  if (await isMissing(files, wrapper)) return undefined;
  throw refusal(
    "precondition",
    id,
    `volume ${id} has no record: it is quarantined until ${wrapperLayout(wrapper).record} is there again`,
  );
}

/** Whether there is nothing at `path`. */
export async function isMissing(files: Files, path: string): Promise<boolean> {
  try {
    await files.stat(path);
    return false;
  } catch (error) {
    if (isKind(error, "not-found")) return true;
    throw error;
  }
}
