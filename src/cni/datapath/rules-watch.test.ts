import { afterEach, expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createFakeNft } from "../../../test/fakes/nft.ts";
import { errnoError } from "../../host/errno.ts";
import { type Log, silentLog } from "../../observe/log.ts";
import { type RulesWatch, watchRules } from "./rules-watch.ts";

let watch: RulesWatch | undefined;
afterEach(() => watch?.stop());

function start() {
  const nft = createFakeNft();
  const said: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => said.push(message), child: () => log };
  let repairs = 0;
  const install = () => nft.write("trivet", { install: ["masquerade", "ports"] });
  const repair = async () => {
    repairs += 1;
    await install();
  };
  watch = watchRules({ deps: { nft, clock: createFakeClock() }, log, repair });
  return { nft, said, install, look: watch.look, repairs: () => repairs };
}

test("rules that were there and are gone are made again, once for each time", async () => {
  const { nft, install, look, repairs } = start();
  await install();
  await look();
  expect(repairs()).toBe(0);
  for (const times of [1, 2]) {
    nft.tables.clear();
    await look();
    await look();
    expect(repairs()).toBe(times);
  }
});

test("changes of other programs, and rules that are new, are no reason", async () => {
  const { nft, install, look, repairs } = start();
  await look();
  nft.tables.generation += 1;
  await look();
  await install();
  await look();
  expect(repairs()).toBe(0);
});

test("while nobody changes the rules only their generation is asked for", async () => {
  const { nft, look } = start();
  await look();
  const asked: string[] = [];
  nft.onEffect = (op, subject, when) => when === "before" && asked.push(`${op} ${subject}`);
  await look();
  expect(asked).toEqual(["nft.read generation"]);
});

test("a kernel that refuses is said once, and looked at again", async () => {
  const { nft, said, install, look, repairs } = start();
  await install();
  await look();
  nft.onEffect = () => {
    throw errnoError("EPERM", "nft.read", "trivet");
  };
  await look();
  await look();
  expect(said).toEqual(["the rules cannot be looked at"]);
  nft.onEffect = undefined;
  nft.tables.clear();
  await look();
  expect(repairs()).toBe(1);
});
