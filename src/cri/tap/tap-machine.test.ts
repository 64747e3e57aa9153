import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ErrorCode, Flag, FrameType, goawayFrame, PREFACE, pingFrame, Setting } from "./frames.ts";
import type { EditDecision } from "./hooks.ts";
import { HeldBudget } from "./limits.ts";
import {
  data,
  headers,
  message,
  type RawFrame,
  rawFrame,
  request,
  reset,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { holding, Wire } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

const names = Object.fromEntries(Object.entries(FrameType).map(([name, type]) => [type, name]));

/** A frame as a short text: `data 1 END 12`, `windowUpdate 0 +100`. */
function show(frame: RawFrame): string {
  const flagged = frame.type === FrameType.data || frame.type === FrameType.headers;
  const end = flagged && (frame.flags & Flag.endStream) !== 0 ? " END" : "";
  const ack = !flagged && (frame.flags & Flag.ack) !== 0 ? " ACK" : "";
  const tail: Record<number, () => string> = {
    [FrameType.data]: () => ` ${frame.payload.length}`,
    [FrameType.windowUpdate]: () => ` +${frame.payload.readUInt32BE(0)}`,
    [FrameType.rstStream]: () => ` ${frame.payload.readUInt32BE(0)}`,
    [FrameType.goaway]: () => ` ${frame.payload.readUInt32BE(0)}`,
  };
  return `${names[frame.type]} ${frame.streamId}${end}${ack}${tail[frame.type]?.() ?? ""}`;
}

const toUpstream = (wire: Wire) => wire.upstreamFrames().map(show);
const toClient = (wire: Wire) => wire.clientFrames().map(show);

const append =
  (bytes: Uint8Array) =>
  (before: Uint8Array): EditDecision => ({
    action: "replace",
    message: Buffer.concat([before, bytes]),
  });
const forward = (): EditDecision => ({ action: "forward" });
const deny = (): EditDecision => ({ action: "deny", status: 7, message: "trivet: no 100% ü" });
const PATH = "/runtime.v1.RuntimeService/CreateContainer";

describe("edited requests", () => {
  it("go out as one message with END_STREAM where the client ended with it", () => {
    const { hooks, ends } = holding(append(Buffer.from("++")));
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc")), { endStream: true }));
    const frames = wire.upstreamFrames();
    expect(frames.map(show)).toEqual(["headers 1", "data 1 END 10"]);
    expect(frames[1]?.payload).toEqual(message(Buffer.from("abc++")));
    wire.fromUpstream(responseHead(1), data(1, message(Buffer.from("r"))), trailers(1, 0));
    expect(ends.get(1)).toMatchObject({ grpcStatus: 0, reset: undefined, requestBytes: 8, responseBytes: 6 });
    expect(wire.machine.streams).toBe(0);
    expect(wire.problems()).toEqual([]);
  });

  it("do not wait for END_STREAM once the message is complete", () => {
    const { hooks } = holding(append(Buffer.from("++")));
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc"))));
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 10"]);
    wire.fromClient(data(1, Buffer.alloc(0), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["data 1 END 0"]);
  });

  it("are put together from any pieces, padding left out and credited", () => {
    const seen: string[] = [];
    const { hooks } = holding((bytes) => {
      seen.push(Buffer.from(bytes).toString());
      return forward();
    });
    const wire = startWire({ hooks });
    const whole = message(Buffer.from("hello"));
    wire.fromClient(request(1, PATH));
    for (const [at, octet] of whole.entries()) {
      wire.fromClient(data(1, Buffer.from([octet]), { padding: at, endStream: at === whole.length - 1 }));
    }
    const frames = wire.upstreamFrames();
    expect(frames.map(show)).toEqual(["headers 1", "data 1 END 10"]);
    expect(frames[1]?.payload).toEqual(whole);
    expect(seen).toEqual(["hello"]);
    expect(wire.problems()).toEqual([]);
  });

  it("that may pass unchanged go on as the very frame that came, padding included", () => {
    const wire = startWire({ hooks: holding(forward).hooks });
    const frame = data(1, message(Buffer.from("abc")), { padding: 3, endStream: true });
    wire.fromClient(request(1, PATH), frame);
    expect(wire.upstreamFrames()[1]?.payload).toEqual(frame.subarray(9));
  });

  it.each(["gzip", "deflate"])("are offered decompressed, and sent plain (%s)", async (encoding) => {
    const { deflateSync } = await import("node:zlib");
    const packed = encoding === "gzip" ? gzipSync("abc") : deflateSync("abc");
    const wire = startWire({ hooks: holding(append(Buffer.from("++"))).hooks });
    wire.fromClient(
      request(1, PATH, [["grpc-encoding", encoding]]),
      data(1, message(packed, 1), { endStream: true }),
    );
    expect(wire.upstreamFrames()[1]?.payload).toEqual(message(Buffer.from("abc++")));
  });

  it("may be empty, and may become empty", () => {
    const wire = startWire({
      hooks: holding(() => ({ action: "replace", message: new Uint8Array() })).hooks,
    });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(0)), { endStream: true }));
    wire.fromClient(request(3, PATH), data(3, message(Buffer.from("gone")), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 END 5", "headers 3", "data 3 END 5"]);
  });

  it("without any message are passed on, to be judged by the runtime", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(request(1, PATH), data(1, Buffer.alloc(0), { endStream: true }));
    wire.fromClient(headers(3, [[":path", PATH]], true));
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 END 0", "headers 3 END"]);
  });
});

