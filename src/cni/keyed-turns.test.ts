import { expect, test } from "vitest";
import { createKeyedTurns } from "./keyed-turns.ts";

function gate() {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

test("calls with one key run one after another, in order", async () => {
  const turns = createKeyedTurns();
  const first = gate();
  const log: string[] = [];
  const one = turns.run("a", async () => {
    await first.opened;
    log.push("one");
  });
  const two = turns.run("a", async () => void log.push("two"));
  await turns.run("b", async () => void log.push("other"));
  expect(log).toEqual(["other"]);
  first.open();
  await Promise.all([one, two]);
  expect(log).toEqual(["other", "one", "two"]);
});

test("a failure is its caller's alone", async () => {
  const turns = createKeyedTurns();
  const failing = turns.run("a", async () => {
    throw new Error("no");
  });
  const next = turns.run("a", async () => "yes");
  await expect(failing).rejects.toThrow("no");
  expect(await next).toBe("yes");
});
