/**
 * After a power cut, in the guest: what was acknowledged is there and whole, what was begun is there or not and nothing
 * between, nothing else is there, limits are in force, and the account is right.
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createFiles } from "../../../src/host/files.ts";
import type { CsiClient } from "../../conformance/csi/client.ts";
import { syscalls } from "../inside/disks.ts";
import { contentOf, type Expected } from "./history.ts";
import { callUntilDone, capability, createRequest, type Tell } from "./load.ts";

/** What is checked, and against what. */
export interface Checked {
  readonly client: CsiClient;
  readonly tell: Tell;
  readonly pool: { readonly name: string; readonly path: string; readonly budgetBytes: number };
  readonly expected: ReadonlyMap<string, Expected>;
}

interface Listed {
  readonly id: string;
  readonly bytes: number;
}

const files = createFiles(syscalls);

/** Throws what is wrong. What was uncertain is certain afterwards, and told. */
export async function checkAfterCut(checked: Checked): Promise<string> {
  const { client, expected } = checked;
  const before = { volumes: await volumesOf(client), snapshots: await snapshotsOf(client) };
  requireNothingElse(checked, before);
  for (const entry of expected.values()) await settle(checked, entry);
  const volumes = await volumesOf(client);
  const snapshots = await snapshotsOf(client);
  for (const entry of expected.values()) {
    const listed = (entry.kind === "volume" ? volumes : snapshots).find(({ id }) => id === entry.id);
    assert.equal(listed !== undefined, entry.certainty === "there", `${entry.name} is ${entry.certainty}`);
    if (listed) await requireWhole(checked, entry, listed);
  }
  assert.deepEqual([volumes.length, snapshots.length], countThere(expected));
  await requireAccount(checked, [...volumes, ...snapshots]);
  return `${volumes.length} volumes, ${snapshots.length} snapshots`;
}

async function volumesOf(client: CsiClient): Promise<Listed[]> {
  const { entries } = await client.call<{
    entries: { volume: { volume_id: string; capacity_bytes: string } }[];
  }>("Controller", "ListVolumes");
  return entries.map(({ volume }) => ({ id: volume.volume_id, bytes: Number(volume.capacity_bytes) }));
}

async function snapshotsOf(client: CsiClient): Promise<Listed[]> {
  const { entries } = await client.call<{
    entries: { snapshot: { snapshot_id: string; size_bytes: string } }[];
  }>("Controller", "ListSnapshots");
  return entries.map(({ snapshot }) => ({ id: snapshot.snapshot_id, bytes: Number(snapshot.size_bytes) }));
}

/** What nobody asked for would have been adopted; what was deleted would have come back. */
function requireNothingElse({ expected }: Checked, found: { volumes: Listed[]; snapshots: Listed[] }): void {
  for (const kind of ["volume", "snapshot"] as const) {
    const listed = kind === "volume" ? found.volumes : found.snapshots;
    const all = [...expected.values()].filter((entry) => entry.kind === kind);
    const known = new Map(
      all.flatMap((entry) => (entry.id === undefined ? [] : [[entry.id, entry] as const])),
    );
    for (const { id } of listed) {
      const entry = known.get(id);
      if (entry) assert.notEqual(entry.certainty, "gone", `${entry.name} was deleted and is there`);
    }
    const unknown = listed.filter(({ id }) => !known.has(id));
    const begun = all.filter(({ certainty, id }) => certainty === "begun" && id === undefined);
    assert.ok(unknown.length <= begun.length, `${kind}s that nobody made: ${JSON.stringify(unknown)}`);
  }
}