describe("what a held stream may not send is denied (fail closed)", () => {
  it.each([
    [
      "a second message in the same frame",
      [Buffer.concat([message(Buffer.from("a")), message(Buffer.from("b"))])],
      "13",
    ],
    [
      "a second message after the first was sent",
      [message(Buffer.from("a")), message(Buffer.from("b"))],
      "13",
    ],
    ["a message that is cut short", [message(Buffer.from("abc")).subarray(0, 6)], "13"],
    ["an unknown compression flag", [message(Buffer.from("a"), 2)], "13"],
    ["a compressed message without grpc-encoding", [message(gzipSync("a"), 1)], "13"],
    [
      "a message larger than the limit, by its prefix alone",
      [message(Buffer.alloc(101)).subarray(0, 5)],
      "8",
    ],
    ["a message larger than the limit in one frame", [message(Buffer.alloc(101))], "8"],
  ])("%s", (_, pieces, status) => {
    const wire = startWire({ hooks: holding(forward).hooks, limits: { maxMessageBytes: 100 } });
    wire.fromClient(request(1, PATH));
    for (const [at, piece] of pieces.entries()) {
      wire.fromClient(data(1, piece, { endStream: at === pieces.length - 1 }));
    }
    expect(toUpstream(wire).slice(-2)).toEqual(["rstStream 1 8", "settings 0"]);
    wire.fromUpstream(settingsAck);
    const answer = wire.clientFrames().at(-1);
    expect(answer?.payload.toString("latin1")).toContain(
      `grpc-status${String.fromCharCode(status.length)}${status}`,
    );
    expect(wire.machine.streams).toBe(0);
    expect(wire.problems()).toEqual([]);
  });

  it.each([
    ["snappy", "12"],
    ["constructor", "12"],
    ["gzip", "13"],
  ])("a message that is not valid %s", (encoding, status) => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    const body = message(Buffer.from("nonsense"), 1);
    wire.fromClient(request(1, PATH, [["grpc-encoding", encoding]]), data(1, body, { endStream: true }));
    wire.fromUpstream(settingsAck);
    expect(String(ends.get(1)?.grpcStatus)).toBe(status);
  });

  it("a small message that decompresses beyond the limit", () => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks, limits: { maxMessageBytes: 1_000 } });
    const body = message(gzipSync(Buffer.alloc(100_000)), 1);
    wire.fromClient(request(1, PATH, [["grpc-encoding", "gzip"]]), data(1, body, { endStream: true }));
    wire.fromUpstream(settingsAck);
    expect(ends.get(1)?.grpcStatus).toBe(8);
  });

  it("request trailers", () => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), headers(1, [["x", "y"]], true));
    expect(toUpstream(wire)).toEqual(["headers 1", "headers 1", "rstStream 1 8", "settings 0"]);
    wire.fromUpstream(settingsAck);
    expect(ends.get(1)?.grpcStatus).toBe(13);
  });

  it("anything at all, where the hook throws", () => {
    const { hooks, ends } = holding(() => {
      throw new Error("bug");
    });
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("a")), { endStream: true }));
    wire.fromUpstream(settingsAck);
    expect(ends.get(1)).toMatchObject({ grpcStatus: 13, answeredByTap: true });
    expect(wire.hookErrors).toHaveLength(1);
  });

  it("a call about which onRequest throws; the connection goes on", () => {
    let calls = 0;
    const wire = startWire({
      hooks: {
        onRequest() {
          if (calls++ === 0) throw new Error("bug");
          return { hold: false, call: undefined };
        },
      },
    });
    wire.fromClient(
      request(1, PATH),
      data(1, message(Buffer.from("a")), { endStream: true }),
      request(3, PATH),
    );
    expect(toUpstream(wire)).toEqual(["headers 1", "rstStream 1 8", "headers 3", "settings 0"]);
    wire.fromUpstream(settingsAck);
    expect(toClient(wire).at(-1)).toBe("headers 1 END");
  });
});

