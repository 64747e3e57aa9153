/**
 * Chains of plugins as libcni runs them: the result of each is the prevResult of the next, CHECK goes the same way with the last
 * result, DEL the other way round. The others are the reference plugins of Debian's containernetworking-plugins.
 */
import { spawnSync } from "node:child_process";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { ask, listen } from "./support/cni-traffic.ts";
import { type Json, uplink, World } from "./support/cni-world.ts";

const PLUGINS = "/usr/lib/cni";
let world: World;
let before: ReturnType<World["picture"]>;

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  before = world.picture();
  await world.startAgent();
  return () => world.destroy();
});

beforeEach(() => world.addNamespace("p1"));
afterEach(() => world.removeNamespace("p1"));

interface Link {
  /** `trivet`, or the file of a reference plugin. */
  readonly type: string;
  readonly conf?: Json;
}

async function runOne(command: string, { type, conf }: Link, prevResult: Json | undefined): Promise<string> {
  const shared = prevResult === undefined ? conf : { ...conf, prevResult };
  if (type === "trivet") {
    const { exitCode, stdout } = await world.call(command, "p1", { cniVersion: "1.0.0", ...shared });
    if (exitCode !== 0) throw new Error(`${command} of trivet: ${stdout}`);
    return stdout;
  }
  const answer = spawnSync("ip", ["netns", "exec", world.name("node"), `${PLUGINS}/${type}`], {
    env: { PATH: process.env.PATH, ...world.env(command, "p1"), CNI_PATH: PLUGINS },
    input: JSON.stringify({ cniVersion: "1.0.0", name: "pods", type, ...shared }),
    encoding: "utf8",
  });
  if (answer.status !== 0) throw new Error(`${command} of ${type}: ${answer.stdout}${answer.stderr}`);
  return answer.stdout;
}

async function add(chain: readonly Link[]): Promise<Json> {
  let result: Json | undefined;
  for (const link of chain) result = JSON.parse(await runOne("ADD", link, result)) as Json;
  return result ?? {};
}

async function check(chain: readonly Link[], result: Json): Promise<void> {
  for (const link of chain) await runOne("CHECK", link, result);
}

async function del(chain: readonly Link[], result: Json): Promise<void> {
  for (const link of [...chain].reverse()) await runOne("DEL", link, result);
}

const names = (result: Json) => (result.interfaces as { name: string }[]).map(({ name }) => name);

test.each(["routed", "bridge"])("bandwidth shapes a pod that is %s, both ways", async (mode) => {
  const rates = {
    ingressRate: 8_000_000,
    ingressBurst: 800_000,
    egressRate: 8_000_000,
    egressBurst: 800_000,
  };
  const chain = [
    { type: "trivet", conf: mode === "bridge" ? { mode, bridge: "trbr0" } : { mode } },
    { type: "bandwidth", conf: { runtimeConfig: { bandwidth: rates } } },
  ];
  const result = await add(chain);
  const [hostLink = ""] = names(result).filter((name) => name.startsWith("tv"));
  expect(names(result).length).toBe(mode === "bridge" ? 4 : 3);
  expect(world.exec("node", "tc", "qdisc", "show", "dev", hostLink)).toMatch(/tbf .*rate 8Mbit/);
  await check(chain, result);
  expect(world.pings("p1", uplink.outside)).toBe(true);
  await del(chain, result);
  expect(world.exec("node", "ip", "-o", "link")).not.toMatch(/tv|ifb|bwp/);
});

test("tuning sets parameters of the pod, and our CHECK takes its changes for what they are", async () => {
  const chain = [
    { type: "trivet" },
    { type: "tuning", conf: { sysctl: { "net.core.somaxconn": "500" }, mtu: 1280, promisc: true } },
  ];
  const result = await add(chain);
  expect(world.exec("p1", "busybox", "sysctl", "-n", "net.core.somaxconn").trim()).toBe("500");
  expect(world.exec("p1", "ip", "-o", "link", "show", "eth0")).toContain("mtu 1280 ");
  await check(chain, result);
  expect(world.pings("p1", uplink.outside)).toBe(true);
  await del(chain, result);
});

test("firewall and portmap work after ours, beside our own rules", async () => {
  const mapping = { hostPort: 8080, containerPort: 80, protocol: "tcp" };
  const chain = [
    { type: "trivet" },
    {
      type: "portmap",
      conf: { capabilities: { portMappings: true }, runtimeConfig: { portMappings: [mapping] } },
    },
    { type: "firewall", conf: { backend: "iptables" } },
  ];
  const result = await add(chain);
  const server = await listen(world, "p1", { protocol: "tcp", port: 80 });
  expect(ask(world, "out", { protocol: "tcp", address: uplink.node, port: 8080 })).toBe("p1");
  await server.stop();
  expect(world.pings("p1", uplink.outside)).toBe(true);
  // The reference portmap fails its own CHECK of a pod without IPv6: it looks for a chain of ip6tables that it never made.
  await check(
    chain.filter(({ type }) => type !== "portmap"),
    result,
  );
  await del(chain, result);
});

test("after another plugin ours adds to what that one gave, and has an interface of its own", async () => {
  const prevResult = {
    cniVersion: "1.0.0",
    interfaces: [{ name: "other0", mac: "02:00:00:00:00:07", sandbox: world.netns("p1") }],
    ips: [{ address: "203.0.113.7/24", interface: 0 }],
    routes: [{ dst: "203.0.113.0/24" }],
    dns: { nameservers: ["203.0.113.1"] },
  };
  const ours = { type: "trivet" };
  const result = JSON.parse(await runOne("ADD", ours, prevResult)) as Json;
  expect(names(result)).toEqual(["other0", expect.stringMatching(/^tv/), "eth0"]);
  expect(result.ips).toMatchObject([
    { address: "203.0.113.7/24", interface: 0 },
    { address: expect.stringContaining("10.88."), interface: 2 },
  ]);
  expect(result).toMatchObject({ dns: { nameservers: ["203.0.113.1"] } });
  await runOne("CHECK", ours, result);
  await runOne("DEL", ours, result);
  expect(world.picture().files).toEqual(before.files);
});
