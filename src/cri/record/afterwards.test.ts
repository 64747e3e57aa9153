import { expect, it } from "vitest";
import { createAfterwards } from "./afterwards.ts";

function setUp() {
  const scheduled: (() => void)[] = [];
  const errors: unknown[] = [];
  const afterwards = createAfterwards({
    schedule: (run) => scheduled.push(run),
    onError: (error) => errors.push(error),
  });
  return { scheduled, errors, afterwards };
}

it("does nothing at once, and all of it in order with one call back", () => {
  const { scheduled, afterwards } = setUp();
  const done: string[] = [];
  afterwards(() => done.push("first"));
  afterwards(() => done.push("second"));
  expect(done).toEqual([]);
  expect(scheduled).toHaveLength(1);
  scheduled[0]?.();
  expect(done).toEqual(["first", "second"]);
});

it("asks to be called again for what comes later, also for what comes while it runs", () => {
  const { scheduled, afterwards } = setUp();
  const done: string[] = [];
  afterwards(() => {
    done.push("outer");
    afterwards(() => done.push("inner"));
  });
  scheduled[0]?.();
  expect(done).toEqual(["outer"]);
  expect(scheduled).toHaveLength(2);
  scheduled[1]?.();
  expect(done).toEqual(["outer", "inner"]);
});

it("tells of what throws, and does the rest", () => {
  const { scheduled, errors, afterwards } = setUp();
  const done: string[] = [];
  const bug = new Error("bug");
  afterwards(() => {
    throw bug;
  });
  afterwards(() => done.push("rest"));
  scheduled[0]?.();
  expect(errors).toEqual([bug]);
  expect(done).toEqual(["rest"]);
});