describe("denial", () => {
  it("resets upstream, waits for the fence, and then answers trailers-only", () => {
    const { hooks, ends } = holding(deny);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc")), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["headers 1", "rstStream 1 8", "settings 0"]);
    expect(toClient(wire)).toEqual(["windowUpdate 0 +8"]);
    wire.fromUpstream(settingsAck);
    const [answer] = wire.clientFrames();
    expect(answer && show(answer)).toBe("headers 1 END");
    expect(answer?.payload.toString("latin1")).toContain("trivet: no 100%25 %C3%BC");
    expect(ends.get(1)).toMatchObject({
      grpcStatus: 7,
      grpcMessage: "trivet: no 100% ü",
      answeredByTap: true,
    });
    expect(wire.machine.streams).toBe(0);
    expect(wire.problems()).toEqual([]);
  });

  it("shares one fence among the calls of one chunk, and swallows only its own acknowledgements", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    const call = (id: number) => [
      request(id, PATH),
      data(id, message(Buffer.from("abc")), { endStream: true }),
    ];
    wire.fromClient(settings({ [Setting.initialWindowSize]: 70_000 }), ...call(1), ...call(3));
    expect(toUpstream(wire).filter((frame) => frame.startsWith("settings"))).toHaveLength(2);
    wire.fromUpstream(settingsAck);
    expect(toClient(wire).at(-1)).toBe("settings 0 ACK");
    wire.fromUpstream(settingsAck);
    expect(toClient(wire)).toEqual(["headers 1 END", "headers 3 END"]);
  });

  it("forwards a trailers-only answer without END_STREAM and lets our trailers follow", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.clientFrames();
    wire.fromUpstream(
      headers(
        1,
        [
          [":status", "200"],
          ["grpc-status", "1"],
        ],
        true,
      ),
    );
    expect(toClient(wire)).toEqual(["headers 1"]);
    wire.fromUpstream(settingsAck);
    const [answer] = wire.clientFrames();
    expect(answer?.payload[0]).toBe(0x10); // grpc-status first: no :status again
    expect(wire.problems()).toEqual([]);
    expect(wire.machine.streams).toBe(0);
  });

  it("lets upstream's own trailers stand where its headers went out before", () => {
    const { hooks, ends } = holding(deny);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH));
    wire.fromUpstream(responseHead(1));
    wire.fromClient(data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.clientFrames();
    wire.fromUpstream(trailers(1, 9), settingsAck);
    expect(toClient(wire)).toEqual(["headers 1 END"]);
    expect(ends.get(1)).toMatchObject({ grpcStatus: 9, answeredByTap: false });
  });

  it("sends trailers without :status where upstream's headers went out before", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(request(1, PATH));
    wire.fromUpstream(responseHead(1));
    wire.fromClient(data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.clientFrames();
    wire.fromUpstream(settingsAck);
    expect(wire.clientFrames()[0]?.payload[0]).toBe(0x10);
  });

  it("swallows response DATA behind the reset, with credit on the connection, and upstream's reset", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(request(1, PATH));
    wire.fromUpstream(responseHead(1));
    wire.fromClient(data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.clientFrames();
    wire.upstreamFrames();
    wire.fromUpstream(data(1, Buffer.alloc(100), { padding: 9 }), reset(1));
    expect(toClient(wire)).toEqual([]);
    expect(toUpstream(wire)).toEqual(["windowUpdate 0 +110"]);
  });

  it("needs no answer after the client's own reset, which stays here", () => {
    const { hooks, ends } = holding(deny);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc"))));
    wire.upstreamFrames();
    wire.fromClient(reset(1));
    expect(toUpstream(wire)).toEqual([]);
    wire.clientFrames();
    wire.fromUpstream(settingsAck);
    expect(toClient(wire)).toEqual([]);
    expect(ends.get(1)?.reset).toBe("client");
    expect(wire.machine.streams).toBe(0);
  });

  it("of a client that goes on sending drops that with credit until its end", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc"))));
    wire.fromUpstream(settingsAck);
    wire.clientFrames();
    wire.upstreamFrames();
    wire.fromClient(data(1, Buffer.alloc(1_000)));
    expect(toClient(wire)).toEqual(["windowUpdate 1 +1000", "windowUpdate 0 +1000"]);
    expect(wire.machine.streams).toBe(1);
    wire.fromClient(data(1, Buffer.alloc(7), { endStream: true }));
    expect(toClient(wire)).toEqual(["windowUpdate 0 +7"]);
    expect(toUpstream(wire)).toEqual([]);
    expect(wire.machine.streams).toBe(0);
  });

  it.each([
    [4096, false],
    [256, true],
    [0, true],
  ])(
    "as the first call of a client whose table is %i octets opens with a size update: %s",
    (bytes, updates) => {
      const wire = startWire({ hooks: holding(deny).hooks, client: { [Setting.headerTableSize]: bytes } });
      for (const id of [1, 3]) {
        wire.fromClient(request(id, PATH), data(id, message(Buffer.from("abc")), { endStream: true }));
        wire.clientFrames();
        wire.fromUpstream(settingsAck);
        const first = wire.clientFrames()[0]?.payload[0] ?? 0;
        expect((first & 0xe0) === 0x20).toBe(updates && id === 1);
      }
      expect(wire.problems()).toEqual([]);
    },
  );
});

