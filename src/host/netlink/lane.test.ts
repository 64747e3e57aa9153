import { expect, test } from "vitest";
import { createLane } from "./lane.ts";

test("no more than its width run at once, all get their turn in order, and a failure frees its place", async () => {
  const lane = createLane(2);
  let running = 0;
  let most = 0;
  const started: number[] = [];
  const work = (index: number) =>
    lane(async () => {
      started.push(index);
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (index === 1) throw new Error("no");
      return index;
    });
  const outcomes = await Promise.allSettled([0, 1, 2, 3, 4].map(work));
  expect(most).toBe(2);
  expect(started).toEqual([0, 1, 2, 3, 4]);
  expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual([true, false, true, true, true]);
  expect(await lane(async () => "free")).toBe("free");
});
