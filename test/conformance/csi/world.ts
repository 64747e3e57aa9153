/** One driver as the rules see it: its socket, what it says it can, and a record of what has to be taken away again. */
import { randomBytes } from "node:crypto";
import { mkdir, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ServiceError } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import { type CsiClient, createCsiClient } from "./client.ts";
import type { AccessType } from "./rule.ts";

export interface WorldOptions {
  /** The path of the driver's socket. */
  readonly socket: string;
  /** Staging and target paths are made below these; the driver must see them at the same paths. */
  readonly stagingDir: string;
  readonly targetDir: string;
  readonly access: AccessType;
  readonly fsType?: string;
  readonly sizeBytes: number;
  /** Of the StorageClass and of the VolumeSnapshotClass. */
  readonly parameters?: Readonly<Record<string, string>>;
  readonly snapshotParameters?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}

export interface Volume {
  readonly volume_id: string;
  readonly capacity_bytes: string;
  readonly volume_context: Readonly<Record<string, string>>;
  readonly content_source: object | null;
  readonly accessible_topology: readonly { readonly segments: Readonly<Record<string, string>> }[];
}

export interface Snapshot {
  readonly snapshot_id: string;
  readonly source_volume_id: string;
  readonly size_bytes: string;
  readonly creation_time: { readonly seconds: string } | null;
  readonly ready_to_use: boolean;
}

/** Where one pod has one volume. */
export interface Place {
  readonly staging: string;
  readonly target: string;
}

export interface Outcome {
  /** `OK` or the name of a gRPC status. */
  readonly code: string;
  readonly details: string;
}

export interface World {
  readonly options: WorldOptions;
  has(capability: string): boolean;
  call<Response>(method: string, request?: object): Promise<Response>;
  outcome(method: string, request?: object): Promise<Outcome>;
  name(prefix: string): string;
  capability(mode?: string, changes?: object): object;
  createRequest(changes?: object): Record<string, unknown>;
  create(changes?: object): Promise<Volume>;
  /** A volume that the rule itself created goes at the end, too. */
  adopt(volume: Volume): Volume;
  snapshotRequest(volume: Volume, changes?: object): Record<string, unknown>;
  snapshot(volume: Volume, changes?: object): Promise<Snapshot>;
  /** New paths: the parents exist, and the staging directory, as the kubelet makes them. */
  place(of?: Place): Promise<Place>;
  stageRequest(volume: Volume, place: Place, changes?: object): Record<string, unknown>;
  publishRequest(volume: Volume, place: Place, changes?: object): Record<string, unknown>;
  /** Stages where the driver stages, and publishes. */
  publish(volume: Volume, place: Place, changes?: object): Promise<void>;
  unpublish(volume: Volume, place: Place): Promise<void>;
  stage(volume: Volume, place: Place, changes?: object): Promise<void>;
  unstage(volume: Volume, place: Place): Promise<void>;
  /** Takes away what was made; throws what could not be. */
  cleanUp(): Promise<void>;
}

/** A connection that all rules of a run share. */
export interface Connection {
  readonly client: CsiClient;
  readonly capabilities: ReadonlySet<string>;
  readonly driver: string;
  close(): void;
}

interface CapabilitiesResponse {
  readonly capabilities: readonly {
    readonly rpc?: { readonly type: string } | null;
    readonly service?: { readonly type: string } | null;
    readonly volume_expansion?: { readonly type: string } | null;
  }[];
}

/** Connects and asks the driver what it can. */
export async function connect(socket: string, deadlineMs?: number): Promise<Connection> {
  const client = createCsiClient(socket, deadlineMs);
  const { name } = await client.call<{ name: string }>("Identity", "GetPluginInfo");
  const plugin = await client.call<CapabilitiesResponse>("Identity", "GetPluginCapabilities");
  const capabilities = new Set<string>();
  for (const { service, volume_expansion } of plugin.capabilities) {
    if (service) capabilities.add(`plugin:${service.type}`);
    if (volume_expansion) capabilities.add(`plugin:${volume_expansion.type}`);
  }
  const ask = async (service: string, prefix: string) => {
    const answer = await client.call<CapabilitiesResponse>(service, `${service}GetCapabilities`);
    for (const { rpc } of answer.capabilities) if (rpc) capabilities.add(`${prefix}:${rpc.type}`);
  };
  if (capabilities.has("plugin:CONTROLLER_SERVICE")) await ask("Controller", "controller");
  await ask("Node", "node");
  return { client, capabilities, driver: name, close: () => client.close() };
}

function serviceOf(method: string): string {
  if (["GetPluginInfo", "GetPluginCapabilities", "Probe"].includes(method)) return "Identity";
  return method.startsWith("Node") ? "Node" : "Controller";
}