describe("the ledger", () => {
  const initial = { [Setting.initialWindowSize]: 1_000 };

  it("credits held bytes at once, so that a message larger than the window gets in", () => {
    const wire = startWire({ hooks: holding(forward).hooks, upstream: initial });
    const whole = message(Buffer.alloc(2_500));
    wire.fromClient(request(1, PATH), data(1, whole.subarray(0, 1_000)));
    expect(toClient(wire)).toEqual(["windowUpdate 1 +1000", "windowUpdate 0 +1000"]);
    expect(toUpstream(wire)).toEqual(["headers 1"]);
  });

  it("absorbs upstream's grants while a grown message is behind, then passes them on", () => {
    const wire = startWire({ hooks: holding(append(Buffer.alloc(1_500))).hooks, upstream: initial });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(495)), { endStream: false }));
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 1000"]);
    expect(toClient(wire)).toEqual([]);
    wire.fromUpstream(windowUpdate(1, 600));
    expect(toUpstream(wire)).toEqual(["data 1 600"]);
    wire.fromUpstream(windowUpdate(1, 600));
    expect(toUpstream(wire)).toEqual(["data 1 400"]);
    // 1500 were added; the client has 500 of its window left and must get no more until upstream has made up for them.
    expect(toClient(wire)).toEqual([]);
    wire.fromUpstream(windowUpdate(1, 400));
    expect(toClient(wire)).toEqual(["windowUpdate 1 +100"]);
    wire.fromUpstream(windowUpdate(1, 400));
    expect(toClient(wire)).toEqual(["windowUpdate 1 +400"]);
    expect(wire.problems()).toEqual([]);
  });

  it("queues an unedited stream too where the connection's window is used up, and lets waiting streams take turns", () => {
    const wire = startWire({
      hooks: {
        onRequest: ({ streamId }) => ({
          hold: streamId === 1,
          call: { edit: append(Buffer.alloc(65_000)), onEnd: () => undefined },
        }),
      },
      upstream: { [Setting.initialWindowSize]: 1_000_000 },
    });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(1_000)), { endStream: true }));
    wire.fromClient(request(3, "/other"), data(3, Buffer.alloc(1_000), { endStream: true }));
    wire.fromClient(request(5, "/other"), data(5, Buffer.alloc(500), { endStream: true }));
    const sent = wire.upstreamFrames().filter(({ type }) => type === FrameType.data);
    expect(sent.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(65_535);
    wire.fromUpstream(windowUpdate(0, 100));
    expect(toUpstream(wire)).toEqual(["data 1 100"]);
    wire.fromUpstream(windowUpdate(0, 10_000));
    expect(toUpstream(wire)).toEqual(["data 3 END 1000", "data 5 END 500", "data 1 END 370"]);
    expect(wire.problems()).toEqual([]);
  });

  it("applies INITIAL_WINDOW_SIZE when the client's acknowledgement goes on, also downwards", () => {
    const wire = startWire({ hooks: holding(append(Buffer.alloc(1_995))).hooks, upstream: initial });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(0)), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 1000"]);
    wire.fromUpstream(settings({ [Setting.initialWindowSize]: 1_300 }));
    expect(toUpstream(wire)).toEqual([]);
    wire.fromClient(settingsAck);
    expect(toUpstream(wire)).toEqual(["settings 0 ACK", "data 1 300"]);
    wire.fromUpstream(settings({ [Setting.initialWindowSize]: 100 }));
    wire.fromClient(settingsAck);
    wire.fromUpstream(windowUpdate(1, 1_200));
    expect(toUpstream(wire)).toEqual(["settings 0 ACK"]);
    wire.fromUpstream(windowUpdate(1, 10_000));
    expect(toUpstream(wire)).toEqual(["data 1 END 700"]);
    expect(wire.problems()).toEqual([]);
  });

  it("settles the connection when the client resets a stream that holds and queues bytes", () => {
    const wire = startWire({ hooks: holding(append(Buffer.alloc(100_000))).hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(10_000))));
    wire.upstreamFrames();
    wire.clientFrames();
    wire.fromClient(reset(1));
    expect(toUpstream(wire)).toEqual(["rstStream 1 8"]);
    // 65535 went out, 10005 came in: no credit is due until upstream granted the difference.
    wire.fromUpstream(windowUpdate(0, 60_000));
    expect(toClient(wire)).toEqual([`windowUpdate 0 +${60_000 - (65_535 - 10_005)}`]);
    expect(wire.problems()).toEqual([]);
    expect(wire.machine.streams).toBe(0);
  });

  it("cancels the request when upstream ends a stream that still holds bytes, and drops the rest with credit", () => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(500)).subarray(0, 100)));
    wire.upstreamFrames();
    wire.clientFrames();
    wire.fromUpstream(
      headers(
        1,
        [
          [":status", "200"],
          ["grpc-status", "12"],
        ],
        true,
      ),
    );
    expect(toUpstream(wire)).toEqual(["rstStream 1 8"]);
    expect(toClient(wire)).toEqual(["headers 1 END"]);
    expect(ends.get(1)?.grpcStatus).toBe(12);
    wire.fromClient(data(1, Buffer.alloc(405)));
    expect(toClient(wire)).toEqual(["windowUpdate 1 +405", "windowUpdate 0 +405"]);
    wire.fromClient(reset(1));
    expect(toUpstream(wire)).toEqual([]);
    expect(wire.machine.streams).toBe(0);
    expect(wire.problems()).toEqual([]);
  });

  it("keeps a bounded number of streams whose rest is dropped", () => {
    const wire = startWire({ hooks: holding(forward).hooks, limits: { maxDiscarding: 3 } });
    for (let id = 1; id < 20; id += 2) {
      wire.fromClient(request(id, PATH));
      wire.fromUpstream(
        headers(
          id,
          [
            [":status", "200"],
            ["grpc-status", "12"],
          ],
          true,
        ),
      );
    }
    expect(wire.machine.streams).toBe(3);
    wire.clientFrames();
    wire.fromClient(data(1, Buffer.alloc(10)));
    expect(toClient(wire)).toEqual(["windowUpdate 0 +10"]);
  });

  it("drops late DATA of a held stream that upstream reset", () => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH));
    wire.fromUpstream(reset(1));
    wire.upstreamFrames();
    wire.clientFrames();
    wire.fromClient(data(1, message(Buffer.alloc(95)), { endStream: true }));
    expect(toUpstream(wire)).toEqual([]);
    expect(toClient(wire)).toEqual(["windowUpdate 0 +100"]);
    expect(ends.get(1)?.reset).toBe("upstream");
  });

  it("cuts what it sends into frames of 16384 octets at most", () => {
    const wire = startWire({
      hooks: holding(append(Buffer.alloc(40_000))).hooks,
      upstream: { [Setting.maxFrameSize]: 1 << 20 },
    });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(0)), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["headers 1", "data 1 16384", "data 1 16384", "data 1 END 7237"]);
  });
});

