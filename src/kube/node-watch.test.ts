/** The watch of nodes against an API server that lists, watches and fails as real ones do. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createFakeClock, type FakeClock } from "../../test/fakes/clock.ts";
import { type FakeApiServer, startFakeApiServer } from "../../test/fakes/kube/api-server.ts";
import { silentLog } from "../observe/log.ts";
import { type ApiClient, createApiClient } from "./api-client.ts";
import { type Nodes, type NodeWatch, watchNodes } from "./node-watch.ts";

let server: FakeApiServer;
let clock: FakeClock;
let client: ApiClient;
let watch: NodeWatch | undefined;
let known: Nodes | undefined;
let calls = 0;
let restarts: string[] = [];

beforeEach(async () => {
  server = await startFakeApiServer();
  clock = createFakeClock();
  known = undefined;
  watch = undefined;
  calls = 0;
  restarts = [];
  const access = { server: server.url, credentials: async () => ({ token: "t" }) };
  client = createApiClient({ access, clock, userAgent: "trivet/test" });
});
afterEach(async () => {
  await watch?.stop();
  client.close();
  await server.stop();
});

function start(): void {
  watch = watchNodes({
    client,
    clock,
    log: silentLog,
    random: () => 0,
    onNodes: (nodes) => {
      known = new Map(nodes);
      calls += 1;
    },
    observer: { restarted: (reason) => restarts.push(reason), heard: () => undefined },
  });
}

const names = () => [...(known?.keys() ?? [])].sort();
const until = (condition: () => boolean) =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 5_000, interval: 2 });
/** Lets pauses pass, however many, until the condition holds. */
const untilWithTime = (condition: () => boolean) =>
  until(() => {
    if (condition()) return true;
    clock.advance(1_000);
    return false;
  });

describe("the watch of nodes", () => {
  it("lists, then follows what is added, changed and removed", async () => {
    server.put({
      name: "a",
      podCIDRs: ["10.42.0.0/24", "fd00:1::/64"],
      internalIps: ["192.0.2.1", "2001:db8::1"],
    });
    start();
    await until(() => server.watching === 1);
    expect([...(known?.values() ?? [])]).toEqual([
      { name: "a", podCidrs: ["10.42.0.0/24", "fd00:1::/64"], internalIps: ["192.0.2.1", "2001:db8::1"] },
    ]);
    server.put({ name: "b" });
    await until(() => names().length === 2);
    server.put({ name: "b", podCIDRs: ["10.42.1.0/24"] });
    await until(() => known?.get("b")?.podCidrs.length === 1);
    server.remove("a");
    await until(() => names().join() === "b");
    expect(server.requests.map(({ authorization }) => authorization)).toEqual(["Bearer t", "Bearer t"]);
    expect(server.requests[0]?.userAgent).toBe("trivet/test");
  });

  it("reads a long list in pages, and tells it once", async () => {
    for (let index = 0; index < 1_203; index += 1) server.put({ name: `n${index}` });
    start();
    await until(() => known !== undefined);
    expect(names()).toHaveLength(1_203);
    expect(calls).toBe(1);
    expect(server.requests.filter(({ query }) => query.has("limit"))).toHaveLength(3);
  });

  it("says nothing about a change that concerns nothing that is kept", async () => {
    server.put({ name: "a" });
    start();
    await until(() => server.watching === 1);
    server.put({ name: "a" });
    server.put({ name: "b" });
    await until(() => names().length === 2);
    expect(calls).toBe(2);
  });

  it("goes on from where a watch ended, and misses nothing that happened in between", async () => {
    server.put({ name: "a" });
    start();
    await until(() => server.watching === 1);
    server.endWatches("in order");
    server.remove("a");
    server.put({ name: "b" });
    await untilWithTime(() => names().join() === "b");
    expect(server.requests.filter(({ query }) => query.has("limit"))).toHaveLength(1);
    expect(restarts).toEqual(["start", "ended"]);
  });

  it("goes on from a bookmark when all before it is forgotten", async () => {
    server.put({ name: "a" });
    start();
    await until(() => server.watching === 1);
    server.compact();
    server.bookmark();
    server.put({ name: "b" });
    await until(() => names().length === 2);
    server.endWatches("in order");
    await until(() => server.requests.length === 3);
    server.put({ name: "c" });
    await until(() => names().length === 3);
    expect(server.requests.filter(({ query }) => query.has("limit"))).toHaveLength(1);
  });

  it("lists anew when its version is too old, and drops what went in between", async () => {
    server.put({ name: "a" });
    server.put({ name: "b" });
    start();
    await until(() => server.watching === 1);
    server.endWatches("in order");
    server.remove("a");
    server.compact();
    await untilWithTime(() => names().join() === "b");
    expect(restarts).toContain("expired");
  });

  it.each([
    ["expires", () => server.compact()],
    ["is refused", () => server.refuse(500)],
  ])("begins again when the list %s between two pages", async (_how, disturb) => {
    for (let index = 0; index < 600; index += 1) server.put({ name: `n${index}` });
    const get = client.get;
    let disturbed = false;
    client = {
      ...client,
      get: async (options) => {
        if (options.path.includes("continue") && !disturbed) {
          disturbed = true;
          disturb();
        }
        return get(options);
      },
    };
    start();
    await untilWithTime(() => names().length === 600);
    expect(restarts).toContain("error");
  });

  it("keeps what it knows while the stream breaks and the server refuses, and comes back", async () => {
    server.put({ name: "a" });
    start();
    await until(() => server.watching === 1);
    server.refuse(500, 403, 429);
    server.endWatches("broken");
    await untilWithTime(() => server.watching === 1);
    expect(names()).toEqual(["a"]);
    server.put({ name: "b" });
    await until(() => names().length === 2);
    expect(restarts.filter((reason) => reason === "error")).toHaveLength(4);
  });

  it("waits longer each time that the server refuses", async () => {
    server.refuse(...Array.from({ length: 6 }, () => 500));
    start();
    const waits: number[] = [];
    for (let tries = 1; tries < 6; tries += 1) {
      await until(() => server.requests.length === tries);
      let waited = 0;
      await until(() => {
        if (server.requests.length > tries) return true;
        clock.advance(500);
        waited += 500;
        return false;
      });
      waits.push(waited);
    }
    expect(waits[4]).toBeGreaterThan(waits[0] ?? 0);
  });

  it("gives up a connection on which nothing comes", async () => {
    server.stall = true;
    start();
    await until(() => server.requests.length === 2);
    server.stall = false;
    await untilWithTime(() => server.watching === 1);
    server.put({ name: "late" });
    await until(() => names().join() === "late");
  });

  it("pauses between watches that all end at once", async () => {
    server.endAtOnce = true;
    start();
    await until(() => server.requests.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(server.requests).toHaveLength(2);
    server.endAtOnce = false;
    await untilWithTime(() => server.watching === 1);
  });

  it("ends at once when it is stopped: while it waits, and while it watches", async () => {
    server.refuse(500);
    start();
    await until(() => server.requests.length === 1);
    await watch?.stop();
    start();
    await until(() => server.watching === 1);
    await watch?.stop();
    await until(() => server.watching === 0);
  });
});
