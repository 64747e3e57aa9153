import { expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { SWEEP_INTERVAL_MS, startSweepLoop } from "./loop.ts";
import type { Sweepers } from "./sweepers.ts";

const turns = async () => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

function setUp() {
  const clock = createFakeClock();
  let looks = 0;
  let repairs = 0;
  const sweepers: Sweepers = {
    forDirectory: () => ({
      async sweep() {
        looks += 1;
        return { settled: [], waiting: [], failed: 0 };
      },
    }),
    forNetwork: () => ({ reclaim: async () => 0 }),
    onCrowded: undefined,
  };
  const afterwards = async () => {
    repairs += 1;
  };
  const loop = startSweepLoop({ sweepers, stateDir: "/state", clock, afterwards });
  return { clock, sweepers, loop, looks: () => looks, repairs: () => repairs };
}

test("looks at once, then each interval, and repairs after each look", async () => {
  const { clock, loop, looks, repairs } = setUp();
  await turns();
  expect(looks()).toBe(1);
  for (const expected of [2, 3]) {
    for (let spent = 0; spent < SWEEP_INTERVAL_MS; spent += 5_000) {
      clock.advance(5_000);
      await turns();
    }
    expect(looks()).toBe(expected);
  }
  expect(repairs()).toBe(3);
  await loop.stop();
});

test("a crowded network is looked at soon, but not again and again; that of another directory is not ours", async () => {
  const { clock, sweepers, loop, looks } = setUp();
  await turns();
  sweepers.onCrowded?.("/elsewhere");
  clock.advance(20_000);
  await turns();
  expect(looks()).toBe(1);
  sweepers.onCrowded?.("/state");
  await turns();
  expect(looks()).toBe(2);
  for (let call = 0; call < 100; call += 1) sweepers.onCrowded?.("/state");
  await turns();
  expect(looks()).toBe(2);
  clock.advance(15_000);
  await turns();
  expect(looks()).toBe(3);
  await loop.stop();
});

test("stops at once, and is told of nothing any more", async () => {
  const { sweepers, loop, looks } = setUp();
  await loop.stop();
  expect(sweepers.onCrowded).toBeUndefined();
  await turns();
  expect(looks()).toBe(1);
});