/** A world for one rule. */
export function createWorld({ client, capabilities }: Connection, options: WorldOptions): World {
  const undo: (() => Promise<unknown>)[] = [];
  const call = <Response>(method: string, request: object = {}) =>
    client.call<Response>(serviceOf(method), method, request);
  const has = (capability: string) => capabilities.has(capability);
  const world: World = {
    options,
    has,
    call,
    async outcome(method, request) {
      try {
        await call(method, request);
        return { code: "OK", details: "" };
      } catch (error) {
        const { code, details } = error as ServiceError;
        return { code: status[code] ?? String(code), details };
      }
    },
    name: (prefix) => `conformance-${prefix}-${randomBytes(6).toString("hex")}`,
    ...requests(options, () => world),
    async create(changes) {
      const request = world.createRequest(changes);
      return world.adopt((await call<{ volume: Volume }>("CreateVolume", request)).volume);
    },
    adopt(volume) {
      undo.push(() => call("DeleteVolume", { volume_id: volume.volume_id }));
      return volume;
    },
    async snapshot(volume, changes) {
      const request = world.snapshotRequest(volume, changes);
      const { snapshot } = await call<{ snapshot: Snapshot }>("CreateSnapshot", request);
      undo.push(() => call("DeleteSnapshot", { snapshot_id: snapshot.snapshot_id }));
      return snapshot;
    },
    async place(of) {
      const unique = randomBytes(6).toString("hex");
      const staging = of?.staging ?? join(options.stagingDir, unique);
      const target = join(options.targetDir, unique, "target");
      await mkdir(staging, { recursive: true });
      await mkdir(dirname(target), { recursive: true });
      undo.push(async () => {
        await rmdir(dirname(target));
        if (!of) await rmdir(staging).catch(ignoreMissing);
      });
      return { staging, target };
    },
    ...publishing({ call, undo, has }, () => world),
    async cleanUp() {
      const failures: string[] = [];
      for (const step of undo.splice(0).reverse()) {
        await step().catch((error: Error) => failures.push(error.message));
      }
      if (failures.length > 0) throw new Error(`taking away what the rule made: ${failures.join("; ")}`);
    },
  };
  return world;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

type Requests = Pick<
  World,
  "capability" | "createRequest" | "snapshotRequest" | "stageRequest" | "publishRequest"
>;

function requests(options: WorldOptions, world: () => World): Requests {
  return {
    capability(mode = "SINGLE_NODE_WRITER", changes = {}) {
      const access =
        options.access === "block" ? { block: {} } : { mount: { fs_type: options.fsType ?? "" } };
      return { ...access, access_mode: { mode }, ...changes };
    },
    createRequest: (changes = {}) => ({
      name: world().name("volume"),
      volume_capabilities: [world().capability()],
      capacity_range: { required_bytes: options.sizeBytes },
      parameters: { ...options.parameters },
      ...changes,
    }),
    snapshotRequest: ({ volume_id }, changes = {}) => ({
      name: world().name("snapshot"),
      source_volume_id: volume_id,
      parameters: { ...options.snapshotParameters },
      ...changes,
    }),
    stageRequest: ({ volume_id, volume_context }, { staging }, changes = {}) => ({
      ...{ volume_id, volume_context, staging_target_path: staging },
      ...{ volume_capability: world().capability(), ...changes },
    }),
    publishRequest: ({ volume_id, volume_context }, { staging, target }, changes = {}) => ({
      ...{ volume_id, volume_context, target_path: target },
      ...(world().has("node:STAGE_UNSTAGE_VOLUME") ? { staging_target_path: staging } : {}),
      ...{ volume_capability: world().capability(), ...changes },
    }),
  };
}

interface Tools {
  readonly call: World["call"];
  readonly undo: (() => Promise<unknown>)[];
  readonly has: World["has"];
}

function publishing({ call, undo, has }: Tools, world: () => World) {
  const unstage = ({ volume_id }: Volume, { staging }: Place) =>
    call("NodeUnstageVolume", { volume_id, staging_target_path: staging });
  const unpublish = ({ volume_id }: Volume, { target }: Place) =>
    call("NodeUnpublishVolume", { volume_id, target_path: target });
  return {
    async stage(volume, place, changes) {
      if (!has("node:STAGE_UNSTAGE_VOLUME")) return;
      undo.push(() => unstage(volume, place));
      const shared = { ...changes } as Record<string, unknown>;
      delete shared.readonly;
      await call("NodeStageVolume", world().stageRequest(volume, place, shared));
    },
    async publish(volume, place, changes) {
      await world().stage(volume, place, changes);
      undo.push(() => unpublish(volume, place));
      await call("NodePublishVolume", world().publishRequest(volume, place, changes));
    },
    async unpublish(volume, place) {
      await unpublish(volume, place);
    },
    async unstage(volume, place) {
      if (has("node:STAGE_UNSTAGE_VOLUME")) await unstage(volume, place);
    },
  } satisfies Pick<World, "stage" | "publish" | "unpublish" | "unstage">;
}
