/** The cluster's networks on the fake rules: they follow the nodes, come back, and make no rules where there are none. */
import { afterEach, expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createFakeNft, FakeTables } from "../../../test/fakes/nft.ts";
import { errnoError } from "../../host/errno.ts";
import { type Log, silentLog } from "../../observe/log.ts";
import { type ClusterNetworks, keepClusterNetworks } from "./cluster-networks.ts";
import { parseStaticRoute } from "./peers.ts";

let keeper: ClusterNetworks | undefined;
afterEach(() => keeper?.stop());

async function start({ fixed = [] as string[], awaitsNodes = true, tables = new FakeTables() } = {}) {
  const nft = createFakeNft(tables);
  const said: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => said.push(message), child: () => log };
  const staticNetworks = fixed.map((text) => parseStaticRoute(text).destination);
  keeper = keepClusterNetworks({ nft, clock: createFakeClock(), log, staticNetworks, awaitsNodes });
  await keeper.pass();
  const networks = async () => (await nft.readClusterNetworks("trivet")).networks;
  return { keeper, nft, tables, said, networks };
}

test("follow the nodes, of both families; what lies in another network is that network", async () => {
  const { keeper, networks, tables } = await start();
  keeper.learn(["10.42.2.0/24", "fd00:2::/64", "10.42.1.0/24", "10.42.2.128/25", "nonsense", "0.0.0.0/0"]);
  await keeper.pass();
  expect(await networks()).toEqual(["10.42.1.0/24", "10.42.2.0/24", "fd00:2::/64"]);
  expect([...(tables.get("trivet")?.parts ?? [])]).toEqual(["masquerade"]);
  keeper.learn(["10.42.0.0/16"]);
  await keeper.pass();
  expect(await networks()).toEqual(["10.42.0.0/16"]);
  keeper.learn([]);
  await keeper.pass();
  expect(await networks()).toEqual([]);
});

test("are those of an earlier agent until the nodes are known", async () => {
  const { nft, tables } = await start();
  const clusterNetworks = { add: ["10.42.1.0/24"], remove: [] };
  await nft.write("trivet", { install: ["masquerade"], clusterNetworks });
  await keeper?.stop();
  const { keeper: second, networks } = await start({ tables, fixed: ["10.43.1.0/24=192.0.2.1"] });
  expect(await networks()).toEqual(["10.42.1.0/24"]);
  second.learn(["10.42.2.0/24"]);
  await second.pass();
  expect(await networks()).toEqual(["10.42.2.0/24", "10.43.1.0/24"]);
});

test("are the configured ones where nobody tells of nodes, and come back after a flush", async () => {
  const { keeper, tables, networks } = await start({
    awaitsNodes: false,
    fixed: ["10.42.1.0/24=192.168.1.2"],
  });
  expect(await networks()).toEqual(["10.42.1.0/24"]);
  tables.clear();
  await keeper.pass();
  expect(await networks()).toEqual(["10.42.1.0/24"]);
});

test("make no rules where there are none, and are not looked at again while no rule changes", async () => {
  const { keeper, nft, tables } = await start({ awaitsNodes: false });
  expect(tables.size).toBe(0);
  let reads = 0;
  nft.onEffect = (op, subject) => {
    if (op === "nft.read" && subject === "trivet") reads += 1;
  };
  await keeper.pass();
  expect(reads).toBe(0);
});

test("thousands are several writes, of which what goes comes first", async () => {
  const { keeper, nft, networks } = await start();
  const many = (second: number) =>
    Array.from({ length: 1_200 }, (_, index) => `10.${second + (index >> 8)}.${index & 255}.0/24`);
  keeper.learn(many(0));
  await keeper.pass();
  expect(await networks()).toEqual(many(0));
  let writes = 0;
  nft.onEffect = (op, _subject, when) => {
    if (op === "nft.write" && when === "after") writes += 1;
  };
  keeper.learn(["10.0.0.0/9", ...many(200)]);
  await keeper.pass();
  expect(await networks()).toEqual(["10.0.0.0/9", ...many(200)]);
  expect(writes).toBe(3);
});

test("what the kernel refuses is said once, and tried again", async () => {
  const { keeper, nft, said, networks } = await start();
  nft.onEffect = (op) => {
    if (op === "nft.write") throw errnoError("EPERM", op, "trivet");
  };
  keeper.learn(["10.42.1.0/24"]);
  await keeper.pass();
  await keeper.pass();
  expect(said).toEqual(["pods of other nodes may see this node's address"]);
  nft.onEffect = undefined;
  await keeper.pass();
  expect(await networks()).toEqual(["10.42.1.0/24"]);
});
