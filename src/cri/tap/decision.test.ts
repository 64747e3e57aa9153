import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ErrorCode, goawayFrame, Setting } from "./frames.ts";
import { defaultLimits, HeldBudget } from "./limits.ts";
import { type Deferred, defer, settled } from "./testing/deferred.ts";
import {
  data,
  headers,
  message,
  request,
  reset,
  responseHead,
  settingsAck,
  trailers,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { PATH, toClient, toUpstream } from "./testing/show.ts";
import { holding } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

/** A wire whose decisions wait; `decisions` are in the order of the calls. */
function waiting(options: Omit<Parameters<typeof startWire>[0], "hooks"> = {}) {
  const decisions: Deferred[] = [];
  const budget = new HeldBudget(defaultLimits.maxHeldBytes);
  const { hooks, ends } = holding(() => {
    const decision = defer();
    decisions.push(decision);
    return decision.promise;
  });
  const wire = startWire({ hooks, budget, ...options });
  return { wire, ends, budget, decisions };
}

const abc = message(Buffer.from("abc"));
const answer = (id: number) => [responseHead(id), trailers(id, 0)];

describe("a decision that takes its time", () => {
  it("holds its call only: others go on, and the client is credited for what is held", async () => {
    const { wire, ends, budget, decisions } = waiting();
    wire.fromClient(request(1, PATH), data(1, abc));
    expect(toUpstream(wire)).toEqual(["headers 1"]);
    expect(toClient(wire)).toEqual(["windowUpdate 1 +8", "windowUpdate 0 +8"]);
    expect(budget.bytes).toBe(8);
    wire.fromClient(request(3, PATH), data(3, abc, { endStream: true }));
    decisions[1]?.resolve({ action: "forward" });
    await settled();
    expect(toUpstream(wire)).toEqual(["headers 3", "data 3 END 8"]);
    decisions[0]?.resolve({ action: "replace", message: Buffer.from("abc++") });
    await settled();
    expect(toUpstream(wire)).toEqual(["data 1 10"]);
    wire.fromClient(data(1, Buffer.alloc(0), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["data 1 END 0"]);
    wire.fromUpstream(...answer(1), ...answer(3));
    expect([ends.get(1)?.grpcStatus, ends.get(3)?.grpcStatus]).toEqual([0, 0]);
    expect(ends.get(1)?.timing.heldMs).toBeGreaterThan(0);
    expect([wire.machine.streams, budget.bytes]).toEqual([0, 0]);
    expect(wire.problems()).toEqual([]);
  });

  it("sends END_STREAM with the message where that came while it was waited for", async () => {
    const { wire, decisions } = waiting();
    wire.fromClient(request(1, PATH), data(1, abc.subarray(0, 3)), data(1, abc.subarray(3)));
    wire.fromClient(data(1, Buffer.alloc(0), { padding: 4, endStream: true }));
    decisions[0]?.resolve({ action: "forward" });
    await settled();
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 END 8"]);
    expect(wire.problems()).toEqual([]);
  });

  it("may be a denial, which keeps the rules of the fence", async () => {
    const { wire, ends, budget, decisions } = waiting();
    wire.fromClient(request(1, PATH), data(1, abc, { endStream: true }));
    decisions[0]?.resolve({ action: "deny", status: 7, message: "no" });
    await settled();
    expect(toUpstream(wire)).toEqual(["headers 1", "rstStream 1 8", "settings 0"]);
    wire.clientFrames();
    wire.fromUpstream(settingsAck);
    expect(toClient(wire)).toEqual(["headers 1 END"]);
    expect(ends.get(1)).toMatchObject({ grpcStatus: 7, answeredByTap: true });
    expect([wire.machine.streams, budget.bytes]).toEqual([0, 0]);
    expect(wire.problems()).toEqual([]);
  });

  it("that is rejected fails the call closed, and says so", async () => {
    const { wire, ends, decisions } = waiting();
    wire.fromClient(request(1, PATH), data(1, abc, { endStream: true }));
    decisions[0]?.reject(new Error("bug"));
    await settled();
    wire.fromUpstream(settingsAck);
    expect(ends.get(1)).toMatchObject({ grpcStatus: 13, answeredByTap: true });
    expect(wire.hookErrors).toEqual([new Error("bug")]);
  });

  it("does not let go of a grown message faster than the windows allow", async () => {
    const { wire, decisions } = waiting({ upstream: { [Setting.initialWindowSize]: 100 } });
    wire.fromClient(request(1, PATH), data(1, abc, { endStream: true }));
    decisions[0]?.resolve({ action: "replace", message: Buffer.alloc(145) });
    await settled();
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 100"]);
    wire.fromUpstream(windowUpdate(1, 50));
    expect(toUpstream(wire)).toEqual(["data 1 END 50"]);
    expect(wire.problems()).toEqual([]);
  });

  it("counts against the held bytes with what a compressed message was unpacked to", async () => {
    const { wire, budget, decisions } = waiting();
    const packed = message(gzipSync(Buffer.alloc(50_000)), 1);
    wire.fromClient(request(1, PATH, [["grpc-encoding", "gzip"]]), data(1, packed, { endStream: true }));
    expect(budget.bytes).toBe(50_000 + packed.length);
    decisions[0]?.resolve({ action: "forward" });
    await settled();
    expect(wire.upstreamFrames()[1]?.payload).toEqual(packed);
    expect(budget.bytes).toBe(0);
  });

  it("is not waited for by more calls than the limit says", async () => {
    const { wire, ends, decisions } = waiting({ limits: { maxPending: 2 } });
    for (const id of [1, 3, 5]) wire.fromClient(request(id, PATH), data(id, abc, { endStream: true }));
    wire.fromUpstream(settingsAck);
    expect([...ends].map(([id, end]) => [id, end.grpcStatus])).toEqual([[5, 8]]);
    decisions[2]?.reject(new Error("told, but nothing comes of it"));
    decisions[1]?.resolve({ action: "forward" });
    await settled();
    wire.fromClient(request(7, PATH), data(7, abc, { endStream: true }));
    expect(wire.machine.streams).toBe(3);
    expect(decisions).toHaveLength(4);
  });

  it("ends the connection where the held bytes would be too many", () => {
    const { wire, ends } = waiting({ budget: new HeldBudget(12) });
    wire.fromClient(request(1, PATH), data(1, abc, { endStream: true }));
    wire.fromClient(request(3, PATH), data(3, abc, { endStream: true }));
    expect(wire.machine.failure?.kind).toBe("exhausted");
    expect([ends.get(1)?.grpcStatus, ends.get(3)?.grpcStatus]).toEqual([8, 8]);
  });
});

describe("what ends the wait for a decision, whichever comes later", () => {
  it.each([
    ["the client's reset", [reset(1)], [], ["rstStream 1 8"], { reset: "client" }],
    ["upstream's reset", [], [reset(1, 2)], [], { reset: "upstream" }],
    ["an early answer", [], answer(1), ["rstStream 1 8"], { grpcStatus: 0, answeredByTap: false }],
    [
      "an early answer, trailers only",
      [],
      [
        headers(
          1,
          [
            [":status", "200"],
            ["grpc-status", "12"],
          ],
          true,
        ),
      ],
      ["rstStream 1 8"],
      { grpcStatus: 12 },
    ],
    [
      "upstream's GOAWAY, which leaves the call out",
      [],
      [goawayFrame(0, ErrorCode.noError)],
      [],
      { reset: "upstream" },
    ],
    [
      "a second message",
      [data(1, abc)],
      [settingsAck],
      ["rstStream 1 8", "settings 0"],
      { grpcStatus: 13, answeredByTap: true },
    ],
    [
      "request trailers",
      [headers(1, [["x", "y"]], true)],
      [settingsAck],
      ["headers 1", "rstStream 1 8", "settings 0"],
      { grpcStatus: 13, answeredByTap: true },
    ],
  ])("%s", async (_, fromClient, fromUpstream, sent, end) => {
    const { wire, ends, budget, decisions } = waiting();
    wire.fromClient(request(1, PATH), data(1, abc));
    wire.upstreamFrames();
    wire.fromClient(...fromClient);
    wire.fromUpstream(...fromUpstream);
    expect(toUpstream(wire)).toEqual(sent);
    expect(ends.get(1)).toMatchObject(end);
    expect(budget.bytes).toBe(0);
    decisions[0]?.resolve({ action: "replace", message: Buffer.alloc(9) });
    await settled();
    expect(toUpstream(wire)).toEqual([]);
    expect([wire.machine.phase, budget.bytes]).toEqual(["live", 0]);
    expect(wire.problems()).toEqual([]);
  });

  it("the end of either side's connection", async () => {
    for (const end of ["client", "upstream"] as const) {
      const { wire, ends, budget, decisions } = waiting();
      wire.fromClient(request(1, PATH), data(1, abc));
      wire.upstreamFrames();
      if (end === "client") wire.machine.clientGone();
      else wire.machine.upstreamGone({ status: 14, message: "away" });
      decisions[0]?.resolve({ action: "forward" });
      await settled();
      expect(toUpstream(wire)).toEqual([]);
      expect([wire.machine.phase, wire.machine.streams, budget.bytes]).toEqual(["over", 0, 0]);
      expect(ends.get(1)).toMatchObject(end === "client" ? { reset: "connection" } : { grpcStatus: 14 });
    }
  });

  it("a drain waits for it, and the connection is over with the call", async () => {
    const { wire, decisions } = waiting();
    wire.fromClient(request(1, PATH), data(1, abc, { endStream: true }));
    wire.machine.drain();
    wire.flush();
    const [, ping] = wire.clientFrames().slice(-2);
    const ack = Buffer.concat([Buffer.from([0, 0, 8, 6, 1, 0, 0, 0, 0]), ping?.payload ?? Buffer.alloc(8)]);
    wire.fromClient(ack);
    expect([wire.machine.phase, toClient(wire)]).toEqual(["live", ["goaway 0 1"]]);
    decisions[0]?.resolve({ action: "deny", status: 7, message: "no" });
    await settled();
    expect(wire.machine.phase).toBe("live");
    wire.fromUpstream(settingsAck);
    expect([wire.machine.phase, toClient(wire)]).toEqual(["over", ["headers 1 END"]]);
  });
});