describe("limits", () => {
  it("end the connection where too many bytes are held by the process, telling its calls, and give them back", () => {
    const budget = new HeldBudget(1_000);
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks, budget });
    const half = message(Buffer.alloc(2_000)).subarray(0, 600);
    wire.fromClient(request(1, PATH), data(1, half));
    expect(budget.bytes).toBe(600);
    wire.fromClient(request(3, PATH), data(3, half));
    expect(wire.machine.phase).toBe("over");
    expect(wire.machine.failure?.kind).toBe("exhausted");
    expect(budget.bytes).toBe(0);
    expect([ends.get(1)?.grpcStatus, ends.get(3)?.grpcStatus]).toEqual([8, 8]);
    expect(toClient(wire).slice(-3)).toEqual(["headers 1 END", "headers 3 END", "goaway 0 3"]);
    expect(wire.problems()).toEqual([]);
  });

  it.each([
    [
      "a header block without end",
      { maxHeaderBlockBytes: 1_000 },
      [
        rawFrame(FrameType.headers, 0, { streamId: 1, payload: Buffer.alloc(600) }),
        rawFrame(FrameType.continuation, 0, { streamId: 1, payload: Buffer.alloc(600) }),
      ],
    ],
    ["too many streams", { maxStreams: 2 }, [request(1, "/a"), request(3, "/a"), request(5, "/a")]],
  ])("end the connection: %s", (_, limits, frames) => {
    const wire = startWire({ limits });
    wire.fromClient(...frames);
    expect(wire.machine.failure?.kind).toBe("decode");
  });
});

