import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { CallEnd, TapHooks } from "./hooks.ts";
import { HeldBudget } from "./limits.ts";
import {
  data,
  headers,
  message,
  request,
  reset,
  responseHead,
  settingsAck,
  trailers,
} from "./testing/raw-frames.ts";
import { PATH, show } from "./testing/show.ts";
import { startWire } from "./testing/wire-start.ts";

function observing(options: { maxMessageBytes?: number; budget?: HeldBudget; onResponse?: () => void } = {}) {
  const seen: string[] = [];
  const ends: CallEnd[] = [];
  const hooks: TapHooks = {
    onRequest: () => ({
      hold: false,
      observeResponse: true,
      call: {
        onResponse: (bytes) => {
          seen.push(Buffer.from(bytes).toString());
          options.onResponse?.();
        },
        onEnd: (end) => ends.push(end),
      },
    }),
  };
  const budget = options.budget ?? new HeldBudget(1 << 20);
  const limits = options.maxMessageBytes === undefined ? {} : { maxMessageBytes: options.maxMessageBytes };
  const wire = startWire({ hooks, budget, limits });
  wire.fromClient(request(1, PATH), data(1, message(Buffer.from("q")), { endStream: true }));
  return { wire, seen, ends, budget };
}

const packedHead = (encoding: string) =>
  headers(1, [
    [":status", "200"],
    ["grpc-encoding", encoding],
  ]);

describe("an observed response", () => {
  it("is shown whole, however it comes, and every frame goes to the client at once and as it was", () => {
    const { wire, seen, ends, budget } = observing();
    const whole = message(Buffer.from("hello"));
    const frames = [
      headers(1, [[":status", "103"]]),
      responseHead(1),
      ...[...whole].map((octet, at) => data(1, Buffer.from([octet]), { padding: at })),
      trailers(1, 0),
    ];
    const before = wire.clientFrames();
    expect(before).toEqual([]);
    for (const frame of frames) {
      wire.fromUpstream(frame);
      const [passed, ...more] = wire.clientFrames();
      expect([passed?.payload, more]).toEqual([frame.subarray(9), []]);
    }
    expect([seen, ends.length, budget.bytes]).toEqual([["hello"], 1, 0]);
    expect(wire.problems()).toEqual([]);
  });

  it.each(["gzip", "identity"])("is shown decompressed: %s", (encoding) => {
    const { wire, seen } = observing();
    const packed = encoding === "gzip";
    const body = message(packed ? gzipSync("hello") : Buffer.from("hello"), packed ? 1 : 0);
    wire.fromUpstream(packedHead(encoding), data(1, body), trailers(1, 0));
    expect(seen).toEqual(["hello"]);
  });

  it.each([
    ["another status", [responseHead(1), data(1, message(Buffer.from("a"))), trailers(1, 5)]],
    ["a reset", [responseHead(1), data(1, message(Buffer.from("a"))), reset(1)]],
    ["no message", [responseHead(1), trailers(1, 0)]],
    [
      "half a message",
      [responseHead(1), data(1, message(Buffer.from("abc")).subarray(0, 6)), trailers(1, 0)],
    ],
    [
      "two messages",
      [
        responseHead(1),
        data(1, message(Buffer.from("a"))),
        data(1, message(Buffer.from("b"))),
        trailers(1, 0),
      ],
    ],
    [
      "one of an unknown encoding",
      [packedHead("snappy"), data(1, message(Buffer.from("a"), 1)), trailers(1, 0)],
    ],
    ["one that is no gzip", [packedHead("gzip"), data(1, message(Buffer.from("a"), 1)), trailers(1, 0)]],
    ["a bomb", [packedHead("gzip"), data(1, message(gzipSync(Buffer.alloc(100_000)), 1)), trailers(1, 0)]],
    ["one beyond the limit", [responseHead(1), data(1, message(Buffer.alloc(1_001))), trailers(1, 0)]],
  ])("is not shown, and nothing else is different: %s", (_, frames) => {
    const { wire, seen, ends, budget } = observing({ maxMessageBytes: 1_000 });
    wire.fromUpstream(...frames);
    expect(wire.clientFrames()).toHaveLength(frames.length);
    expect([seen, ends.length, budget.bytes, wire.hookErrors]).toEqual([[], 1, 0, []]);
    expect(wire.machine.streams).toBe(0);
  });

  it("takes no more than half of what may be held, so that it can never stand in the way of a request", () => {
    const { wire, seen, budget } = observing({ budget: new HeldBudget(2_000) });
    wire.fromClient(request(3, PATH), data(3, message(Buffer.from("q")), { endStream: true }));
    const [first, second] = [message(Buffer.from("a".repeat(600))), message(Buffer.from("b".repeat(500)))];
    wire.fromUpstream(responseHead(1), data(1, first.subarray(0, 3)), data(1, first.subarray(3, 9)));
    expect(budget.bytes).toBe(605); // all of it from its prefix on, so that it will not be given up half-way
    wire.fromUpstream(responseHead(3), data(3, second), trailers(3, 0));
    expect(budget.bytes).toBe(605);
    wire.fromUpstream(data(1, first.subarray(9)), trailers(1, 0));
    expect(seen).toEqual(["a".repeat(600)]);
    expect([budget.bytes, wire.machine.phase, wire.machine.streams]).toEqual([0, "live", 0]);
  });

  it("that makes its hook throw changes nothing for the client", () => {
    const { wire, ends } = observing({
      onResponse() {
        throw new Error("bug");
      },
    });
    wire.fromUpstream(responseHead(1), data(1, message(Buffer.from("a"))), trailers(1, 0));
    expect(wire.clientFrames().map(show)).toEqual(["headers 1", "data 1 6", "headers 1 END"]);
    expect([wire.hookErrors.length, ends[0]?.grpcStatus]).toEqual([1, 0]);
  });

  it("is forgotten with its connection", () => {
    const { wire, budget } = observing();
    wire.fromUpstream(responseHead(1), data(1, message(Buffer.from("abc")).subarray(0, 6)), settingsAck);
    expect(wire.machine.phase).toBe("over"); // an acknowledgement for nothing
    expect(budget.bytes).toBe(0);
  });
});
