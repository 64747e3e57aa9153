import { expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { silentLog } from "../../observe/log.ts";
import { poolLayout } from "./layout.ts";
import { createLedger } from "./ledger.ts";
import { createTrash } from "./trash.ts";
import { trashKey } from "./trash-name.ts";

const HOUR = 3_600_000;
const layout = poolLayout("/pool");

async function trashWith(...entries: string[]) {
  const files = createFakeFiles({
    directories: [
      "/pool/volumes",
      "/pool/snapshots",
      ...entries.map((entry) => `${layout.trash}/${entry}/data`),
    ],
  });
  const clock = createFakeClock();
  const ledger = createLedger("p");
  for (const entry of entries) ledger.enter(trashKey(entry), 10);
  const dismantled: string[] = [];
  const dismantle = async (wrapper: string) => void dismantled.push(wrapper);
  const trash = createTrash({ files, clock, log: silentLog, dismantle }, layout, ledger);
  const left = async () => (await files.list(layout.trash)).map(({ name }) => name).sort();
  const idle = async () => {
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    await trash.idle();
  };
  return { files, clock, ledger, trash, left, idle, dismantled };
}

test("what is kept goes when its time is up, with its reservation, and not before", async () => {
  const { clock, ledger, trash, left, idle, dismantled } = await trashWith("a", "b", "c");
  trash.keep("b", clock.nowMs() + HOUR);
  trash.keep("c", clock.nowMs() + 2 * HOUR);
  trash.kick();
  await idle();
  expect([await left(), ledger.reservedBytes]).toEqual([["b", "c"], 20]);
  clock.advance(HOUR - 1);
  await idle();
  expect(await left()).toEqual(["b", "c"]);
  clock.advance(1);
  await idle();
  expect([await left(), ledger.reservedBytes]).toEqual([["c"], 10]);
  clock.advance(HOUR);
  await idle();
  expect([await left(), ledger.reservedBytes]).toEqual([[], 0]);
  expect(dismantled).toEqual(["a", "b", "c"].map((entry) => `${layout.trash}/${entry}`));
});

test("what was reclaimed is not removed any more, and what is being removed cannot be reclaimed", async () => {
  const { files, trash, left, idle } = await trashWith("a", "b");
  expect(trash.reclaim("a")).toBe(true);
  let reclaimed: boolean | undefined;
  files.onEffect = (op, path) => {
    if (op === "file.remove" && path.endsWith("/b")) reclaimed ??= trash.reclaim("b");
  };
  trash.kick();
  await idle();
  expect([reclaimed, await left()]).toEqual([false, ["a"]]);
});

test("what cannot be taken apart is not removed, until it can be: nobody has to ask again", async () => {
  const { files, clock, ledger, left } = await trashWith("a");
  let isBusy = true;
  const dismantle = async () => {
    if (isBusy) throw new Error("busy");
  };
  const trash = createTrash({ files, clock, log: silentLog, dismantle }, layout, ledger);
  for (let round = 0; round < 2; round++) {
    trash.kick();
    await trash.idle();
    expect([await left(), ledger.reservedBytes]).toEqual([["a"], 10]);
  }
  isBusy = false;
  clock.advance(10 * 60_000);
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect([await left(), ledger.reservedBytes]).toEqual([[], 0]);
});

test("nothing is removed before its way here is durable, wherever it came from", async () => {
  const { files, trash, idle } = await trashWith("a");
  const seen: string[] = [];
  files.onEffect = (op, path, when) => {
    if (when === "after" && (op === "file.sync" || op === "file.remove")) seen.push(`${op} ${path}`);
  };
  trash.kick();
  await idle();
  const syncs = [layout.snapshots, layout.trash, layout.volumes].map((path) => `file.sync ${path}`).sort();
  expect(seen.slice(0, 3).sort()).toEqual(syncs);
  expect(seen.length).toBeGreaterThan(3);
});

test("removals of different volumes do not wait for one another", async () => {
  const { files, trash, idle } = await trashWith("a", "b", "c", "d", "e", "f");
  let [running, most] = [0, 0];
  files.onEffect = (op, path, when) => {
    if (op !== "file.remove" || !path.startsWith(layout.trash)) return;
    running += when === "before" ? 1 : -1;
    most = Math.max(most, running);
  };
  trash.kick();
  await idle();
  expect(most).toBe(2);
});

test("a removal lets calls pass that follow one another closely, for a second at most", async () => {
  const QUIET_MS = 30;
  const { files, clock, ledger, left } = await trashWith("a");
  const dismantle = async () => undefined;
  const deps = { files, clock, log: silentLog, dismantle, quietMs: QUIET_MS };
  const turns = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const trash = createTrash(deps, layout, ledger);
  trash.giveWay();
  trash.kick();
  for (let ms = 0; ms < 990; ms += QUIET_MS - 1) {
    await turns();
    expect(await left()).toEqual(["a"]);
    clock.advance(QUIET_MS - 1);
    trash.giveWay();
  }
  await turns();
  clock.advance(QUIET_MS - 1);
  await trash.idle();
  expect(await left()).toEqual([]);
  await files.mkdir(`${layout.trash}/b`, 0o700);
  trash.kick();
  await turns();
  clock.advance(QUIET_MS);
  await trash.idle();
  expect(await left()).toEqual([]);
});

test("a removal waits for no call where room is short", async () => {
  const { files, clock, ledger, left } = await trashWith("a");
  const deps = { files, clock, log: silentLog, dismantle: async () => undefined, quietMs: 30 };
  const trash = createTrash({ ...deps, isTight: async () => true }, layout, ledger);
  trash.giveWay();
  trash.kick();
  await trash.idle();
  expect(await left()).toEqual([]);
});

test("who finds no room waits for what may go, for five seconds at the most, and not for what is kept", async () => {
  const { clock, ledger, trash } = await trashWith("a", "b");
  trash.keep("b", clock.nowMs() + HOUR);
  await trash.makeRoom();
  expect(ledger.reservedBytes).toBe(10);
  await trash.makeRoom();
  expect(ledger.reservedBytes).toBe(10);
});

test("a removal that hangs keeps nobody waiting for longer than five seconds", async () => {
  const files = createFakeFiles({
    directories: ["/pool/volumes", "/pool/snapshots", `${layout.trash}/a/data`],
  });
  const [clock, ledger] = [createFakeClock(), createLedger("p")];
  const dismantle = () => new Promise<void>(() => undefined);
  const trash = createTrash({ files, clock, log: silentLog, dismantle }, layout, ledger);
  let ended = false;
  const waiting = trash.makeRoom().then(() => {
    ended = true;
  });
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(ended).toBe(false);
  clock.advance(5_000);
  await waiting;
});
