import { expect, test } from "vitest";
import { createUndo } from "./undo.ts";

function record() {
  const done: string[] = [];
  const undo = createUndo();
  const register = (name: string, failure?: Error) =>
    undo.register(async () => {
      done.push(name);
      if (failure) throw failure;
    });
  return { done, undo, register };
}

test("undo runs in reverse order and gives the cause", async () => {
  const { done, undo, register } = record();
  register("first");
  register("second");
  const cause = new Error("cause");
  expect(await undo.unwind(cause)).toBe(cause);
  expect(done).toEqual(["second", "first"]);
});

test("a failing undo leaves what was made before it, and is attached to the cause", async () => {
  const { done, undo, register } = record();
  const failure = new Error("cannot");
  register("record");
  register("link", failure);
  const cause = new Error("cause");
  expect(await undo.unwind(cause)).toMatchObject({ message: "cause", cleanupFailures: [failure] });
  expect(done).toEqual(["link"]);
});
