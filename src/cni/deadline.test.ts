import { expect, test } from "vitest";
import type { Clock } from "../host/clock.ts";
import { withDeadline } from "./deadline.ts";

/** A clock whose sleeps end when the test says so, in the order in which they began. */
function manualClock() {
  const sleepers: (() => void)[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    monotonicNs: () => 0n,
    sleep: (_ms, signal) =>
      new Promise((resolve, reject) => {
        sleepers.push(resolve);
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
  };
  const elapse = async () => {
    sleepers.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, elapse };
}

test("work that is done in time gives its value", async () => {
  const { clock } = manualClock();
  const options = { clock, limitMs: 10, what: "ADD" };
  expect(await withDeadline(options, async () => "done")).toBe("done");
});

test("at the limit the signal is aborted, and work that stops there decides what is thrown", async () => {
  const { clock, elapse } = manualClock();
  const call = withDeadline({ clock, limitMs: 10, what: "ADD" }, async (signal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    throw signal.reason;
  });
  const outcome = expect(call).rejects.toMatchObject({ kind: "deadline", subject: "ADD" });
  await elapse();
  await outcome;
});

test("work that does not stop is left alone after some grace, and the caller has its answer", async () => {
  const { clock, elapse } = manualClock();
  const call = withDeadline({ clock, limitMs: 10, what: "ADD" }, () => new Promise(() => undefined));
  const outcome = expect(call).rejects.toMatchObject({ kind: "deadline" });
  await elapse();
  await elapse();
  await outcome;
});

test("the work is told when the caller has gone", async () => {
  const { clock } = manualClock();
  const caller = new AbortController();
  const reason = new Error("gone");
  const call = withDeadline({ clock, limitMs: 10, what: "ADD", signal: caller.signal }, async (signal) => {
    caller.abort(reason);
    signal.throwIfAborted();
  });
  await expect(call).rejects.toBe(reason);
});
