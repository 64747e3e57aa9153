import { expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import type { Log, LogFields } from "../../observe/log.ts";
import { silentLog } from "../../observe/log.ts";
import { refusal } from "../refusal.ts";
import { type CopySample, type CopyTurn, createCopies, DEFAULT_CALL_WAIT_MS } from "./copies.ts";

const wanted = (key = "key", from = "source") => ({ key, from, kind: "snapshot" as const });

function begin() {
  const clock = createFakeClock();
  const lines: (LogFields & { message: string })[] = [];
  const log: Log = { ...silentLog, info: (message, fields) => void lines.push({ message, ...fields }) };
  const samples: CopySample[] = [];
  const copies = createCopies({ clock, log, onCopy: (sample) => samples.push(sample) });
  return { clock, lines, samples, copies };
}

/** Work that ends when the test says so. */
function held(pool = "default") {
  const control = Promise.withResolvers<string>();
  const turns: CopyTurn[] = [];
  const work = (turn: CopyTurn) =>
    turn.inTurn(pool, () => {
      turns.push(turn);
      turn.signal.addEventListener("abort", () => control.reject(refusal("cancelled", "key", "given up")));
      return control.promise;
    });
  return { work, turns, finish: control.resolve, fail: control.reject };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** What a call is told that waits in vain. */
async function tooLong(clock: ReturnType<typeof createFakeClock>, call: Promise<unknown>): Promise<Error> {
  await settle();
  clock.advance(DEFAULT_CALL_WAIT_MS);
  return call.then(
    () => Promise.reject(new Error("the call was not told to come again")),
    (error: Error) => error,
  );
}

test("a copy that is quick answers the call that began it", async () => {
  const { copies, samples } = begin();
  await expect(copies.run(wanted(), (turn) => turn.inTurn("default", async () => 5))).resolves.toBe(5);
  await settle();
  expect(samples.map(({ event }) => event)).toEqual(["started", "done"]);
});

test("a copy that takes longer than a call may goes on, tells how far it is, and answers the retry", async () => {
  const { copies, clock } = begin();
  const { work, turns, finish } = held();
  const first = copies.run(wanted(), work);
  await settle();
  turns[0]?.onProgress({ copiedBytes: 10, totalBytes: 40 });
  expect(await tooLong(clock, first)).toMatchObject({
    kind: "busy",
    message: expect.stringContaining("10 of about 40 bytes"),
  });
  const again = copies.run<string>(wanted(), () => Promise.reject(new Error("begun twice")));
  finish("result");
  await expect(again).resolves.toBe("result");
});

test("a failure that nobody waited for is told to the next who asks, and then it is tried anew", async () => {
  const { copies, clock } = begin();
  const { work, fail } = held();
  await tooLong(clock, copies.run(wanted(), work));
  fail(refusal("exhausted", "key", "the disk is full"));
  await settle();
  await expect(copies.run(wanted(), async () => 1)).rejects.toMatchObject({ kind: "exhausted" });
  await expect(copies.run(wanted(), async () => 1)).resolves.toBe(1);
});

test("a failure that was told is not told again", async () => {
  const { copies } = begin();
  const failing = copies.run(wanted(), () => Promise.reject(refusal("io", "key", "EIO")));
  await expect(failing).rejects.toMatchObject({ kind: "io" });
  await expect(copies.run(wanted(), async () => 1)).resolves.toBe(1);
});

test("the same key for another source is a conflict while the copy runs", async () => {
  const { copies, clock } = begin();
  const { work, finish } = held();
  const first = copies.run(wanted(), work);
  await expect(copies.run(wanted("key", "other"), work)).rejects.toMatchObject({ kind: "conflict" });
  finish("");
  await first;
  expect(clock.nowMs()).toBeGreaterThan(0);
});

test("two copies of a pool run at once, a third waits, and another pool does not", async () => {
  const { copies, clock } = begin();
  const all = [held(), held(), held(), held("other")];
  const calls = all.map(({ work }, index) => copies.run(wanted(`key${index}`), work));
  const answers = Promise.allSettled(calls);
  await settle();
  expect(all.map(({ turns }) => turns.length)).toEqual([1, 1, 0, 1]);
  clock.advance(DEFAULT_CALL_WAIT_MS);
  expect((await answers)[2]).toMatchObject({
    reason: { kind: "busy", message: expect.stringContaining("waits for its turn") },
  });
  all[0]?.finish("");
  await settle();
  expect(all[2]?.turns).toHaveLength(1);
  await copies.stop();
});

test("a copy that is given up ends before that is answered, and the next one begins anew", async () => {
  const { copies, clock, samples } = begin();
  const { work } = held();
  await tooLong(clock, copies.run(wanted(), work));
  await copies.cancel("key");
  await expect(copies.run(wanted(), async () => 1)).resolves.toBe(1);
  expect(samples.map(({ event }) => event)).toEqual(["started", "cancelled"]);
});

test("a copy that is given up while it waits for its turn never begins, and nobody waits for its turn", async () => {
  const { copies } = begin();
  const all = [held(), held(), held(), held()];
  const answers = Promise.allSettled(all.map(({ work }, index) => copies.run(wanted(`key${index}`), work)));
  await settle();
  await copies.cancel("key2"); // the first two are still running
  all[0]?.finish("");
  await settle();
  expect(all.map(({ turns }) => turns.length)).toEqual([1, 1, 0, 1]);
  await copies.stop();
  const outcomes = (await answers).map(({ status }) => status);
  expect(outcomes).toEqual(["fulfilled", "rejected", "rejected", "rejected"]);
});

test("stopping gives all up, and begins none any more", async () => {
  const { copies } = begin();
  const { work, turns } = held();
  const call = copies.run(wanted(), work);
  const refused = expect(call).rejects.toMatchObject({ kind: "cancelled" });
  await settle();
  await copies.stop();
  await refused;
  expect(turns[0]?.signal.aborted).toBe(true);
  await expect(copies.run(wanted("other"), async () => 1)).rejects.toMatchObject({ kind: "unavailable" });
});

test("how far a long copy is goes to the log every ten seconds, and its bytes to the metrics", async () => {
  const { copies, clock, lines, samples } = begin();
  const { work, turns, finish } = held();
  const call = copies.run(wanted(), work).catch(() => undefined);
  await settle();
  for (const copiedBytes of [5, 25]) {
    turns[0]?.onProgress({ copiedBytes, totalBytes: 100 });
    clock.advance(10_000);
    await settle();
  }
  finish("");
  await call;
  await settle();
  clock.advance(10_000);
  await settle();
  expect(lines).toEqual([
    expect.objectContaining({ message: "copying", from: "source", copiedBytes: 5, totalBytes: 100 }),
    expect.objectContaining({ message: "copying", from: "source", copiedBytes: 25, totalBytes: 100 }),
  ]);
  expect(samples.map(({ event, bytes }) => [event, bytes])).toEqual([
    ["started", 0],
    ["progress", 5],
    ["progress", 20],
    ["done", 0],
  ]);
});
