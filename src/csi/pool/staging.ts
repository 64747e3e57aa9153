/** What is left in `staging` of an attempt that failed or died: garbage, which the trash removes. */
import { join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import { isMissing } from "../volume/read.ts";
import type { PoolLayout } from "./layout.ts";

/**
 * Moves what stands in `staging` under `name` into the trash, and gives its name there: one that is no deleted volume's,
 * so that it is removed at once and nobody can bring it back.
 */
export async function discardStaged(files: Files, layout: PoolLayout, name: string): Promise<string> {
  for (let count = 0; ; count++) {
    const entry = `staged.${name}.${count}`;
    const path = join(layout.trash, entry);
    if (!(await isMissing(files, path))) continue;
    try {
      await files.rename(join(layout.staging, name), path);
      return entry;
    } catch (error) {
      if (!isKind(error, "conflict")) throw error;
    }
  }
}

/** The name that an entry of the trash had in `staging`; undefined for one that was never there. */
export function stagedName(entry: string): string | undefined {
  return /^staged\.(.+)\.\d+$/.exec(entry)?.[1];
}