/** Repeats what was under way, as kubelets and sidecars do. */
async function settle({ client, tell, pool, expected }: Checked, entry: Expected): Promise<void> {
  const from = entry.from && expected.get(entry.from.name);
  if (entry.certainty === "begun" && entry.kind === "volume") {
    const source = from?.id === undefined ? undefined : { kind: from.kind, id: from.id };
    const { volume } = await callUntilDone<{ volume: { volume_id: string } }>(
      ...([client, "Controller", "CreateVolume"] as const),
      createRequest(pool.name, entry.name, entry.bytes, source),
    );
    entry.id = volume.volume_id;
    entry.certainty = "there";
    tell({ state: "ack", op: "create", name: entry.name, bytes: entry.bytes, id: entry.id });
  } else if (entry.certainty === "begun") {
    const { snapshot } = await callUntilDone<{ snapshot: { snapshot_id: string } }>(
      ...([client, "Controller", "CreateSnapshot"] as const),
      { name: entry.name, source_volume_id: from?.id },
    );
    entry.id = snapshot.snapshot_id;
    entry.certainty = "there";
    tell({ state: "ack", op: "snapshot", name: entry.name, of: entry.from?.name ?? "", id: entry.id });
  } else if (entry.certainty === "going") {
    const op = entry.kind === "volume" ? "delete" : "delete-snapshot";
    await removeEntry(client, entry);
    tell({ state: "ack", op, name: entry.name });
  }
}

/** Deletes it through the driver. */
export async function removeEntry(client: CsiClient, entry: Expected): Promise<void> {
  if (entry.kind === "volume") {
    await callUntilDone(client, "Controller", "DeleteVolume", { volume_id: entry.id });
  } else await callUntilDone(client, "Controller", "DeleteSnapshot", { snapshot_id: entry.id });
  entry.certainty = "gone";
}

async function requireWhole({ client, pool }: Checked, entry: Expected, listed: Listed): Promise<void> {
  const about = `${entry.kind} ${entry.name}`;
  assert.ok(
    listed.bytes >= entry.bytes && listed.bytes <= entry.mostBytes,
    `${about} has ${listed.bytes} bytes`,
  );
  const data = `${pool.path}/${entry.kind}s/${listed.id}/data`;
  for (const [name, content] of Object.entries(entry.files)) {
    const found = await readFile(`${data}/${name}`);
    assert.ok(found.equals(contentOf(content)), `${about} has another content in ${name}`);
  }
  if (entry.kind !== "volume") return;
  assert.equal((await files.space(data)).totalBytes, listed.bytes, `the limit of ${about} is not in force`);
  const { confirmed } = await client.call<{ confirmed: object | null }>(
    "Controller",
    "ValidateVolumeCapabilities",
    {
      ...{ volume_id: listed.id, volume_capabilities: [capability] },
    },
  );
  assert.ok(confirmed, about);
}

function countThere(expected: ReadonlyMap<string, Expected>): [number, number] {
  const there = [...expected.values()].filter(({ certainty }) => certainty === "there");
  const volumes = there.filter(({ kind }) => kind === "volume").length;
  return [volumes, there.length - volumes];
}

/** When the trash is empty, all that is reserved is what is there; nothing is under construction, no project is shared. */
async function requireAccount({ client, pool }: Checked, listed: readonly Listed[]): Promise<void> {
  const reserved = listed.reduce((sum, { bytes }) => sum + bytes, 0);
  const [own, ids] = [`${pool.path}/.pool`, new Map<number, string>()];
  for (let turn = 0; (await readdir(`${own}/trash`)).length > 0; turn++) {
    assert.ok(turn < 300, `the trash holds ${(await readdir(`${own}/trash`)).join(", ")}`);
    await sleep(100);
  }
  assert.deepEqual(await readdir(`${own}/staging`), []);
  let available = -1;
  for (let turn = 0; turn < 50 && available !== pool.budgetBytes - reserved; turn++) {
    const request = { parameters: { pool: pool.name }, volume_capabilities: [capability] };
    const answer = await client.call<{ available_capacity: string }>("Controller", "GetCapacity", request);
    available = Number(answer.available_capacity);
    await sleep(100);
  }
  assert.equal(available, pool.budgetBytes - reserved, `${reserved} bytes are reserved by what is there`);
  for (const { id } of listed) {
    for (const place of ["volumes", "snapshots"]) {
      const text = await readFile(`${pool.path}/${place}/${id}/meta.json`, "utf8").catch(() => undefined);
      if (text === undefined) continue;
      const { projectId } = JSON.parse(text) as { projectId: number };
      assert.equal(
        ids.get(projectId),
        undefined,
        `project ${projectId} is ${ids.get(projectId)}'s and ${id}'s`,
      );
      ids.set(projectId, id);
    }
  }
  assert.equal(ids.size, listed.length);
}
