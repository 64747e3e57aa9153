import { setTimeout as sleep } from "node:timers/promises";
import { describe, test } from "vitest";
import { createClock } from "../../src/host/clock.ts";
import { createFakeClock } from "../fakes/clock.ts";
import { clockContract } from "./clock.ts";

describe("the fake clock keeps the contract", () => {
  test.each(clockContract)("$title", ({ run }) => {
    const clock = createFakeClock();
    return run({ clock, pass: async (ms) => clock.advance(ms) });
  });
});

describe("the real clock keeps the contract", () => {
  test.each(clockContract)("$title", ({ run }) =>
    run({ clock: createClock(), pass: (ms) => sleep(ms).then(() => undefined) }),
  );
});