describe("a peer that breaks HTTP/2 ends its connection", () => {
  it.each([
    ["CONTINUATION without HEADERS", rawFrame(FrameType.continuation, Flag.endHeaders, { streamId: 1 })],
    [
      "a frame within a header block",
      Buffer.concat([rawFrame(FrameType.headers, 0, { streamId: 1 }), settings()]),
    ],
    [
      "CONTINUATION of another stream",
      Buffer.concat([
        rawFrame(FrameType.headers, 0, { streamId: 1 }),
        rawFrame(FrameType.continuation, 4, { streamId: 3 }),
      ]),
    ],
    ["HEADERS on stream 0", rawFrame(FrameType.headers, 4, { payload: Buffer.from([0x82]) })],
    ["a stream of even number", request(2, PATH)],
    ["DATA on stream 0", data(0, Buffer.alloc(1))],
    [
      "padding longer than DATA",
      rawFrame(FrameType.data, Flag.padded, { streamId: 1, payload: Buffer.from([9, 1]) }),
    ],
    ["padding without DATA", rawFrame(FrameType.data, Flag.padded, { streamId: 1 })],
    [
      "padding longer than HEADERS",
      rawFrame(FrameType.headers, 4 | Flag.padded, { streamId: 1, payload: Buffer.from([9, 0x82]) }),
    ],
    [
      "HEADERS too short for its priority",
      rawFrame(FrameType.headers, 4 | Flag.priority, { streamId: 1, payload: Buffer.from([1, 2]) }),
    ],
    ["SETTINGS of seven octets", rawFrame(FrameType.settings, 0, { payload: Buffer.alloc(7) })],
    ["SETTINGS on a stream", rawFrame(FrameType.settings, 0, { streamId: 1 })],
    ["a SETTINGS acknowledgement for nothing", settingsAck],
    [
      "a SETTINGS acknowledgement with a payload",
      rawFrame(FrameType.settings, Flag.ack, { payload: Buffer.alloc(6) }),
    ],
    ["an initial window above 2^31-1", settings({ [Setting.initialWindowSize]: 2 ** 31 })],
    [
      "a frame above the size allowed",
      rawFrame(FrameType.data, 0, { streamId: 1, payload: Buffer.alloc(16_385) }),
    ],
    ["a short RST_STREAM", rawFrame(FrameType.rstStream, 0, { streamId: 1, payload: Buffer.alloc(3) })],
    [
      "PUSH_PROMISE from a client",
      rawFrame(FrameType.pushPromise, 4, { streamId: 1, payload: Buffer.alloc(4) }),
    ],
    ["HPACK that cannot be", rawFrame(FrameType.headers, 4, { streamId: 1, payload: Buffer.from([0x80]) })],
  ])("client: %s", (_, bytes) => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    wire.fromClient(request(7, PATH));
    wire.fromClient(bytes);
    expect(wire.machine.phase).toBe("over");
    expect(wire.machine.failure?.kind).toBe("decode");
    expect(toClient(wire).at(-1)).toBe("goaway 0 7");
    expect(ends.get(7)?.reset).toBe("connection");
    expect(wire.machine.streams).toBe(0);
  });

  it.each([
    ["no preface", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["a preface that goes wrong late", Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX")],
    ["no SETTINGS after the preface", Buffer.concat([PREFACE, windowUpdate(0, 1)])],
  ])("client at its start: %s", (_, bytes) => {
    const wire = new Wire();
    wire.fromClient(bytes);
    expect(wire.machine.phase).toBe("over");
    expect(wire.machine.failure?.message).toContain("the client broke HTTP/2");
  });

  it.each([
    ["no SETTINGS first", windowUpdate(0, 1)],
    ["HTTP/1", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    [
      "a short WINDOW_UPDATE",
      Buffer.concat([settings(), rawFrame(FrameType.windowUpdate, 0, { payload: Buffer.alloc(3) })]),
    ],
    [
      "a short GOAWAY",
      Buffer.concat([settings(), rawFrame(FrameType.goaway, 0, { payload: Buffer.alloc(7) })]),
    ],
    [
      "HPACK that cannot be",
      Buffer.concat([
        settings(),
        rawFrame(FrameType.headers, 4, { streamId: 1, payload: Buffer.from([0x80]) }),
      ]),
    ],
  ])("upstream: %s; its calls get UNAVAILABLE", (_, bytes) => {
    const { hooks, ends } = holding(forward);
    const wire = new Wire({ hooks });
    wire.fromClient(PREFACE, settings(), request(1, PATH));
    wire.fromUpstream(bytes);
    expect(wire.machine.phase).toBe("over");
    expect(ends.get(1)).toMatchObject({ grpcStatus: 14, answeredByTap: true });
    expect(toClient(wire).slice(-2)).toEqual(["headers 1 END", "goaway 0 1"]);
    expect(wire.clientHop.problems).toEqual([]);
  });
});

describe("upstream is gone", () => {
  const status = { status: 14, message: "trivet: the runtime's socket /run/x.sock is away" };

  it("open calls get the status, with or without headers sent before; then GOAWAY", () => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    wire.fromClient(
      request(1, PATH),
      request(3, PATH),
      data(3, message(Buffer.from("a")), { endStream: true }),
    );
    wire.fromUpstream(responseHead(3), data(3, Buffer.alloc(9)));
    wire.clientFrames();
    wire.machine.upstreamGone(status);
    wire.flush();
    const frames = wire.clientFrames();
    expect(frames.map(show)).toEqual(["headers 1 END", "headers 3 END", "goaway 0 3"]);
    expect([frames[0]?.payload[0], frames[1]?.payload[0]]).toEqual([0x88, 0x10]);
    expect([...ends.values()].map((end) => [end.grpcStatus, end.grpcMessage])).toEqual([
      [14, status.message],
      [14, status.message],
    ]);
    expect(wire.machine.phase).toBe("over");
    expect(wire.problems()).toEqual([]);
  });

  it("a denied call still gets its denial", () => {
    const { hooks, ends } = holding(deny);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("a")), { endStream: true }));
    wire.machine.upstreamGone(status);
    expect(ends.get(1)?.grpcStatus).toBe(7);
  });

  it("a client that dials while it is away is served the status until it is sent away", () => {
    const { hooks, ends } = holding(forward);
    const wire = new Wire({ hooks });
    wire.machine.upstreamGone(status);
    wire.flush();
    wire.fromClient(PREFACE, settings({ [Setting.headerTableSize]: 0 }), settingsAck);
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("a")), { endStream: true }));
    wire.fromClient(pingFrame(Buffer.alloc(8), false), request(3, PATH));
    const frames = wire.clientFrames();
    expect(frames.map(show)).toEqual([
      "settings 0",
      "settings 0 ACK",
      "headers 1 END",
      "ping 0 ACK",
      "headers 3 END",
    ]);
    expect(frames[2]?.payload[0]).toBe(0x20); // the update to a table of 0, once
    expect(frames[4]?.payload[0]).toBe(0x88);
    expect(ends.get(3)?.grpcStatus).toBe(14);
    wire.machine.sendAway();
    wire.flush();
    expect(toClient(wire)).toEqual(["goaway 0 3"]);
    expect(wire.clientHop.problems).toEqual([]);
  });

  it("in the middle of a request's header block", () => {
    const wire = new Wire();
    const whole = request(1, PATH);
    wire.fromClient(
      PREFACE,
      settings(),
      rawFrame(FrameType.headers, 0, { streamId: 1, payload: whole.subarray(9, 20) }),
    );
    wire.machine.upstreamGone(status);
    wire.fromClient(
      rawFrame(FrameType.continuation, Flag.endHeaders, { streamId: 1, payload: whole.subarray(20) }),
    );
    expect(toClient(wire).at(-1)).toBe("headers 1 END");
  });
});

