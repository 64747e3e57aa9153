/**
 * One pool: closed until its disk is known to be the right one, then open, and checked again at every use. It opens
 * and closes by itself as the disk comes and goes; whoever uses it asks each time and holds on to nothing.
 */
import { asTrivetError, type TrivetError } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { HoldName } from "../../host/exclusive.ts";
import type { Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import type { Backend, BackendName, PlacedVolume } from "../backend/backend.ts";
import type { OpenBackends, PoolBackends } from "../backend/open.ts";
import { refusal } from "../refusal.ts";
import type { VolumeId } from "../volume/id.ts";
import { readVolume } from "../volume/read.ts";
import type { VolumeRecord } from "../volume/record.ts";
import { linkByName, sweepByName } from "./by-name.ts";
import type { BackendSetting, PoolConfig } from "./config.ts";
import { createExclusiveClaim, type ExclusiveClaim } from "./exclusive-claim.ts";
import { type IdentifiedPool, identifyPool, requireIdentity } from "./identity.ts";
import { type PoolLayout, wrapperOf } from "./layout.ts";
import { createLedger, type Ledger, type Room } from "./ledger.ts";
import { readInTrash } from "./remains.ts";
import { bytesLeft } from "./room-left.ts";
import { readmit, type ScanResult, scanPool } from "./scan.ts";
import { createTrash, type Trash } from "./trash.ts";
import { countKeys } from "./trash-name.ts";

/** What can be done with a pool whose disk is there. Good for one operation. */
export interface OpenPool {
  readonly name: string;
  readonly uuid: string;
  readonly layout: PoolLayout;
  readonly ledger: Ledger;
  readonly trash: Trash;
  readonly config: PoolConfig;
  /** What new volumes are made of. */
  readonly backend: Backend;
  /** What this volume is made of, which may be another kind than is configured now. */
  backendOf(record: Pick<VolumeRecord, "backend">): Backend;
  /** The record of a volume, as `readVolume`; one that was set apart and can be read again is counted once more. */
  read(id: VolumeId): Promise<VolumeRecord | undefined>;
  /** A volume of this pool, in its place below `volumes`. */
  place(record: VolumeRecord): PlacedVolume;
  /** Names in `volumes` that cannot be used, with the reason. */
  readonly quarantined: ReadonlyMap<string, string>;
  /** What is left to give, as of now. */
  room(): Promise<Room>;
}

/** A pool as it is reported: `trivet storage pools`, metrics, health. */
export interface PoolStatus {
  readonly name: string;
  readonly path: string;
  /** What new volumes are made of; the setting while the pool is away. */
  readonly backend: BackendName | BackendSetting;
  /** Whether writers are stopped at the size of their volume; absent while the pool is away. */
  readonly enforced?: boolean;
  /** One phrase for people, such as `XFS project quota`. */
  readonly how?: string;
  /** Why writers are not stopped although they could be, and which command would change that. */
  readonly advice?: string;
  /** The first half of `advice`: why, and no command. */
  readonly lacks?: string;
  /** Whether images take space only as they are written to, so that it may be gone by then. */
  readonly sparse?: boolean;
  readonly state: "ready" | "unavailable";
  /** Why it is unavailable. */
  readonly reason?: string;
  readonly uuid?: string;
  readonly budgetBytes?: number;
  /** What volumes, and remains in the trash, add up to. */
  readonly reservedBytes: number;
  /** What a new volume could have now. */
  readonly availableBytes: number;
  readonly volumes: number;
  readonly trashed: number;
  /** Whether it gets no new volumes. */
  readonly drain?: boolean;
  /** Directories in `volumes/` that cannot be used, and are left alone. */
  readonly quarantined: readonly string[];
}

/** What was read, of a pool that is still the right one. */
export interface Looked<T> {
  readonly pool: OpenPool;
  readonly found: T;
}

/** One configured pool, open or not. */
export interface Pool {
  readonly config: PoolConfig;
  /** What is known to be in it without looking: right as of the last look, also while the pool is away. */
  readonly ledger: Ledger;
  /** The pool, open; `unavailable` with the reason otherwise. Never waits for anything but the disk. */
  use(): Promise<OpenPool>;
  /** `use` and a reading of the pool at the same time, which calls wait for once: what another disk says is dropped. */
  look<T>(read: (pool: OpenPool) => Promise<T>): Promise<Looked<T>>;
  status(): Promise<PoolStatus>;
  /** No further removal from the trash starts; resolves when the present one is through. */
  stop(): Promise<void>;
}

/** What a pool needs of the host, and of the process around it. */
export interface PoolDeps {
  readonly files: Files;
  readonly log: Log;
  readonly clock: Clock;
  readonly openBackends: OpenBackends;
  readonly stateDir: string;
  randomUuid(): string;
  isBusy(id: string): boolean;
  /** How long no volume has been made or deleted before the trash is emptied; absent: it is emptied at once. */
  readonly trashQuietMs?: number;
  /** Told of every whole volume that is found when a pool is opened. */
  onVolume?(record: VolumeRecord): void;
  /** Keeps other processes of the machine away from a pool while this one works on it. */
  readonly hold: HoldName;
  /** Throws `unavailable` if a pool of another name has this identity: two would count one disk twice. */
  claim(pool: string, uuid: string): void;
}

type Opened = OpenPool & {
  readonly scan: ScanResult;
  readonly identity: IdentifiedPool;
  readonly advice: string | undefined;
  readonly lacks: string | undefined;
};

/** A pool that is closed until it is first used. Does nothing by itself. */
export function createPool(deps: PoolDeps, config: PoolConfig): Pool {
  const log = deps.log.child({ pool: config.name });
  // One for the life of the process: an operation that outlives a closing still settles its account here.
  const ledger = createLedger(config.name);
  let trash: Trash | undefined;
  let opened: Opened | undefined;
  let opening: Promise<Opened> | undefined;
  const claim = createExclusiveClaim(deps.hold, config.name);
  const close = (error: unknown): never => {
    const { message } = asTrivetError(error, "pool.use", config.name);
    if (opened) log.error("pool closed", { error: message });
    trash?.stop();
    opened = undefined;
    throw error;
  };
  const reopen = async (): Promise<Opened> => {
    try {
      await trash?.idle();
      opened = await openPool({ ...deps, log }, config, { ledger, claim });
      trash = opened.trash;
      return opened;
    } catch (error) {
      throw asUnavailable(config.name, error);
    } finally {
      opening = undefined;
    }
  };
  const use = async (): Promise<Opened> => {
    const present = opened;
    if (present) {
      await requireIdentity(deps.files, config, present.identity).catch(close);
      if (present === opened) return present;
    }
    opening ??= reopen();
    return opening;
  };
  const look = async <T>(read: (pool: OpenPool) => Promise<T>): Promise<Looked<T>> => {
    const present = opened;
    const early = present && read(present);
    early?.catch(() => undefined); // its failure counts only if the disk is the right one
    const pool = await use();
    return { pool, found: await (early && pool === present ? early : read(pool)) };
  };
  return {
    config,
    ledger,
    use,
    look,
    status: () => use().then(describe(config), (error) => describeClosed(config, error)),
    async stop() {
      await opening?.catch(() => undefined);
      trash?.stop();
      await trash?.idle();
      await claim.release();
    },
  };
}

/** A pool that cannot be opened is away, whatever the reason: the caller is to try again, not to give up. */
function asUnavailable(pool: string, error: unknown): TrivetError {
  const known = asTrivetError(error, "pool.open", pool);
  if (known.kind === "unavailable" || known.kind === "bug") return known;
  return refusal("unavailable", pool, `pool "${pool}" is unavailable: ${known.message}`, known);
}

interface Account {
  readonly ledger: Ledger;
  readonly claim: ExclusiveClaim;
}

async function openPool(deps: PoolDeps, config: PoolConfig, { ledger, claim }: Account): Promise<Opened> {
  const { files, log } = deps;
  const identity = await identifyPool(deps, config);
  const { layout, uuid } = identity;
  await claim.take(uuid);
  const backends = await deps.openBackends({ config, layout, log });
  const { chosen } = backends;
  await sweepByName(deps, layout);
  const onVolume = async (record: VolumeRecord) => {
    await linkByName(deps, layout, record);
    deps.onVolume?.(record);
  };
  const scanning = { ...deps, onVolume };
  const scan = await scanPool(scanning, { layout, ledger, backends });
  const dismantle = (wrapper: string) => dismantleRemains(files, backends, wrapper);
  const room = async (): Promise<Room> => {
    const { totalBytes, availableBytes, totalInodes, freeInodes } = await files.space(layout.volumes);
    const reserve = config.reserveBytes ?? 0;
    // Not every file system counts inodes; where none is left, nothing can be made however much space there is.
    const isOutOfInodes = totalInodes > 0 && freeInodes === 0;
    return {
      limitBytes: config.budgetBytes ?? Math.max(0, totalBytes - reserve),
      availableBytes: isOutOfInodes ? 0 : Math.max(0, availableBytes - reserve),
    };
  };
  // Where more is taken than left, the room of what was deleted is soon asked for.
  const isTight = async () => bytesLeft(ledger, await room()) < ledger.reservedBytes;
  const quiet = deps.trashQuietMs === undefined ? {} : { quietMs: deps.trashQuietMs };
  const trash = createTrash({ files, log, clock: deps.clock, dismantle, isTight, ...quiet }, layout, ledger);
  for (const [entry, untilMs] of scan.kept) trash.keep(entry, untilMs);
  trash.kick();
  log.info("pool open", {
    ...{ path: layout.root, uuid, volumes: scan.volumes, reservedBytes: ledger.reservedBytes },
    ...{ backend: chosen.name, how: chosen.how, quarantined: [...scan.quarantined.keys()] },
  });
  if (!chosen.enforced) {
    log.warn("pool without limits: sizes are accounted for, but nothing stops a volume from growing", {
      ...{ path: config.path, reason: backends.finding.advice },
    });
  }
  const { quarantined } = scan;
  const place = (record: VolumeRecord) => ({ wrapper: wrapperOf(layout, record.id), record });
  const read = async (id: VolumeId) => {
    const record = await readVolume(files, layout, id);
    if (record) await readmit(scanning, { layout, ledger, backends, quarantined }, place(record));
    return record;
  };
  return {
    ...{ name: config.name, config, uuid, layout, ledger, trash, room, scan, identity },
    ...{ advice: backends.finding.advice, lacks: backends.finding.lacks },
    ...{ backend: chosen, backendOf: backends.of, quarantined, read, place },
  };
}

/** What has lost its record has been taken apart before: that comes first. */
async function dismantleRemains(files: Files, backends: PoolBackends, wrapper: string): Promise<void> {
  const record = await readInTrash(files, wrapper);
  await (record ? backends.of(record) : backends.chosen).dismantle(wrapper);
}

function describe(config: PoolConfig): (pool: Opened) => Promise<PoolStatus> {
  return async ({ uuid, ledger, room, scan, backend, advice, lacks }) => {
    const at = await room();
    const { name, enforced, how } = backend;
    return {
      ...{ name: config.name, path: config.path, backend: name, enforced, how, state: "ready", uuid },
      ...(advice === undefined ? {} : { advice }),
      ...(lacks === undefined ? {} : { lacks }),
      ...(name === "image" && config.preallocate === false ? { sparse: true } : {}),
      ...(config.budgetBytes === undefined ? {} : { budgetBytes: config.budgetBytes }),
      ...(config.drain ? { drain: true } : {}),
      reservedBytes: ledger.reservedBytes,
      availableBytes: bytesLeft(ledger, at),
      ...{ ...countKeys(ledger.entries().keys()), quarantined: [...scan.quarantined.keys()].sort() },
    };
  };
}

function describeClosed(config: PoolConfig, error: unknown): PoolStatus {
  return {
    ...{ name: config.name, path: config.path, backend: config.backend, state: "unavailable" },
    reason: asTrivetError(error, "pool.use", config.name).message,
    ...(config.budgetBytes === undefined ? {} : { budgetBytes: config.budgetBytes }),
    ...{ reservedBytes: 0, availableBytes: 0, volumes: 0, trashed: 0, quarantined: [] },
  };
}
