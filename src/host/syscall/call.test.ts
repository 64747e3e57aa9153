import { expect, test } from "vitest";
import { createSyscalls } from "../syscall.ts";

test("any number of calls may be made at once: those that koffi would refuse wait for their turn", async () => {
  const { listXattrs } = createSyscalls();
  const path = Buffer.from("/proc/self/fd/0");
  const calls = Array.from({ length: 2_000 }, () => listXattrs(path).catch((error: Error) => error.message));
  const answers = (await Promise.all(calls)).filter((answer) => typeof answer === "string");
  expect(answers.filter((message) => !/: E[A-Z]+$/.test(message))).toEqual([]);
});
