/** The three services put together, apart from the socket: what the server serves and what the fault sweeps drive. */
import type { Handlers, UnaryHandler } from "../host/grpc.ts";
import type { Log } from "../observe/log.ts";
import { createOpenBackends } from "./backend/open.ts";
import { atEdge, type CallReport, type Handler, ownCall } from "./call.ts";
import { deleteVolumeHandler } from "./controller/delete-volume.ts";
import { createController } from "./controller.ts";
import type { CsiDeps } from "./deps.ts";
import { createIdentity } from "./identity.ts";
import { createKeyedLock } from "./keyed-lock.ts";
import type { InlineSettings } from "./node/inline.ts";
import { createNode } from "./node.ts";
import type { PoolChoice, PoolConfig } from "./pool/config.ts";
import type { PoolStatus } from "./pool/pool.ts";
import { createPools } from "./pool/pools.ts";
import { refusal } from "./refusal.ts";
import { type CopySample, createCopies } from "./snapshot/copies.ts";
import { createSources } from "./snapshot/sources.ts";
import { createStorageAdmin, type StorageAdmin } from "./storage-admin.ts";
import { createDeletedVolumes, type DeletedVolumes } from "./volume/deleted-volumes.ts";
import type { VolumeRecord } from "./volume/record.ts";

/** Everything that a driver is made of. */
export interface DriverOptions {
  readonly nodeId: string;
  readonly driverVersion: string;
  readonly pools: readonly PoolConfig[];
  /** How a pool is chosen where a class leaves it open. */
  readonly poolChoice?: PoolChoice;
  /** What inline volumes of pods may be; absent where there are to be none. */
  readonly inline?: InlineSettings;
  /** The kubelet's directory: targets lie below it, and nowhere else. */
  readonly kubeletRoot: string;
  /** Where the identities of the pools are remembered. Must outlive a reboot. */
  readonly stateDir: string;
  readonly deps: Omit<CsiDeps, "serve">;
  readonly log: Log;
  readonly onCall?: (call: CallReport) => void;
  /** Told of copies for snapshots, restores and clones, for metrics. */
  readonly onCopy?: (sample: CopySample) => void;
  /** How long a call waits for its copy before it answers ABORTED, in milliseconds: less than its caller waits. */
  readonly copyWaitMs?: number;
  /** How long no volume has been made or deleted before removals start, in milliseconds; absent: they start at once. */
  readonly trashQuietMs?: number;
  /** Whether GetSnapshot is offered: older conformance tools take its capability for an error. */
  readonly getSnapshot?: boolean;
}

/** A driver without its socket. */
export interface Driver {
  readonly handlers: Handlers;
  /** The scan at the start; Probe says "ready" when it is over. Never throws: a pool that is away opens later. */
  scan(): Promise<void>;
  pools(): Promise<readonly PoolStatus[]>;
  readonly deleted: DeletedVolumes;
  /** What administrators may ask. */
  readonly admin: StorageAdmin;
  /** Gives copies up; resolves when neither a copy nor a removal is running any more. */
  stop(): Promise<void>;
}

/** Methods of the specification that this driver refuses; its capabilities say the same. */
const notOffered: Readonly<Record<string, readonly string[]>> = {
  Controller: [
    ...["ControllerPublishVolume", "ControllerUnpublishVolume", "ControllerExpandVolume"],
    ...["GetSnapshot", "ControllerModifyVolume"],
  ],
};

/** Throws `invalid` for a node id or for pools that cannot be used. */
export function createDriver(options: DriverOptions): Driver {
  const { deps, log, nodeId, driverVersion, kubeletRoot, stateDir } = options;
  const lock = createKeyedLock();
  const openBackends = createOpenBackends(deps);
  let ready = false;
  /** Those of the scan at the start; undefined when it is over. */
  let inlineFound: VolumeRecord[] | undefined = [];
  const pools = createPools(
    {
      ...{ ...deps, log, stateDir, openBackends, isBusy: lock.isHeld },
      ...(options.poolChoice ? { choice: options.poolChoice } : {}),
      ...(options.trashQuietMs === undefined ? {} : { trashQuietMs: options.trashQuietMs }),
      onVolume(record) {
        if (!record.ephemeral) return;
        if (inlineFound) inlineFound.push(record);
        else void node.sweep([record]);
      },
    },
    options.pools,
  );
  const copies = createCopies({
    ...{ clock: deps.clock, log },
    ...(options.copyWaitMs === undefined ? {} : { callWaitMs: options.copyWaitMs }),
    ...(options.onCopy ? { onCopy: options.onCopy } : {}),
  });
  const shared = { ...deps, log, pools, lock, nodeId, copies, sources: createSources() };
  const node = createNode({ ...shared, kubeletRoot, inline: options.inline });
  const services: Readonly<Record<string, Readonly<Record<string, Handler<never>>>>> = {
    Identity: createIdentity({ driverVersion, isReady: () => ready }),
    Controller: createController(shared, { getSnapshot: options.getSnapshot ?? false }),
    Node: node.handlers,
  };
  const deleted = createDeletedVolumes(shared);
  const remove = deleteVolumeHandler(shared);
  const admin = createStorageAdmin({
    ...{ ...shared, deleted, kubeletRoot },
    deleteVolume: async (volume_id) => {
      await remove({ volume_id }, ownCall);
    },
  });
  const edge = { ...deps, log, ...(options.onCall ? { onCall: options.onCall } : {}) };
  const wrap = (service: string, method: string, handler: Handler<never>): [string, UnaryHandler] => [
    method,
    atEdge(edge, `${service}.${method}`, handler),
  ];
  const handlers = Object.entries(services).map(([service, methods]) => {
    const missing = (notOffered[service] ?? [])
      .filter((method) => !methods[method])
      .map((method) => [method, refuse(method)] as const);
    const all = [...Object.entries(methods), ...missing];
    return [service, Object.fromEntries(all.map(([method, handler]) => wrap(service, method, handler)))];
  });
  return {
    handlers: Object.fromEntries(handlers),
    async scan() {
      await pools.openAll();
      const found = inlineFound ?? [];
      inlineFound = undefined;
      await node.sweep(found);
      ready = true;
    },
    pools: pools.status,
    ...{ deleted, admin },
    async stop() {
      await copies.stop();
      await pools.stop();
    },
  };
}

function refuse(method: string): Handler<never> {
  return async () => {
    throw refusal("unsupported", method, `${method} is not offered: the capabilities say what is`);
  };
}
