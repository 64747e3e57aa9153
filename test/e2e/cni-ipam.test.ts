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

  test("is added to and deleted from without the agent too", async () => {
    const address = addressIn(await world.spawnPlugin("ADD", "p1", config()));
    expect(reserved()).toEqual([address]);
    expect(await world.spawnPlugin("DEL", "p1", config())).toMatchObject({ exitCode: 0, stdout: "" });
    expect(reserved()).toEqual([]);
    expect(stateFiles()).toEqual([]);
  });

  describe("through the agent", () => {
    const call = (command: string, changes: Json = {}) =>
      world.call(command, "p1", { ...config(), ...changes });

    beforeAll(async () => {
      await world.startAgent();
      return () => world.stopAgent();
    });

    test("adds, serves traffic, checks, says that it is ready, and deletes", async () => {
      const before = world.picture();
      const answer = await call("ADD");
      const address = addressIn(answer);
      expect(address).toMatch(/^10\.6\.0\.\d+$/);
      expect(reserved()).toEqual([address]);
      expect(world.pings("p1", uplink.outside)).toBe(true);
      const prevResult = JSON.parse(answer.stdout) as Json;
      expect(await call("CHECK", { prevResult })).toMatchObject({ exitCode: 0 });
      // host-local 1.1 speaks 1.0.0 and knows no STATUS.
      expect(await call("STATUS", { cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0, stdout: "" });
      // By the record: the configuration names another IPAM plugin by now.
      const changed = { ipam: { ranges: [[{ subnet: "10.5.0.0/24" }]] } };
      expect(await call("DEL", changed)).toMatchObject({ exitCode: 0, stdout: "" });
      expect(reserved()).toEqual([]);
      expect(world.picture()).toEqual(before);
    });

    test("an ADD of 1.1.0, which it does not speak, is converted for it and back", async () => {
      const answer = await call("ADD", { cniVersion: "1.1.0" });
      expect(JSON.parse(answer.stdout)).toMatchObject({ cniVersion: "1.1.0" });
      expect(addressIn(answer)).toMatch(/^10\.6\.0\./);
      expect(await call("DEL", { cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0 });
      expect(reserved()).toEqual([]);
    });

    test("an ADD that fails at the pod's interface gives the address back", async () => {
      world.exec("p1", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other0");
      expect(JSON.parse((await call("ADD")).stdout)).toMatchObject({ code: 100 });
      expect(reserved()).toEqual([]);
      expect(stateFiles()).toEqual([]);
      world.exec("p1", "ip", "link", "del", "eth0");
    });
  });
});

test("the reference plugins tuning, bandwidth and firewall work after ours, and our CHECK and DEL after them", async () => {
  const rates = {
    ingressRate: 1_000_000,
    ingressBurst: 1_000_000,
    egressRate: 1_000_000,
    egressBurst: 1_000_000,
  };
  const chain: readonly (readonly [string, Json])[] = [
    ["tuning", { sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" }, mtu: 1300 }],
    ["bandwidth", rates],
    ["firewall", { backend: "iptables" }],
  ];
  const run = async (plugin: string, command: string, more: Json) => {
    const config = { cniVersion: "1.0.0", name: "pods", ...more };
    const answer = await world.reference(plugin, { command, pod: "p1", config });
    expect(answer.exitCode, `${plugin} ${command}: ${answer.stdout}`).toBe(0);
    return answer;
  };
  await world.startAgent();
  const added = await world.call("ADD", "p1");
  let prevResult = JSON.parse(added.stdout) as Json;
  for (const [plugin, options] of chain) {
    prevResult = JSON.parse((await run(plugin, "ADD", { ...options, prevResult })).stdout) as Json;
  }
  expect(prevResult.ips).toEqual((JSON.parse(added.stdout) as Json).ips);
  expect(world.pings("p1", uplink.node)).toBe(true);
  const checked = await world.call("CHECK", "p1", { prevResult });
  expect(checked, checked.stdout).toMatchObject({ exitCode: 0 });
  for (const [plugin, options] of [...chain].reverse()) await run(plugin, "DEL", { ...options, prevResult });
  expect(await world.call("DEL", "p1", { prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
  expect(stateFiles()).toEqual([]);
  await world.stopAgent();
});
