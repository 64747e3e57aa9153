/**
 * A node in memory for fault sweeps: fake files and mounts, the driver on top without its socket, one hook for every
 * effect of both, and what must be true of the disk at any time.
 */
import { expect } from "vitest";
import { createDriver, type Driver, type DriverOptions } from "../../src/csi/driver.ts";
import type { PoolConfig } from "../../src/csi/pool/config.ts";
import type { PoolStatus } from "../../src/csi/pool/pool.ts";
import { silentLog } from "../../src/observe/log.ts";
import { createFakeClock, type FakeClock } from "../fakes/clock.ts";
import { createFakeCopier, type FakeCopier } from "../fakes/copier.ts";
import { createFakeCsiEffects } from "../fakes/csi-effects.ts";
import { createFakeFiles, type FakeFiles, type Survival } from "../fakes/files.ts";
import { createFakeMounts, type FakeMounts } from "../fakes/mount.ts";

export const POOL = "/disk/pool";
export const TARGET = "/kubelet/pods/a/mount";
/** The inline volume of a pod, as the kubelet calls it. */
export const INLINE_ID = `csi-${"0".repeat(64)}`;
export const SIZE = 1_000;
/** What volumes are enlarged to. */
export const GROWN_SIZE = 2_000;
const GIB = 2 ** 30;

const config: PoolConfig = {
  ...{ name: "default", path: POOL, backend: "directory", budgetBytes: 10 * GIB, requireMount: false },
};

export interface World {
  readonly files: FakeFiles;
  readonly mounts: FakeMounts;
  readonly copier: FakeCopier;
  readonly clock: FakeClock;
  readonly driver: Driver;
  call<Response>(method: string, request?: object): Promise<Response>;
  /** The only pool's status when nothing is being removed any more. */
  settled(): Promise<PoolStatus>;
}

/** Settings of the driver other than those of every test. */
export type Changes = Partial<DriverOptions>;

/** A new node whose driver has not started its scan. */
export function createWorld(changes: Changes = {}): World {
  const files = createFakeFiles({
    directories: ["/disk", "/state", "/kubelet/pods/a", "/kubelet/pods/b", "/kubelet/staging"],
  });
  return build(files, createFakeMounts({ files, busy: files }), changes);
}

/** The same node after a crash: only the process died if everything survives, else the power was cut. */
export async function restart(world: World, survival: Survival): Promise<World> {
  const files = world.files.crash(survival);
  const powerCut = survival !== "everything";
  const next = build(files, world.mounts.restart({ files, busy: files }, powerCut));
  await next.driver.scan();
  return next;
}

let uuids = 0;

function build(files: FakeFiles, mounts: FakeMounts, changes: Changes = {}): World {
  const randomUuid = () => `00000000-0000-4000-8000-${String(++uuids).padStart(12, "0")}`;
  const [copier, clock] = [createFakeCopier(files), createFakeClock()];
  const driver = createDriver({
    ...{ nodeId: "node-1", driverVersion: "0", pools: [config], kubeletRoot: "/kubelet", stateDir: "/state" },
    inline: { maxBytes: GIB },
    deps: { ...createFakeCsiEffects(files), mounts, copier, clock, randomUuid },
    log: silentLog,
    ...changes,
  });
  return {
    files,
    mounts,
    copier,
    clock,
    driver,
    call: async <Response>(method: string, request: object = {}) => {
      const [service = "", name = ""] = method.split(".");
      const handler = driver.handlers[service]?.[name];
      if (!handler) throw new Error(`no method ${method}`);
      return (await handler(request, { signal: new AbortController().signal })) as Response;
    },
    async settled() {
      const [status] = await driver.pools();
      if (!status) throw new Error("there is one pool");
      await idle(driver);
      return (await driver.pools())[0] ?? status;
    },
  };
}

/** Waits for the trash: fakes answer in microtasks, so a few turns of the loop are enough. */
async function idle(driver: Driver): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    if ((await driver.pools())[0]?.trashed === 0) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Calls `hook` before and after every effect on files and mounts. */
export function watch(world: World, hook: ((effect: string) => void) | undefined): void {
  const effect = (op: string, path: string, when: string, from?: string) =>
    hook?.(`${when} ${op} ${from ? `${from} -> ` : ""}${path}`);
  world.files.onEffect = hook && effect;
  world.mounts.onEffect = hook && effect;
}

/** Whether an effect, as `watch` tells it, leaves the disk and the mount table as they are. */
export function isReading(effect: string): boolean {
  return /file\.(read|readlink|stat|list|space|realpath|open)|mount\.list/.test(effect);
}

export const mount = { mount: { fs_type: "", mount_flags: [], volume_mount_group: "" }, block: null };
/** Where the kubelet stages a volume: it makes the directory itself. */
export function stagingOf(volumeId: string): string {
  return `/kubelet/staging/${volumeId}`;
}

const writer = { ...mount, access_mode: { mode: "SINGLE_NODE_WRITER" } };

