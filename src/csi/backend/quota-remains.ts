/** Which project's limit is to be lifted when what is left of a volume goes. */
import { basename } from "node:path";
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { ProjectQuota } from "../../host/quota.ts";
import { wrapperLayout } from "../pool/layout.ts";
import { readInTrash } from "../pool/remains.ts";
import { stagedName } from "../pool/staging.ts";
import type { ProjectIds } from "./quota-ids.ts";

/** What finding out takes. */
export interface RemainsDeps {
  readonly files: Files;
  readonly quota: ProjectQuota;
  readonly ids: ProjectIds;
}

/**
 * The project of the record. Where there is none yet, since the volume was never finished, that of the data, or of the
 * wrapper while there is no data: no tenant ever saw either then. But never one that another volume has, or one that is
 * not ours to give.
 */
export async function projectOfRemains(deps: RemainsDeps, wrapper: string): Promise<number | undefined> {
  const { files, ids } = deps;
  const record = await readInTrash(files, wrapper);
  if (record) return record.projectId;
  const id = (await projectAt(deps, wrapperLayout(wrapper).data)) ?? (await projectAt(deps, wrapper));
  return id !== undefined && ids.mayBelongTo(id, volumeOfRemains(wrapper)) ? id : undefined;
}

async function projectAt({ quota }: RemainsDeps, path: string): Promise<number | undefined> {
  try {
    return (await quota.project(path)).id;
  } catch (error) {
    if (isKind(error, "not-found", "unsupported")) return undefined;
    throw error;
  }
}

/** The id that the wrapper had before it was given a name in the trash. */
export function volumeOfRemains(wrapper: string): string {
  const entry = basename(wrapper);
  return stagedName(entry) ?? entry.split(".")[0] ?? "";
}
