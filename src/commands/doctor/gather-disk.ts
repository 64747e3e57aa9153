/** What lies under a pool, by the host's own mount table: a daemon in a container sees a part of it, at other places. */
import { dirname } from "node:path";
import { mountOf } from "../../csi/backend/probe-remedy.ts";
import { parseMountInfo } from "../../host/mount.ts";
import type { DiskFacts } from "./facts.ts";
import { type DoctorDeps, known, textOf } from "./gather.ts";

export type LookAtDisk = (path: string) => Promise<DiskFacts>;

/** Reads the tables once. */
export async function createDiskReader(deps: DoctorDeps): Promise<LookAtDisk> {
  const { files, quotaOf } = deps;
  const table = parseMountInfo(await deps.mountTable());
  const fstab = await textOf(deps, "/etc/fstab");
  return async (path) => {
    const there = await existing(deps, path);
    const real = await files.realPath(there).catch(() => there);
    const space = await files.space(real).catch(() => undefined);
    return {
      ...{ space, mount: mountOf(table, real) },
      quotas: space ? await known(quotaOf(real, space.type)) : { unknown: `${path} cannot be reached` },
      isInFstab: fstab.split("\n").some((line) => line.trim().split(/\s+/)[1] === path),
    };
  };
}

/** The path, or the nearest directory above it that is there: a pool is made when it is opened first. */
async function existing({ files }: DoctorDeps, path: string): Promise<string> {
  const stat = await files.stat(path).catch(() => undefined);
  return stat || path === "/" ? path : existing({ files } as DoctorDeps, dirname(path));
}
