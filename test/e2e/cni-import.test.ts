/** From bridge + host-local to trivet on one node while pods run: no address twice, and old and new pods reach one another. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ImportedAddress } from "../../src/cni/import/import.ts";
import { addressIn, type Json, World } from "./support/cni-world.ts";

const trivet = fileURLToPath(new URL("../../bin/trivet", import.meta.url));
const plugins = "/usr/lib/cni";
let world: World;
let dataDir: string;
const old = new Map<string, string>();

const ipam = (range: Json = {}) => ({
  ...{ type: "host-local", dataDir, routes: [{ dst: "0.0.0.0/0" }] },
  ranges: [[{ subnet: "10.88.0.0/24", ...range }]],
});

/** The reference plugin, as the runtime ran it before. */
function bridge(command: string, pod: string, range: Json = {}): Json {
  const env = { PATH: process.env.PATH, ...world.env(command, pod), CNI_PATH: plugins };
  const conf = {
    cniVersion: "1.0.0",
    name: "pods",
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    ipam: ipam(range),
  };
  const argv = ["netns", "exec", world.name("node"), join(plugins, "bridge")];
  const { status, stdout, stderr } = spawnSync("ip", argv, {
    env,
    input: JSON.stringify(conf),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`bridge ${command}: ${stdout}${stderr}`);
  return stdout === "" ? {} : (JSON.parse(stdout) as Json);
}

function importAddresses(...flags: string[]): { rows: ImportedAddress[]; status: number | null } {
  const where = [
    "--from",
    dataDir,
    "--state-dir",
    world.stateDir,
    "--cache-dir",
    join(world.directory, "cache"),
  ];
  const argv = [trivet, "network", "import", ...where, "-o", "json", ...flags];
  const { status, stdout, stderr } = spawnSync("ip", ["netns", "exec", world.name("node"), ...argv], {
    encoding: "utf8",
  });
  if (stdout === "") throw new Error(`import failed: ${stderr}`);
  return { rows: JSON.parse(stdout) as ImportedAddress[], status };
}

const ours = () => ({ ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] } });
const outcomes = (rows: readonly ImportedAddress[]) =>
  rows.map(({ address, outcome }) => `${address} ${outcome}`);

beforeAll(() => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  expect(existsSync(join(plugins, "bridge")), "needs the package containernetworking-plugins").toBe(true);
  world = new World();
  dataDir = join(world.directory, "networks");
  mkdirSync(dataDir);
  for (const pod of ["o1", "o2", "gone", "n1"]) world.addNamespace(pod);
  for (const pod of ["o1", "o2", "gone"]) {
    const { ips } = bridge("ADD", pod) as { ips: { address: string }[] };
    old.set(pod, (ips[0]?.address ?? "").replace("/24", ""));
  }
  // A pod that went without a DEL: host-local keeps its address for ever.
  world.removeNamespace("gone");
});
afterAll(() => world.destroy());

describe("a node that moves from bridge + host-local", () => {
  test("shows what would be taken over, and what had leaked", () => {
    const { rows, status } = importAddresses();
    expect(status).toBe(0);
    expect(outcomes(rows).sort()).toEqual(
      [`${old.get("o1")} import`, `${old.get("o2")} import`, `${old.get("gone")} dead`].sort(),
    );
  });

  test("takes them over once, and gives a new pod another address", async () => {
    importAddresses("--network", "pods", "--apply");
    expect(outcomes(importAddresses("--apply").rows).filter((line) => line.endsWith("import"))).toEqual([]);
    await world.startAgent();
    const added = addressIn(await world.call("ADD", "n1", ours()));
    expect([old.get("o1"), old.get("o2")]).not.toContain(added);
    old.set("n1", added);
  });

  test("lets old and new pods reach one another, once the bridge answers for the new ones", () => {
    world.exec("node", "busybox", "sysctl", "-qw", "net.ipv4.conf.cni0.proxy_arp=1");
    expect(world.pings("n1", old.get("o1") ?? "")).toBe(true);
    expect(world.pings("o1", old.get("n1") ?? "")).toBe(true);
    expect(world.pings("o1", old.get("o2") ?? "")).toBe(true);
  });

  test("releases the address of an old pod with trivet's DEL, and that of no other", async () => {
    expect(await world.call("DEL", "o1", ours())).toMatchObject({ exitCode: 0 });
    const [boot = ""] = readdirSync(world.stateDir).filter((name) => name.includes("-"));
    const leases = readdirSync(join(world.stateDir, boot, "pods/leases")).sort();
    expect(leases).toEqual([old.get("o2"), old.get("n1")].sort());
    expect(world.pings("n1", old.get("o2") ?? "")).toBe(true);
  });

  test("shows an address that both have given away as a conflict, and changes nothing", async () => {
    rmSync(join(dataDir, "pods"), { recursive: true });
    await world.call("DEL", "o2", ours());
    bridge("DEL", "o2");
    const taken = old.get("n1") ?? "";
    bridge("ADD", "o2", { rangeStart: taken, rangeEnd: taken });
    const { rows, status } = importAddresses("--apply");
    expect(outcomes(rows)).toEqual([`${taken} conflict`]);
    expect(rows[0]?.detail).toContain("n1");
    expect(status).toBe(1);
  });
});
