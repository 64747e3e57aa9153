import { describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE, Setting } from "./frames.ts";
import { HeldBudget } from "./limits.ts";
import {
  data,
  message,
  rawFrame,
  request,
  settings,
  settingsAck,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { forward, PATH, toClient } from "./testing/show.ts";
import { holding, Wire } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

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
