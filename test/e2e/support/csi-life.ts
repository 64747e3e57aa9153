/**
 * The life of volumes as sidecars and the kubelet lead it, one step after another, each repeated until it is answered: what
 * was in flight when the driver died is simply asked again. Keeps account of what was acknowledged, for comparing.
 */
import assert from "node:assert/strict";
import { mkdir, open, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ServiceError, status } from "@grpc/grpc-js";
import type { CsiClient } from "../../conformance/csi/client.ts";
import type { Random } from "./seeded-random.ts";

/** A kind of volume. */
export interface LifeKind {
  readonly pool: string;
  readonly access: "mount" | "block";
  readonly sizeBytes: number;
  readonly grows: boolean;
  /** Where volumes of a pool lie, for looking behind the driver's back. */
  readonly directory: string;
}

/** A volume or a snapshot that has been asked for. `id` is known once the driver has answered. */
export interface Thing {
  readonly kind: LifeKind;
  readonly what: "volume" | "snapshot";
  readonly name: string;
  id?: string;
  /** What it was last acknowledged to have, and what it may have meanwhile. */
  sizeBytes: number;
  wantedBytes: number;
  /** Asked for and not acknowledged, acknowledged, being deleted. Those that are gone are forgotten. */
  state: "asked" | "there" | "going";
  /** What was written and synced. */
  content?: string;
  /** Where it is published, from the acknowledgement until unpublishing is asked for. */
  target?: string;
}

/** How the driver is reached at the moment; undefined once the test has killed it. */
export interface Connection {
  readonly client: CsiClient;
  dead: boolean;
}

/** The driver was killed on purpose: the life goes on later, where it was. */
export class Interrupted extends Error {}

interface Place {
  readonly staging: string;
  readonly target: string;
}

type Step = (connection: Connection) => Promise<void>;

/** One worker's volumes: endless lives. */
export interface Life {
  readonly things: ReadonlySet<Thing>;
  /** Goes on until interrupted or, with `finish`, until this life is over. */
  run(connection: Connection, options: { readonly finish: boolean }): Promise<void>;
  /** Steps done. */
  readonly done: number;
}

const BLOCK = 4096;
const BUSY_PAUSE_MS = 5;

async function ask<T>(connection: Connection, method: string, request: object): Promise<T> {
  const service = method.startsWith("Node") ? "Node" : "Controller";
  for (;;) {
    if (connection.dead) throw new Interrupted();
    try {
      return await connection.client.call<T>(service, method, request);
    } catch (error) {
      if (connection.dead) throw new Interrupted();
      const { code, details } = error as ServiceError;
      if (code !== status.ABORTED) throw new Error(`${method}: ${status[code]} ${details}`);
      await sleep(BUSY_PAUSE_MS);
    }
  }
}

