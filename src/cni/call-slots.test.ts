import { expect, test } from "vitest";
import { createCallSlots } from "./call-slots.ts";

const never = new AbortController().signal;

/** Work that ends when it is told to. */
function held() {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { work: () => ended, end };
}

test("no more calls are at work than there are places, and those that wait come in turn", async () => {
  const slots = createCallSlots(2);
  const order: number[] = [];
  let atOnce = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 7 }, (_, index) =>
      slots.run(never, async () => {
        atOnce += 1;
        most = Math.max(most, atOnce);
        order.push(index);
        await new Promise((resolve) => setImmediate(resolve));
        atOnce -= 1;
      }),
    ),
  );
  expect(most).toBe(2);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test("a call that fails gives its place on", async () => {
  const slots = createCallSlots(1);
  await expect(slots.run(never, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await slots.run(never, async () => "done")).toBe("done");
});

test("a call that is given up while it waits leaves the queue, and takes no place with it", async () => {
  const slots = createCallSlots(1);
  const first = held();
  const running = slots.run(never, first.work);
  const gone = new AbortController();
  const waiting = slots.run(gone.signal, () => expect.unreachable("it was given up"));
  gone.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  const third = slots.run(never, async () => "third");
  first.end();
  await running;
  expect(await third).toBe("third");
  expect(await slots.run(never, async () => "fourth")).toBe("fourth");
});