export const requests = {
  create: (name: string, parameters: Readonly<Record<string, string>> = {}) => ({
    ...{ name, parameters, mutable_parameters: {}, volume_capabilities: [writer] },
    capacity_range: { required_bytes: String(SIZE), limit_bytes: "0" },
    ...{ volume_content_source: null, accessibility_requirements: null },
  }),
  stage: (volume_id: string) => ({
    ...{ volume_id, staging_target_path: stagingOf(volume_id), volume_capability: writer },
  }),
  publish: (volume_id: string, target_path: string) => ({
    ...{ volume_id, target_path, volume_capability: writer, readonly: false, volume_context: {} },
    staging_target_path: stagingOf(volume_id),
  }),
  publishInline: (target_path: string) => ({
    ...{ volume_id: INLINE_ID, target_path, volume_capability: writer, readonly: false },
    staging_target_path: "",
    volume_context: { "csi.storage.k8s.io/ephemeral": "true", size: String(SIZE) },
  }),
  expand: (volume_id: string, bytes: number) => ({
    ...{ volume_id, volume_path: TARGET },
    capacity_range: { required_bytes: String(bytes), limit_bytes: "0" },
  }),
};

export async function create(
  world: World,
  name: string,
  parameters?: Readonly<Record<string, string>>,
): Promise<string> {
  const { volume } = await world.call<{ volume: { volume_id: string } }>(
    "Controller.CreateVolume",
    requests.create(name, parameters),
  );
  return volume.volume_id;
}

/** Creates a volume and writes into it what must never be lost. */
export async function createFilled(
  world: World,
  name: string,
  parameters?: Readonly<Record<string, string>>,
): Promise<string> {
  const id = await create(world, name, parameters);
  await world.files.create(`${POOL}/volumes/${id}/data/precious`, Buffer.from(name), 0o600);
  world.files.settle();
  return id;
}

export async function requireContent(world: World, id: string, name: string): Promise<void> {
  expect(String(await world.files.read(`${POOL}/volumes/${id}/data/precious`))).toBe(name);
}

export async function volumesOnDisk(world: World): Promise<string[]> {
  return (await world.files.list(`${POOL}/volumes`)).map(({ name }) => name).sort();
}

/** What the disk says of a volume. */
export async function recordOf(
  world: World,
  id: string,
): Promise<{ readonly sizeBytes: number; readonly ephemeral?: object }> {
  return JSON.parse(String(await world.files.read(`${POOL}/volumes/${id}/meta.json`)));
}

/** What records add up to, of volumes that can be used and of those that were deleted or retained. */
async function bytesOnDisk({ files }: World): Promise<number> {
  let bytes = 0;
  for (const directory of [`${POOL}/volumes`, `${POOL}/.pool/trash`, `${POOL}/.pool/retained`]) {
    for (const { name } of await files.list(directory)) {
      const record = await files.read(`${directory}/${name}/meta.json`).catch(() => undefined);
      // What is about to be gone may have lost its record before its reservation.
      bytes += record ? JSON.parse(String(record)).sizeBytes : SIZE;
    }
  }
  return bytes;
}

/** After a call that failed, before a retry: nothing is under construction, and every byte is accounted for. */
export async function requireAccount(world: World): Promise<void> {
  const { reservedBytes, volumes, trashed } = await world.settled();
  const inTrash = (await world.files.list(`${POOL}/.pool/trash`)).length;
  const onDisk = (await volumesOnDisk(world)).length;
  expect({ volumes, trashed, reservedBytes }).toEqual({
    ...{ volumes: onDisk, trashed: inTrash, reservedBytes: await bytesOnDisk(world) },
  });
  expect(await world.files.list(`${POOL}/.pool/staging`)).toEqual([]);
}

/** What holds whenever no call is running: whole volumes only, nothing under construction, an account that is right. */
export async function requireSound(world: World): Promise<void> {
  const status = await world.settled();
  const kept = (await world.driver.deleted.list()).filter(({ keptUntilMs }) => keptUntilMs !== undefined);
  expect(status).toMatchObject({ state: "ready", quarantined: [], trashed: kept.length });
  const ids = await volumesOnDisk(world);
  for (const id of ids) {
    const record = await recordOf(world, id);
    expect(record).toMatchObject({ id, pool: "default" });
    expect([SIZE, GROWN_SIZE]).toContain(record.sizeBytes);
    expect(await world.files.stat(`${POOL}/volumes/${id}`)).toMatchObject({ mode: 0o700 });
    expect(await world.files.stat(`${POOL}/volumes/${id}/data`)).toMatchObject({
      kind: "directory",
      mode: 0o777,
    });
  }
  expect([status.volumes, status.reservedBytes]).toEqual([ids.length, await bytesOnDisk(world)]);
  expect(await world.files.list(`${POOL}/.pool/staging`)).toEqual([]);
  expect(await world.files.list(`${POOL}/.pool/trash`)).toHaveLength(kept.length);
}
