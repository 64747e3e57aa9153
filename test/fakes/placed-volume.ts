/** Wrappers of volumes for tests of a backend alone: made and put in place as the lifecycle does, no more. */
import type { Backend, PlacedVolume } from "../../src/csi/backend/backend.ts";
import { poolLayout, wrapperLayout } from "../../src/csi/pool/layout.ts";
import { discardStaged } from "../../src/csi/pool/staging.ts";
import { volumeIdFor } from "../../src/csi/volume/id.ts";
import { encodeRecord, type VolumeRecord } from "../../src/csi/volume/record.ts";
import type { Files } from "../../src/host/files.ts";

/** The pool's directory. */
export const layout = poolLayout("/pool");
/** Directories that a fake host needs for it. */
export const poolDirectories = [layout.staging, layout.trash, layout.volumes, layout.snapshots];

/** A record of a volume of 64 MiB, or what else is said. */
export function recordOf(name: string, more: Partial<VolumeRecord> = {}): VolumeRecord {
  const id = volumeIdFor({ nodeId: "n", pool: "p", name });
  return { id, name, pool: "p", sizeBytes: 64 * 1_048_576, created: "2026-01-01T00:00:00.000Z", ...more };
}

/** Builds in `staging`, writes the record, and renames into `volumes`. */
export async function makeVolume(
  files: Files,
  backend: Backend,
  record: VolumeRecord,
  from?: PlacedVolume,
): Promise<PlacedVolume> {
  const staged = `${layout.staging}/${record.id}`;
  await files.mkdir(staged, 0o700);
  const volume = { wrapper: staged, record };
  const options = { signal: new AbortController().signal, onProgress: () => undefined };
  const chosen = from ? await backend.copy(volume, from, options) : await backend.build(volume);
  const whole = { ...record, ...chosen };
  await files.create(wrapperLayout(staged).record, encodeRecord(whole), 0o600);
  await files.sync(wrapperLayout(staged).record);
  await files.sync(staged);
  const wrapper = `${layout.volumes}/${record.id}`;
  await files.rename(staged, wrapper);
  await files.sync(layout.volumes);
  return { wrapper, record: whole };
}

/** What becomes of garbage in `staging` and of deleted volumes: into the trash, taken apart, removed. */
export async function emptyTrash(files: Files, backend: Backend): Promise<void> {
  for (const { name } of await files.list(layout.staging)) await discardStaged(files, layout, name);
  for (const { name } of await files.list(layout.trash)) {
    await backend.dismantle(`${layout.trash}/${name}`);
    await files.removeTree(`${layout.trash}/${name}`);
  }
}
