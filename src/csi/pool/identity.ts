/**
 * Whether the disk under a pool's path is the pool's disk. The pool carries an identity file; the identity that is
 * expected lies outside, in the state directory. A disk that is not mounted or was swapped is never written to, and
 * only a pool that was never seen before is initialised, in an empty directory.
 */
import { dirname, join } from "node:path";
import { isKind } from "../../errors.ts";
import type { HoldName } from "../../host/exclusive.ts";
import { ensureDirectory, type FileStat, type Files, replaceFile } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import { refusal } from "../refusal.ts";
import type { PoolConfig } from "./config.ts";
import { ownDirectories, type PoolLayout, poolLayout, RECORD_MODE, WRAPPER_MODE } from "./layout.ts";

const FORMAT_VERSION = 1;
/** In a directory with this bit only its owner renames what others have in it, such as the root of a new tmpfs. */
const STICKY = 0o1000;
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** What a directory may hold that becomes a pool: mkfs makes the first, an interrupted start of ours the others. */
const harmless = new Set(["lost+found", ".pool", "volumes", "snapshots"]);

/** What finding out about a pool takes. `stateDir` is on the host, outside every pool. */
export interface IdentityDeps {
  readonly files: Files;
  readonly log: Log;
  readonly stateDir: string;
  randomUuid(): string;
  readonly hold: HoldName;
  /** Throws if a pool of another name has this identity already. */
  claim(pool: string, uuid: string): void;
}

/** A disk that has proved to be the pool's. */
export interface IdentifiedPool {
  readonly uuid: string;
  readonly layout: PoolLayout;
  /** The identity file as it was before it was last read. */
  readonly seen?: FileStat;
}

/** One file, unchanged: another disk under the same path has another time, if not another inode and device. */
function isSameFile(one: FileStat, other: FileStat): boolean {
  const { dev, ino, modifiedMs } = one;
  return dev === other.dev && ino === other.ino && modifiedMs === other.modifiedMs;
}

/** Finds out who the pool is, and remembers the file that says so. */
export async function identifyPool(deps: IdentityDeps, config: PoolConfig): Promise<IdentifiedPool> {
  const identified = await identify(deps, config);
  const seen = await deps.files.stat(identified.layout.identity);
  await requireIdentity(deps.files, config, identified);
  return { ...identified, seen };
}

/** Finds out who the pool is, and makes it one if it is new. `unavailable`, with the reason, if it cannot be used. */
async function identify(deps: IdentityDeps, config: PoolConfig): Promise<IdentifiedPool> {
  const { files, stateDir } = deps;
  const recordPath = join(stateDir, "pools", `${config.name}.json`);
  const expected = await readUuid(files, recordPath);
  const root = await realRoot(files, config, expected === undefined && !config.requireMount);
  await requireOwnRoot(deps, config, root);
  const layout = poolLayout(root);
  if (expected !== undefined) {
    await requireIdentity(files, config, { uuid: expected, layout });
    deps.claim(config.name, expected);
    return { uuid: expected, layout };
  }
  await requireOwnFileSystem(deps, config, root);
  return alone(deps, config, root, () => record(deps, config, { layout, recordPath }));
}

interface NewPool {
  readonly layout: PoolLayout;
  /** Where the identity is expected from now on. */
  readonly recordPath: string;
}

/** Of a pool that was never seen before: the identity that it has, or a new one. */
async function record(deps: IdentityDeps, config: PoolConfig, pool: NewPool): Promise<IdentifiedPool> {
  const { files } = deps;
  const { layout, recordPath } = pool;
  const uuid = (await readUuid(files, layout.identity)) ?? (await initialise(deps, config, layout));
  deps.claim(config.name, uuid);
  await ensureDirectory(files, dirname(recordPath), WRAPPER_MODE);
  await replaceFile(files, recordPath, encode(uuid), RECORD_MODE);
  deps.log.info("pool recorded", { pool: config.name, path: layout.root, uuid });
  return { uuid, layout };
}

/** Two processes that make one directory a pool at the same time would each give it an identity. */
async function alone<T>(
  { files, hold }: IdentityDeps,
  config: PoolConfig,
  root: string,
  work: () => Promise<T>,
): Promise<T> {
  const { dev, ino } = await files.stat(root);
  const held = await hold(`trivet/new-pool/${dev}-${ino}`).catch((error) => {
    if (!isKind(error, "conflict")) throw error;
    throw away(config, "another process on this node is making it a pool: try again", error);
  });
  try {
    return await work();
  } finally {
    await held.release();
  }
}

