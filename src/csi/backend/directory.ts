/**
 * A volume as a plain directory of its pool. Sizes are accounted for, and nothing stops a writer: a pod sees the free
 * space of the whole disk. It works on every file system, and is what is left where nothing better does.
 */

import { isKind } from "../../errors.ts";
import type { Copier } from "../../host/copy-tree.ts";
import type { Files } from "../../host/files.ts";
import { wrapperLayout } from "../pool/layout.ts";
import { refusal } from "../refusal.ts";
import type { Backend, PlacedVolume } from "./backend.ts";
import { makeTopDirectory } from "./top-directory.ts";

/** No system call that some disk lacks. */
export interface DirectoryDeps {
  readonly files: Files;
  readonly copier: Copier;
}

/** The backend of directories; it has no state, so one serves any number of pools. */
export function createDirectoryBackend({ files, copier }: DirectoryDeps): Backend {
  const dataOf = ({ wrapper }: PlacedVolume) => wrapperLayout(wrapper).data;
  const attached = async (volume: PlacedVolume) => {
    const path = dataOf(volume);
    const wrong = await problemOf(files, path);
    if (wrong) throw refusal("precondition", path, wrong);
    return { kind: "directory", path } as const;
  };
  return {
    ...{ name: "directory", how: "directories without a limit", enforced: false, consistentCopies: false },
    ...{ accessTypes: ["mount"], fsTypes: [], minimumBytes: 1, granularityBytes: 1 },
    async build(volume) {
      await makeTopDirectory(files, dataOf(volume), volume.record);
      return {};
    },
    unsynced: (volume) => [dataOf(volume)],
    async copy(volume, from, { signal, onProgress }) {
      // What was stored is not known here; what may have been is the size.
      const { sizeBytes: totalBytes } = from.record;
      await copier.tree(dataOf(from), dataOf(volume), {
        signal,
        onProgress: ({ copiedBytes }) => onProgress({ copiedBytes, totalBytes }),
      });
      return {};
    },
    reinstate: async () => undefined,
    grow: async () => undefined,
    attach: attached,
    attached,
    detach: async () => undefined,
    async usage(volume, mountPoint) {
      const space = await files.space(mountPoint ?? dataOf(volume));
      const { totalBytes, freeBytes, availableBytes, totalInodes, freeInodes } = space;
      return {
        bytes: { total: totalBytes, used: totalBytes - freeBytes, available: availableBytes },
        inodes: { total: totalInodes, used: totalInodes - freeInodes, available: freeInodes },
      };
    },
    problem: (volume) => problemOf(files, dataOf(volume)),
    dismantle: async () => undefined,
  };
}

/** A volume that has a record and no data was damaged by hand: that is neither unknown nor to be made up for. */
async function problemOf(files: Files, path: string): Promise<string | undefined> {
  const kind = await files.stat(path).then(
    (stat) => stat.kind,
    (error) => {
      if (isKind(error, "not-found")) return "missing";
      throw error;
    },
  );
  return kind === "directory" ? undefined : `${path}, the data of the volume, is no directory (${kind})`;
}
