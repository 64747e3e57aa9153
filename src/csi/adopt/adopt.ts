/**
 * Makes a volume of a directory that exists. What is the user's never lies in `staging`, where it would be garbage: the volume
 * becomes visible without data, and the directory is renamed into it last. Whoever is stopped in between asks again. Copying
 * happens only when asked for, and then in `staging`, as with every volume.
 */
import { join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Copier } from "../../host/copy-tree.ts";
import type { Files } from "../../host/files.ts";
import type { Mounts } from "../../host/mount.ts";
import type { FindPathUsers } from "../../host/path-users.ts";
import type { Log } from "../../observe/log.ts";
import type { PlacedVolume } from "../backend/backend.ts";
import type { KeyedLock } from "../keyed-lock.ts";
import { placeOf } from "../node/mount-state.ts";
import { DEFAULT_POOL } from "../pool/config.ts";
import { wrapperLayout, wrapperOf } from "../pool/layout.ts";
import type { OpenPool } from "../pool/pool.ts";
import type { Pools } from "../pool/pools.ts";
import { invalid, refusal } from "../refusal.ts";
import { nodeTopology } from "../topology.ts";
import { createVolume } from "../volume/create.ts";
import { type VolumeId, volumeIdFor } from "../volume/id.ts";
import { isMissing, readVolume } from "../volume/read.ts";
import type { VolumeRecord } from "../volume/record.ts";
import {
  type AdoptedVolume,
  type AdoptRequest,
  completeRequest,
  originOf,
  requireNoMounts,
  requireOutside,
} from "./plan.ts";

/** What adopting takes. */
export interface AdoptDeps {
  readonly files: Files;
  readonly mounts: Mounts;
  readonly copier: Copier;
  readonly clock: Clock;
  readonly log: Log;
  readonly lock: KeyedLock;
  readonly pools: Pools;
  readonly nodeId: string;
  readonly pathUsers: FindPathUsers;
}

const MIB = 2 ** 20;
/** While it is copied; a name that no tenant is likely to have. */
const COPY_NAME = ".trivet-adopt";

type Complete = ReturnType<typeof completeRequest>;

/**
 * Repeatable: the same directory becomes the same volume. Throws `invalid` for what is no plain directory, `precondition` for
 * one that is in use or cannot be renamed into the pool, `exhausted` where it does not fit.
 */
export async function adoptDirectory(deps: AdoptDeps, asked: AdoptRequest): Promise<AdoptedVolume> {
  const request = completeRequest(asked);
  const pool = await poolFor(deps, request);
  const id = volumeIdFor({ nodeId: deps.nodeId, pool: pool.name, name: originOf(request.path) });
  return deps.lock.run([id], async () => {
    const present = await readVolume(deps.files, pool.layout, id);
    const { data } = wrapperLayout(wrapperOf(pool.layout, id));
    if (present && !(await isMissing(deps.files, data))) return answer(deps, request, present, "already");
    await requireAdoptable(deps, pool, request);
    const record = present ?? (await makeVolume(deps, pool, { id, request }));
    if (request.copy === true && !(await isMissing(deps.files, data)))
      return answer(deps, request, record, "copied");
    await moveInto(deps, request.path, data);
    deps.log.info("directory adopted", { path: request.path, volumeId: id, pool: pool.name });
    return answer(deps, request, record, "renamed");
  });
}

async function poolFor({ pools }: AdoptDeps, { pool: name }: AdoptRequest): Promise<OpenPool> {
  const [only] = pools.all.length === 1 ? pools.all : [];
  const found = pools.all.find(({ config }) => config.name === (name ?? only?.config.name ?? DEFAULT_POOL));
  if (found) return found.use();
  const known = pools.all.map(({ config }) => config.name).join(", ");
  throw invalid(
    "--pool",
    name === undefined ? `is missing: give one of ${known}` : `is "${name}": this node has ${known}`,
  );
}

function answer(
  { nodeId }: AdoptDeps,
  { name, claim }: Complete,
  { id, pool, sizeBytes }: VolumeRecord,
  outcome: AdoptedVolume["outcome"],
): AdoptedVolume {
  const topology = { ...nodeTopology(nodeId).segments };
  return { id, name, pool, sizeBytes, ...(claim ? { claim } : {}), topology, outcome };
}

