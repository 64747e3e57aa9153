/** A mixed load on a driver, in the guest: every step is told before it begins and when it was acknowledged. */
import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { CsiClient } from "../../conformance/csi/client.ts";
import { kubeletRoot } from "../inside/node-process.ts";
import { contentOf, type Line, type Source, type WrittenFile } from "./history.ts";

const MIB = 1_048_576;
/** No more volumes than this of one worker, so that the pool does not run full. */
const MOST = 3;
export const capability = { mount: {}, access_mode: { mode: "SINGLE_NODE_WRITER" } };

/** Tells the host a line. */
export type Tell = (line: Line) => void;

/** A volume or snapshot that a worker has. */
interface Own {
  readonly name: string;
  readonly id: string;
  bytes: number;
}

/** One worker: it does one thing after another until the power goes. */
export interface Worker {
  readonly client: CsiClient;
  readonly tell: Tell;
  /** Begins the names that it gives; unique over all rounds. */
  readonly prefix: string;
  readonly pool: string;
  random(): number;
}

/** Calls until the answer is neither "busy" nor "in the background". */
export async function callUntilDone<T>(
  client: CsiClient,
  service: string,
  method: string,
  request: object,
): Promise<T> {
  const ABORTED = 10;
  for (;;) {
    try {
      return await client.call<T>(service, method, request);
    } catch (error) {
      if ((error as { code?: number }).code !== ABORTED) throw error;
      await sleep(100);
    }
  }
}

/** The request that makes a volume; the same for every repetition. */
export function createRequest(
  pool: string,
  name: string,
  bytes: number,
  from?: { kind: string; id: string },
) {
  const source =
    from?.kind === "snapshot"
      ? { volume_content_source: { snapshot: { snapshot_id: from.id } } }
      : from && { volume_content_source: { volume: { volume_id: from.id } } };
  return {
    ...{ name, volume_capabilities: [capability], parameters: { pool }, ...source },
    capacity_range: { required_bytes: bytes },
  };
}

/** Never returns by itself. */
export async function work(worker: Worker): Promise<void> {
  const { client, tell, prefix, random } = worker;
  const [volumes, snapshots]: [Own[], Own[]] = [[], []];
  for (let turn = 0; ; turn++) {
    const name = `${prefix}-${turn}`;
    const source = random() < 0.3 ? pick(random, volumes, snapshots) : undefined;
    const volume = await make(worker, name, source);
    volumes.push(volume);
    await usePod(worker, volume, `f${turn}`);
    if (random() < 0.4) {
      const line = { op: "snapshot", name: `${name}-snap`, of: volume.name } as const;
      tell({ state: "do", ...line });
      const { snapshot } = await callUntilDone<{ snapshot: { snapshot_id: string } }>(
        ...([client, "Controller", "CreateSnapshot"] as const),
        { name: line.name, source_volume_id: volume.id },
      );
      tell({ state: "ack", ...line, id: snapshot.snapshot_id });
      snapshots.push({ name: line.name, id: snapshot.snapshot_id, bytes: volume.bytes });
    }
    while (volumes.length > (random() < 0.5 ? 1 : MOST)) await remove(worker, volumes, "delete");
    while (snapshots.length > (random() < 0.5 ? 0 : 1)) await remove(worker, snapshots, "delete-snapshot");
  }
}

function pick(random: () => number, volumes: readonly Own[], snapshots: readonly Own[]) {
  const kind = random() < 0.5 ? ("volume" as const) : ("snapshot" as const);
  const from = kind === "volume" ? volumes : snapshots;
  const own = from[Math.floor(random() * from.length)];
  return own && { kind, own };
}

async function make(
  { client, tell, pool, random }: Worker,
  name: string,
  source: { kind: Source["kind"]; own: Own } | undefined,
): Promise<Own> {
  const bytes = source?.own.bytes ?? (4 + Math.floor(random() * 8)) * MIB;
  const line = { op: "create", name, bytes } as const;
  const from = source && { from: { kind: source.kind, name: source.own.name } };
  tell({ state: "do", ...line, ...from });
  const { volume } = await callUntilDone<{ volume: { volume_id: string } }>(
    ...([client, "Controller", "CreateVolume"] as const),
    createRequest(pool, name, bytes, source && { kind: source.kind, id: source.own.id }),
  );
  tell({ state: "ack", ...line, ...from, id: volume.volume_id });
  return { name, id: volume.volume_id, bytes };
}

/** The life of a pod: stage, publish, write, maybe grow and write again, and all the way back. */
async function usePod({ client, tell, random }: Worker, volume: Own, file: string): Promise<void> {
  const [staging, pod] = [`${kubeletRoot}/staging/${volume.name}`, `${kubeletRoot}/pods/${volume.name}`];
  for (const path of [staging, pod]) mkdirSync(path, { recursive: true });
  const target = `${pod}/mount`;
  const at = { volume_id: volume.id, staging_target_path: staging, volume_capability: capability };
  await callUntilDone(client, "Node", "NodeStageVolume", at);
  await callUntilDone(client, "Node", "NodePublishVolume", { ...at, target_path: target });
  const write = async (name: string) => {
    const content = { seed: Math.floor(random() * 1e9), bytes: 4 * Math.ceil(random() * 65_536) };
    const line = { op: "write", name: volume.name, file: name, content } as const;
    tell({ state: "do", ...line });
    await writeSynced(target, name, content);
    tell({ state: "ack", ...line });
  };
  await write(file);
  if (random() < 0.4) {
    const line = { op: "expand", name: volume.name, bytes: volume.bytes + 4 * MIB } as const;
    tell({ state: "do", ...line });
    await callUntilDone(client, "Node", "NodeExpandVolume", {
      ...{ volume_id: volume.id, volume_path: target, capacity_range: { required_bytes: line.bytes } },
    });
    tell({ state: "ack", ...line });
    volume.bytes = line.bytes;
    await write(`${file}-more`);
  }
  await callUntilDone(client, "Node", "NodeUnpublishVolume", { volume_id: volume.id, target_path: target });
  await callUntilDone(client, "Node", "NodeUnstageVolume", {
    ...{ volume_id: volume.id, staging_target_path: staging },
  });
}

async function writeSynced(directory: string, name: string, content: WrittenFile): Promise<void> {
  const file = await open(`${directory}/${name}`, "w");
  await file.writeFile(contentOf(content));
  await file.sync();
  await file.close();
  const names = await open(directory, "r");
  await names.sync();
  await names.close();
}

async function remove({ client, tell }: Worker, own: Own[], op: "delete" | "delete-snapshot"): Promise<void> {
  const gone = own.shift();
  if (!gone) return;
  tell({ state: "do", op, name: gone.name });
  if (op === "delete") await callUntilDone(client, "Controller", "DeleteVolume", { volume_id: gone.id });
  else await callUntilDone(client, "Controller", "DeleteSnapshot", { snapshot_id: gone.id });
  tell({ state: "ack", op, name: gone.name });
}