/** Written to the disk through the mount, as a pod does: this needs no driver. */
async function writeContent(target: string, access: LifeKind["access"], content: string): Promise<void> {
  const handle = await open(
    access === "block" ? target : join(target, "content"),
    access === "block" ? "r+" : "w",
  );
  try {
    await handle.write(Buffer.alloc(BLOCK, content), 0, BLOCK, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Throws unless the target shows what was written. */
export async function requireContent(target: string, { kind, content, name }: Thing): Promise<void> {
  if (content === undefined) return;
  const handle = await open(kind.access === "block" ? target : join(target, "content"), "r");
  try {
    const { buffer } = await handle.read(Buffer.alloc(BLOCK), 0, BLOCK, 0);
    assert.ok(buffer.equals(Buffer.alloc(BLOCK, content)), `${name} has lost what was written to it`);
  } finally {
    await handle.close();
  }
}

/** A worker that has not begun. `kubeletRoot` is where it publishes. */
export function createLife(
  name: string,
  kind: LifeKind,
  options: { readonly kubeletRoot: string; readonly random: Random },
): Life {
  const { kubeletRoot, random } = options;
  const things = new Set<Thing>();
  let [lives, done, steps] = [0, 0, [] as Step[]];
  const capability = {
    ...(kind.access === "block" ? { block: {} } : { mount: { fs_type: "" } }),
    access_mode: { mode: "SINGLE_NODE_WRITER" },
  };
  const thing = (what: Thing["what"], suffix: string, sizeBytes = kind.sizeBytes): Thing => ({
    ...{ kind, what, name: `${name}-${lives}-${suffix}`, sizeBytes, wantedBytes: sizeBytes, state: "asked" },
  });
  const placeOf = ({ name: unique }: Thing): Place => ({
    staging: join(kubeletRoot, "staging", unique),
    target: join(kubeletRoot, "pods", unique, "target"),
  });
  const idOf = ({ id, name: unique }: Thing): string => {
    assert.ok(id, `${unique} has no id`);
    return id;
  };

  const create =
    (volume: Thing, source?: Thing): Step =>
    async (connection) => {
      things.add(volume);
      const from = source && {
        volume_content_source:
          source.what === "volume"
            ? { volume: { volume_id: idOf(source) } }
            : { snapshot: { snapshot_id: idOf(source) } },
      };
      const answer = await ask<{ volume: { volume_id: string } }>(connection, "CreateVolume", {
        ...{ name: volume.name, volume_capabilities: [capability], parameters: { pool: kind.pool }, ...from },
        capacity_range: { required_bytes: volume.sizeBytes },
      });
      volume.id = answer.volume.volume_id;
      volume.state = "there";
      if (source?.content !== undefined) volume.content = source.content;
    };
  const snapshot =
    (taken: Thing, volume: Thing): Step =>
    async (connection) => {
      things.add(taken);
      const answer = await ask<{ snapshot: { snapshot_id: string } }>(connection, "CreateSnapshot", {
        ...{ name: taken.name, source_volume_id: idOf(volume), parameters: { consistency: "per-file" } },
      });
      taken.id = answer.snapshot.snapshot_id;
      taken.state = "there";
      if (volume.content !== undefined) taken.content = volume.content;
    };
  const remove =
    (gone: Thing): Step =>
    async (connection) => {
      gone.state = "going";
      const request = gone.what === "volume" ? { volume_id: idOf(gone) } : { snapshot_id: idOf(gone) };
      await ask(connection, gone.what === "volume" ? "DeleteVolume" : "DeleteSnapshot", request);
      things.delete(gone);
    };
  const show = (volume: Thing): Step[] => {
    const { staging, target } = placeOf(volume);
    const shared = () => ({
      volume_id: idOf(volume),
      staging_target_path: staging,
      volume_capability: capability,
    });
    return [
      async (connection) => {
        await mkdir(staging, { recursive: true });
        await ask(connection, "NodeStageVolume", shared());
      },
      async (connection) => {
        await mkdir(dirname(target), { recursive: true });
        await ask(connection, "NodePublishVolume", { ...shared(), target_path: target });
        volume.target = target;
        await requireContent(target, volume);
      },
    ];
  };
  const hide = (volume: Thing): Step[] => {
    const { staging, target } = placeOf(volume);
    const hidden: Step[] = [
      async (connection) => {
        delete volume.target;
        await ask(connection, "NodeUnpublishVolume", { volume_id: idOf(volume), target_path: target });
        await rmdir(dirname(target));
      },
      async (connection) => {
        await ask(connection, "NodeUnstageVolume", { volume_id: idOf(volume), staging_target_path: staging });
        await rm(staging, { recursive: true, force: true });
      },
    ];
    return hidden.map(repeatable);
  };
  const write =
    (volume: Thing): Step =>
    async () => {
      const content = `${volume.name}/${random.below(1_000_000)};`;
      delete volume.content; // from here on neither the old nor the new one is promised
      await writeContent(placeOf(volume).target, kind.access, content);
      volume.content = content;
    };
  const expand =
    (volume: Thing): Step =>
    async (connection) => {
      volume.wantedBytes = volume.sizeBytes + 8 * 2 ** 20;
      const { target: volume_path, staging: staging_target_path } = placeOf(volume);
      await ask(connection, "NodeExpandVolume", {
        ...{ volume_id: idOf(volume), volume_path, staging_target_path, volume_capability: capability },
        capacity_range: { required_bytes: volume.wantedBytes },
      });
      volume.sizeBytes = volume.wantedBytes;
    };

  const plan = (): Step[] => {
    lives += 1;
    const volume = thing("volume", "volume");
    const begin = [create(volume), ...show(volume), write(volume)];
    const middle: Step[] = [];
    const grown = kind.grows && random.chance(0.5);
    if (grown) middle.push(expand(volume));
    // The size of a copy is at least that of its source.
    const size = kind.sizeBytes + (grown ? 8 * 2 ** 20 : 0);
    const end: Step[] = [];
    const copy = (source: Thing, suffix: string): Step[] => {
      const other = thing("volume", suffix, size);
      return [create(other, source), ...show(other), ...hide(other), remove(other)];
    };
    if (random.chance(0.5)) {
      const taken = thing("snapshot", "snapshot", size);
      // The image of a device in use can be copied at one moment only where the pool's file system shares blocks.
      if (kind.access === "block") end.push(snapshot(taken, volume));
      else middle.push(snapshot(taken, volume), write(volume));
      end.push(...(random.chance(0.5) ? copy(taken, "restored") : []), remove(taken));
    }
    if (random.chance(0.4)) end.push(...copy(volume, "clone"));
    return [...begin, ...middle, ...hide(volume), ...end, remove(volume)];
  };
  return {
    things,
    get done() {
      return done;
    },
    async run(connection, { finish }) {
      for (;;) {
        if (steps.length === 0) {
          if (finish && lives > 0) return;
          steps = plan();
        }
        if (connection.dead) throw new Interrupted();
        await steps[0]?.(connection);
        steps.shift();
        done += 1;
      }
    },
  };
}

/** A step whose second half removes a directory may find it gone when it is repeated. */
function repeatable(step: Step): Step {
  return async (connection) => {
    await step(connection).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  };
}