async function requireAdoptable(deps: AdoptDeps, pool: OpenPool, { path, copy }: Complete): Promise<void> {
  const { files, pools } = deps;
  const found = await files.stat(path).catch((error) => {
    if (isKind(error, "not-found")) throw refusal("not-found", path, `${path} does not exist`);
    throw error;
  });
  if (found.kind !== "directory") throw invalid("PATH", `${path} is no directory (${found.kind})`);
  const real = await files.realPath(path);
  if (real !== path) throw invalid("PATH", `${path} leads through a symbolic link: give ${real}`);
  const table = await deps.mounts.list();
  requireNoMounts(table, path);
  requireOutside(
    pools.all.map(({ config }) => config.path),
    path,
  );
  const place = placeOf(table, path);
  const [user] = place ? await deps.pathUsers(place, path) : [];
  if (user) throw refusal("precondition", path, `${path} is in use by ${user}: stop that first`);
  const { name } = pool.backend;
  if (name === "image") {
    throw refusal(
      "unsupported",
      path,
      `pool "${pool.name}" makes images: adopt into a pool of directories, or copy the content in a pod`,
    );
  }
  if (copy) return;
  if (name !== "directory") {
    const why = "a limit holds only for what is written below it";
    throw refusal(
      "precondition",
      path,
      `pool "${pool.name}" has ${pool.backend.how}, and ${why}: give --copy, or a pool of directories`,
    );
  }
  const root = await files.stat(pool.layout.volumes);
  if (root.dev !== found.dev) {
    throw refusal(
      "precondition",
      path,
      `${path} is on another file system than pool "${pool.name}" and cannot be renamed: give --copy, or a pool on its file system`,
    );
  }
}

interface Wanted {
  readonly id: VolumeId;
  readonly request: Complete;
}

async function makeVolume(deps: AdoptDeps, pool: OpenPool, { id, request }: Wanted): Promise<VolumeRecord> {
  const { files, clock } = deps;
  const { path, claim, copy } = request;
  const usedBytes = await sizeOf(files, path);
  const { granularityBytes, minimumBytes, name: backend } = pool.backend;
  const rounded = (bytes: number, unit: number) => Math.ceil(bytes / unit) * unit;
  const sizeBytes = rounded(
    Math.max(request.sizeBytes ?? rounded(usedBytes, MIB), minimumBytes, MIB),
    granularityBytes,
  );
  if (request.sizeBytes !== undefined && usedBytes > request.sizeBytes) {
    throw invalid(
      "--size",
      `is ${request.sizeBytes}, and ${path} holds ${usedBytes} bytes: give at least that`,
    );
  }
  const wanted: VolumeRecord = {
    ...{ id, name: originOf(path), pool: pool.name, sizeBytes, backend },
    created: new Date(clock.nowMs()).toISOString(),
    ...(claim ? { claim } : {}),
  };
  return createVolume(files, pool, wanted, async (volume) => {
    const chosen = await pool.backend.build(volume);
    if (copy) await copyInto(deps, path, volume);
    else await files.rmdir(wrapperLayout(volume.wrapper).data); // its place, which is taken when the volume is visible
    return chosen;
  });
}

/** Into what the backend has made, so that its limit holds for all of it. */
async function copyInto(
  { files, copier }: AdoptDeps,
  path: string,
  { wrapper }: PlacedVolume,
): Promise<void> {
  const { data } = wrapperLayout(wrapper);
  const copied = join(data, COPY_NAME);
  await copier.tree(path, copied, { signal: new AbortController().signal, onProgress: () => undefined });
  for (const { name } of await files.list(copied)) await files.rename(join(copied, name), join(data, name));
  const { mode, uid, gid } = await files.stat(copied);
  await files.rmdir(copied);
  await files.setOwner(data, uid, gid);
  await files.setMode(data, mode);
  await files.sync(data);
}

async function moveInto({ files }: AdoptDeps, path: string, data: string): Promise<void> {
  await files.rename(path, data);
  await files.sync(join(data, ".."));
  await files.sync(join(path, ".."));
}

/** What the files add up to; no link is followed. */
async function sizeOf(files: Files, directory: string): Promise<number> {
  let bytes = 0;
  for (const { name, kind } of await files.list(directory)) {
    const path = join(directory, name);
    if (kind === "directory") bytes += await sizeOf(files, path);
    else bytes += (await files.stat(path)).sizeBytes;
  }
  return bytes;
}