/** The pool's directory without symbolic links, made where it is missing and may be. */
async function realRoot(files: Files, config: PoolConfig, mayMake: boolean): Promise<string> {
  try {
    return await files.realPath(config.path);
  } catch (error) {
    if (!mayMake || !isKind(error, "not-found")) {
      throw away(config, `its directory cannot be reached: ${(error as Error).message}`, error);
    }
  }
  await ensureDirectory(files, config.path, WRAPPER_MODE);
  return files.realPath(config.path);
}

/** One look: throws `unavailable` unless the disk that lies under the pool's path now carries this identity. */
export async function requireIdentity(
  files: Files,
  config: PoolConfig,
  { uuid, layout, seen }: IdentifiedPool,
): Promise<void> {
  // The file that was read when the pool was opened: what was in it is in it still.
  if (
    seen &&
    (await files.stat(layout.identity).then(
      (now) => isSameFile(now, seen),
      () => false,
    ))
  )
    return;
  const present = await readUuid(files, layout.identity).catch((error) => {
    throw away(config, `its identity cannot be read: ${(error as Error).message}`, error);
  });
  if (present === uuid) return;
  throw away(
    config,
    present === undefined
      ? `${config.path} carries no identity: is its disk mounted?`
      : `${config.path} is another pool's disk (${present}, expected ${uuid}): mount the right one`,
  );
}

/** Whoever can rename what is in the root of a pool can give anybody's volume to anybody. */
async function requireOwnRoot(deps: IdentityDeps, config: PoolConfig, root: string): Promise<void> {
  await ensureDirectory(deps.files, deps.stateDir, WRAPPER_MODE);
  const [pool, own] = await Promise.all([deps.files.stat(root), deps.files.stat(deps.stateDir)]);
  if (pool.uid !== own.uid) {
    throw away(
      config,
      `${root} belongs to user ${pool.uid}, not to ${own.uid}: run "chown ${own.uid} ${root}"`,
    );
  }
  const isOpen = (pool.mode & 0o022) !== 0 && (pool.mode & STICKY) === 0;
  if (isOpen) throw away(config, `others may change what is in ${root}: run "chmod go-w ${root}"`);
}

/** An unmounted disk would leave an empty directory of the host's own file system, which must not become the pool. */
async function requireOwnFileSystem(deps: IdentityDeps, config: PoolConfig, root: string): Promise<void> {
  if (!config.requireMount) return;
  await ensureDirectory(deps.files, deps.stateDir, WRAPPER_MODE);
  const [pool, host] = await Promise.all([deps.files.stat(root), deps.files.stat(deps.stateDir)]);
  if (pool.dev !== host.dev) return;
  throw away(
    config,
    `${config.path} is on the file system of the state directory, so its disk is not mounted; set requireMount=false if that is meant`,
  );
}

async function initialise(deps: IdentityDeps, config: PoolConfig, layout: PoolLayout): Promise<string> {
  const { files } = deps;
  const foreign = (await files.list(layout.root)).filter(({ name }) => !harmless.has(name));
  const volumes = await files.list(layout.volumes).catch((error) => {
    if (isKind(error, "not-found")) return [];
    throw error;
  });
  const [found] = [...foreign, ...volumes];
  if (found) {
    throw away(config, `${config.path} was never a pool and holds "${found.name}": give an empty directory`);
  }
  const uuid = deps.randomUuid();
  for (const path of ownDirectories(layout)) {
    await ensureDirectory(files, path, WRAPPER_MODE);
  }
  await replaceFile(files, layout.identity, encode(uuid), RECORD_MODE);
  // The identity must be on the disk before it is expected anywhere: else a power cut makes the pool unusable.
  await files.sync(layout.root);
  await files.sync(dirname(layout.root));
  return uuid;
}

function encode(uuid: string): Buffer {
  return Buffer.from(`${JSON.stringify({ formatVersion: FORMAT_VERSION, uuid })}\n`);
}

/** The uuid in an identity file, undefined where there is no file. */
async function readUuid(files: Files, path: string): Promise<string | undefined> {
  let content: Buffer;
  try {
    content = await files.read(path);
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    throw error;
  }
  const uuid = parseUuid(content.toString());
  if (uuid) return uuid;
  throw refusal("unavailable", path, `${path} is not the identity of a pool: repair or remove it`);
}

function parseUuid(text: string): string | undefined {
  try {
    const { formatVersion, uuid } = Object(JSON.parse(text)) as Record<string, unknown>;
    const isOurs = formatVersion === FORMAT_VERSION && typeof uuid === "string" && uuidPattern.test(uuid);
    return isOurs ? uuid : undefined;
  } catch {
    return undefined;
  }
}

function away(config: PoolConfig, why: string, cause?: unknown) {
  return refusal("unavailable", config.name, `pool "${config.name}" is unavailable: ${why}`, cause);
}
