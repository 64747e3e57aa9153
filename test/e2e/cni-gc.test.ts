/** Garbage collection on the real kernel: by the runtime's verb, by our own sweep, by hand; and DEL where there is no room to write. */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSweeper } from "../../src/cni/gc/sweeper.ts";
import { createCniDeps } from "../../src/commands/host.ts";
import { silentLog } from "../../src/observe/log.ts";
import { addressIn, type Json, uplink, World } from "./support/cni-world.ts";

let world: World;
let before: ReturnType<World["picture"]>;

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  world = new World();
  before = world.picture();
  world.addNamespace("live");
  await world.startAgent();
});

afterAll(() => world.destroy());

/** A pod that dies without a DEL. */
async function leaveBehind(pod: string): Promise<string> {
  world.addNamespace(pod);
  const address = addressIn(await world.call("ADD", pod));
  world.removeNamespace(pod);
  return address;
}

const valid = (...ids: string[]): Json => ({
  cniVersion: "1.1.0",
  "cni.dev/valid-attachments": ids.map((containerID) => ({ containerID, ifname: "eth0" })),
});

const leased = () => world.picture().files.flatMap((path) => /leases\/(.*)/.exec(path)?.[1] ?? []);

describe("what a dead pod left is removed, and a living one loses nothing,", () => {
  let living: string;

  beforeAll(async () => {
    living = addressIn(await world.call("ADD", "live"));
    return async () => {
      await world.call("DEL", "live");
      expect(world.picture()).toEqual(before);
    };
  });

  test.each(["the agent", "the plugin alone"])("by GC through %s", async (way) => {
    const dead = await leaveBehind("dead");
    expect(leased().sort()).toEqual([dead, living].sort());
    const run = way === "the agent" ? world.call.bind(world) : world.spawnPlugin.bind(world);
    expect(await run("GC", "", valid("live"))).toMatchObject({ exitCode: 0, stdout: "" });
    expect(leased()).toEqual([living]);
    expect(world.pings("live", uplink.node)).toBe(true);
    expect(await run("STATUS", "", { cniVersion: "1.1.0" })).toMatchObject({ exitCode: 0, stdout: "" });
  });

  test("by two looks of the sweep, and by none of one look", async () => {
    const dead = await leaveBehind("dead");
    const deps = await createCniDeps();
    let nowMs = Date.now();
    const clock = { ...deps.clock, nowMs: () => nowMs };
    const sweeper = createSweeper({ deps: { ...deps, clock }, stateDir: world.stateDir, log: silentLog });
    // Links are looked for in this process's namespace, where the living pod has none: its own namespace speaks for it.
    expect(await sweeper.sweep()).toMatchObject({ settled: [], waiting: [{ kind: "dead attachment" }] });
    expect(leased().sort()).toEqual([dead, living].sort());
    nowMs += 60_000;
    expect(await sweeper.sweep()).toMatchObject({ settled: [{ kind: "dead attachment" }], waiting: [] });
    expect(leased()).toEqual([living]);
    expect(world.pings("live", uplink.node)).toBe(true);
  });

  test("by hand: shown first, removed when told to", async () => {
    const dead = await leaveBehind("dead");
    const trivet = fileURLToPath(new URL("../../bin/trivet", import.meta.url));
    const gc = (...options: string[]) => {
      const argv = [trivet, "network", "gc", "--state-dir", world.stateDir, "-o", "json", ...options];
      return JSON.parse(world.exec("node", ...argv)) as Json[];
    };
    const facts = { network: "pods", kind: "dead attachment", pod: "default/dead" };
    expect(gc()).toMatchObject([{ ...facts, outcome: "found" }]);
    expect(leased()).toContain(dead);
    expect(gc("--delete")).toMatchObject([{ ...facts, outcome: "removed" }]);
    expect(leased()).toEqual([living]);
    expect(gc()).toEqual([]);
  });
});

test("an ADD that finds no address takes that of a dead pod once its runtime has had a minute for the DEL", async () => {
  const config = { ipam: { ranges: [[{ subnet: "10.55.0.0/30" }]] }, name: "tiny", cniVersion: "1.1.0" };
  world.addNamespace("dead");
  world.addNamespace("next");
  await world.call("ADD", "dead", config);
  world.removeNamespace("dead");
  const refused = await world.call("ADD", "next", config);
  expect(JSON.parse(refused.stdout)).toMatchObject({
    code: 11,
    msg: expect.stringContaining("all 1 are leased"),
  });
  expect(JSON.parse((await world.call("STATUS", "", config)).stdout)).toMatchObject({ code: 50 });
  // The minute has gone by.
  const [record = ""] = world.picture().files.filter((path) => path.includes("tiny/attachments/"));
  const path = join(world.directory, record);
  const content = execFileSync("cat", [path], { encoding: "utf8" });
  writeFileSync(path, content.replace(/"createdAtMs":\d+/, `"createdAtMs":${Date.now() - 61_000}`));
  expect(addressIn(await world.call("ADD", "next", config))).toBe("10.55.0.2");
  await world.call("DEL", "next", config);
  world.removeNamespace("next");
  expect(world.picture()).toEqual(before);
});

/** Until neither another file nor another byte finds room. */
function fill(path: string): void {
  const full = (write: (index: number) => void) => {
    for (let index = 0; index < 1_000; index += 1) {
      try {
        write(index);
      } catch (error) {
        return expect(String(error)).toContain("ENOSPC");
      }
    }
    throw new Error("the disk is never full");
  };
  full((index) => writeFileSync(`${path}.${index}`, ""));
  full(() => appendFileSync(`${path}.0`, Buffer.alloc(4_096)));
}

test("on a disk that is full, ADD is refused before it touches anything, and DEL and GC free everything", async () => {
  const stateDir = join(world.directory, "small");
  mkdirSync(stateDir);
  // The agent has mounts of its own: it sees what was mounted before it began.
  await world.stopAgent();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,nr_inodes=60", "none", stateDir]);
  await world.startAgent();
  try {
    const config = { stateDir, name: "small", cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
    for (const pod of ["full1", "full2"]) {
      world.addNamespace(pod);
      addressIn(await world.call("ADD", pod, config));
    }
    fill(join(stateDir, "rest"));
    const answer = await world.call("ADD", "live", config);
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 5, msg: expect.stringContaining("ENOSPC") });
    expect(JSON.parse((await world.call("STATUS", "", config)).stdout)).toMatchObject({ code: 50 });
    expect(await world.call("DEL", "full1", config)).toMatchObject({ exitCode: 0, stdout: "" });
    expect(await world.call("GC", "", config)).toMatchObject({ exitCode: 0, stdout: "" });
    const others = ["!", "-name", "cursor.*", "!", "-name", "rest.*"];
    expect(execFileSync("find", [stateDir, "-type", "f", ...others], { encoding: "utf8" })).toBe("");
    expect(world.picture().links).toBe(before.links);
  } finally {
    await world.stopAgent();
    execFileSync("umount", [stateDir]);
    for (const pod of ["full1", "full2"]) world.removeNamespace(pod);
  }
});
