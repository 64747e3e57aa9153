/** IPAM across plugins on the real kernel: the reference bridge with our addresses, and our links with those of the reference host-local. */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addressIn, type CniAnswer, type Json, uplink, World } from "./support/cni-world.ts";

const trivet = fileURLToPath(new URL("../../bin/trivet", import.meta.url));
/** Debian's containernetworking-plugins. */
const referencePlugins = "/usr/lib/cni";

class ChainWorld extends World {
  readonly bin = join(this.directory, "bin");

  constructor() {
    super();
    mkdirSync(this.bin);
    symlinkSync(trivet, join(this.bin, "trivet"));
  }

  override env(command: string, pod: string): Record<string, string> {
    return { ...super.env(command, pod), CNI_PATH: `${this.bin}:${referencePlugins}` };
  }

  /** A reference plugin in the node's namespace. */
  reference(plugin: string, { command, pod, config }: { command: string; pod: string; config: Json }) {
    const argv = ["netns", "exec", this.name("node"), join(referencePlugins, plugin)];
    const child = spawn("ip", argv, { env: { PATH: process.env.PATH, ...this.env(command, pod) } });
    child.stdin.end(JSON.stringify({ ...config, type: plugin }));
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    return new Promise<CniAnswer>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve({ exitCode: code ?? -1, stdout, stderr }));
    });
  }
}

let world: ChainWorld;

beforeAll(() => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new ChainWorld();
  for (const pod of ["p1", "p2"]) world.addNamespace(pod);
});

afterAll(() => world.destroy());

const stateFiles = () => world.picture().files;

describe("the reference bridge, with trivet as its IPAM plugin,", () => {
  const config = () => ({
    cniVersion: "1.0.0",
    name: "bridged",
    bridge: "br-test",
    isGateway: true,
    stateDir: world.stateDir,
    socket: world.socket,
    ipam: { type: "trivet", ranges: [[{ subnet: "10.7.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] },
  });

  const bridge = async (command: string, pod: string, changes: Json = {}) => {
    const answer = await world.reference("bridge", { command, pod, config: { ...config(), ...changes } });
    expect(answer.exitCode, answer.stdout).toBe(0);
    return answer;
  };

  test("adds pods that reach one another through the agent, and deletes them", async () => {
    await world.startAgent();
    const first = await bridge("ADD", "p1");
    const second = addressIn(await bridge("ADD", "p2")).replace("/24", "");
    expect(second).toMatch(/^10\.7\.0\./);
    expect(world.pings("p1", second)).toBe(true);
    expect(stateFiles().filter((path) => path.includes("/leases/"))).toHaveLength(2);
    await bridge("CHECK", "p1", { prevResult: JSON.parse(first.stdout) });
    for (const pod of ["p1", "p2"]) await bridge("DEL", pod);
    expect(stateFiles()).toEqual([]);
    await world.stopAgent();
  });

  test("adds and deletes without the agent", async () => {
    expect(addressIn(await bridge("ADD", "p1"))).toMatch(/^10\.7\.0\.\d+\/24$/);
    await bridge("DEL", "p1");
    expect(stateFiles()).toEqual([]);
  });
});

describe("our plugin, with the reference host-local as its IPAM plugin,", () => {
  const dataDir = () => join(world.directory, "host-local");
  const config = () => ({
    name: "delegated",
    ipam: {
      type: "host-local",
      dataDir: dataDir(),
      ranges: [[{ subnet: "10.6.0.0/24" }]],
      routes: [{ dst: "0.0.0.0/0" }],
    },
  });
  const reserved = () => readdirSync(join(dataDir(), "delegated")).filter((name) => /^10\./.test(name));

  test.each(["standalone", "with the agent"])("adds, serves traffic, checks and deletes: %s", async (way) => {
    if (way !== "standalone") await world.startAgent();
    const before = world.picture();
    const call = (command: string, pod: string, changes: Json = {}) =>
      way === "standalone"
        ? world.spawnPlugin(command, pod, { ...config(), ...changes })
        : world.call(command, pod, { ...config(), ...changes });
    const answer = await call("ADD", "p1");
    const address = addressIn(answer);
    expect(address).toMatch(/^10\.6\.0\.\d+$/);
    expect(reserved()).toEqual([address]);
    expect(world.pings("p1", uplink.node)).toBe(true);
    expect(world.pings("p1", uplink.outside)).toBe(true);
    const prevResult = JSON.parse(answer.stdout) as Json;
    expect(await call("CHECK", "p1", { prevResult })).toMatchObject({ exitCode: 0 });
    // host-local 1.1 speaks 1.0.0 and knows no STATUS.
    expect(await call("STATUS", "p1", { cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0, stdout: "" });
    // By the record: the configuration names another IPAM plugin by now.
    const changed = { ipam: { ranges: [[{ subnet: "10.5.0.0/24" }]] } };
    expect(await call("DEL", "p1", changed)).toMatchObject({ exitCode: 0, stdout: "" });
    expect(reserved()).toEqual([]);
    expect(world.picture()).toEqual(before);
    await world.stopAgent();
  });

  test("an ADD of 1.1.0, which it does not speak, is converted for it and back", async () => {
    const answer = await world.spawnPlugin("ADD", "p1", { ...config(), cniVersion: "1.1.0" });
    expect(JSON.parse(answer.stdout)).toMatchObject({ cniVersion: "1.1.0" });
    expect(addressIn(answer)).toMatch(/^10\.6\.0\./);
    const deleted = await world.spawnPlugin("DEL", "p1", { ...config(), cniVersion: "1.1.0" });
    expect(deleted).toMatchObject({ exitCode: 0 });
    expect(reserved()).toEqual([]);
  });

  test("an ADD that fails at the pod's interface gives the address back", async () => {
    world.exec("p1", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other0");
    const answer = await world.spawnPlugin("ADD", "p1", config());
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 100 });
    expect(reserved()).toEqual([]);
    expect(stateFiles()).toEqual([]);
    world.exec("p1", "ip", "link", "del", "eth0");
  });
});

describe("the reference plugins after ours in a chain", () => {
  test.each([
    ["tuning", { sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" }, mtu: 1300 }],
    [
      "bandwidth",
      { ingressRate: 1_000_000, ingressBurst: 1_000_000, egressRate: 1_000_000, egressBurst: 1_000_000 },
    ],
  ])("%s works on our result, and our CHECK and DEL after it", async (plugin, options) => {
    const added = await world.spawnPlugin("ADD", "p1");
    const address = addressIn(added);
    const chained = (command: string, prevResult: Json) => {
      const config = { cniVersion: "1.0.0", name: "pods", ...options, prevResult };
      return world.reference(plugin, { command, pod: "p1", config });
    };
    const changed = await chained("ADD", JSON.parse(added.stdout) as Json);
    expect(changed.exitCode, changed.stdout).toBe(0);
    expect(addressIn(changed)).toBe(address);
    const prevResult = JSON.parse(changed.stdout) as Json;
    expect(world.pings("p1", uplink.node)).toBe(true);
    const checked = await world.spawnPlugin("CHECK", "p1", { prevResult });
    expect(checked, checked.stdout).toMatchObject({ exitCode: 0 });
    expect(await chained("DEL", prevResult)).toMatchObject({ exitCode: 0 });
    expect(await world.spawnPlugin("DEL", "p1", { prevResult })).toMatchObject({ exitCode: 0 });
    expect(stateFiles()).toEqual([]);
  });
});