describe("drain", () => {
  it("announces, waits for its own PING, names the last stream, and is over when that has ended", () => {
    const wire = startWire();
    wire.fromClient(request(1, PATH));
    wire.machine.drain();
    wire.flush();
    const [first, ping] = wire.clientFrames();
    expect(first && show(first)).toBe("goaway 0 2147483647");
    wire.fromClient(request(3, PATH)); // crossed the GOAWAY
    wire.upstreamFrames();
    wire.fromClient(rawFrame(FrameType.ping, Flag.ack, { payload: ping?.payload ?? Buffer.alloc(8) }));
    expect(toClient(wire)).toEqual(["goaway 0 3"]);
    expect(toUpstream(wire)).toEqual([]);
    wire.fromUpstream(reset(1));
    expect(wire.machine.phase).toBe("live");
    wire.fromUpstream(reset(3));
    expect(wire.machine.phase).toBe("over");
    expect(wire.problems()).toEqual([]);
  });

  it("waits for upstream's SETTINGS, which must come first", () => {
    const wire = new Wire();
    wire.fromClient(PREFACE, settings());
    wire.machine.drain();
    wire.flush();
    expect(toClient(wire)).toEqual([]);
    wire.fromUpstream(settings());
    expect(toClient(wire)).toEqual(["settings 0", "goaway 0 2147483647", "ping 0"]);
  });

  it("never lets a later GOAWAY accept more than an earlier one", () => {
    const wire = startWire();
    wire.fromClient(request(1, PATH));
    wire.machine.drain();
    wire.flush();
    const ping = wire.clientFrames()[1]?.payload ?? Buffer.alloc(8);
    wire.fromClient(rawFrame(FrameType.ping, Flag.ack, { payload: ping }));
    wire.fromUpstream(goawayFrame(2 ** 31 - 1, 0), goawayFrame(0, 0));
    expect(toClient(wire)).toEqual(["goaway 0 1", "goaway 0 1", "goaway 0 0"]);
  });

  it("refuses a stream beyond the last GOAWAY so that it can be tried again elsewhere", () => {
    const wire = startWire();
    wire.fromClient(request(1, PATH));
    wire.fromUpstream(goawayFrame(1, 0));
    wire.upstreamFrames();
    wire.clientFrames();
    wire.fromClient(request(3, PATH), data(3, message(Buffer.from("a")), { endStream: true }));
    expect(toUpstream(wire)).toEqual(["headers 3", "rstStream 3 8"]);
    expect(toClient(wire)).toEqual([`rstStream 3 ${ErrorCode.refusedStream}`, "windowUpdate 0 +6"]);
  });

  it("passes PINGs of either side through, and their acknowledgements", () => {
    const wire = startWire();
    wire.machine.drain();
    wire.flush();
    wire.clientFrames();
    wire.fromClient(pingFrame(Buffer.from("12345678"), false));
    wire.fromUpstream(pingFrame(Buffer.from("12345678"), true), pingFrame(Buffer.from("abcdefgh"), false));
    wire.fromClient(pingFrame(Buffer.from("abcdefgh"), true));
    expect(toUpstream(wire)).toEqual(["ping 0", "ping 0 ACK"]);
    expect(toClient(wire)).toEqual(["ping 0 ACK", "ping 0"]);
  });
});
