/** Takes the files of the pod network away: for `trivet uninstall cni`, and as a part of `trivet uninstall`. */
import { type FileOutcome, planRemoval, recordPath, removeRecorded } from "../../cni/install/files.ts";
import type { Restored } from "../../install/restore.ts";
import { ifThere } from "../../install/state.ts";
import type { System } from "./context.ts";

/** What became of the files, or would. */
export interface NetworkRemoval {
  readonly outcomes: ReadonlyMap<string, FileOutcome>;
  readonly restored: readonly Restored[];
  /** Programs that stay, since a conflist that somebody changed stays and names them. */
  readonly needed: readonly string[];
}

/** With `force` a conflist that was changed goes too, and so does everything. */
export async function removeNetwork(
  { files, journal, stateDir }: Pick<System, "files" | "journal" | "stateDir">,
  {
    force = false,
    dryRun = false,
  }: { readonly force?: boolean | undefined; readonly dryRun?: boolean | undefined },
): Promise<NetworkRemoval> {
  const outcomes = await (dryRun ? planRemoval : removeRecorded)(files, stateDir);
  const needed = force
    ? []
    : [...outcomes].filter(([, outcome]) => outcome === "needed").map(([path]) => path);
  const recorded = (await journal.entries()).map(({ path }) => path);
  const paths = recorded.filter((path) => !needed.includes(path));
  const restored = await journal.restore({ owner: "cni", paths, force, dryRun });
  // By force nothing of it is left that could still be ours.
  if (force && !dryRun) await ifThere(files.unlink(recordPath(stateDir)));
  return { outcomes, restored, needed };
}
