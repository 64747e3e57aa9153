import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import {
  data,
  headers,
  message,
  request,
  responseHead,
  settingsAck,
  trailers,
} from "./testing/raw-frames.ts";
import { append, deny, forward, PATH, show, toClient, toUpstream } from "./testing/show.ts";
import { holding } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

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

  it("take memory for what has come, not for what their prefix says will come", () => {
    const wire = startWire({ hooks: holding(forward).hooks });
    const start = message(Buffer.alloc(1 << 20)).subarray(0, 6);
    const before = process.memoryUsage().arrayBuffers;
    for (let id = 1; id < 400; id += 2) {
      wire.fromClient(request(id, PATH), data(id, start));
    }
    expect(wire.machine.streams).toBe(200);
    const mebibytes = (process.memoryUsage().arrayBuffers - before) / (1 << 20);
    expect(mebibytes).toBeLessThan(50);
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

  it.each([
    ["longer", append(Buffer.from("++")), 13],
    ["of the same length", append(Buffer.alloc(0)), 0],
  ])("a message that becomes %s, where content-length was sent", (_, edit, status) => {
    const { hooks, ends } = holding(edit);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH, [["content-length", "8"]]));
    wire.fromClient(data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.fromUpstream(...(status === 0 ? [responseHead(1), trailers(1, 0)] : [settingsAck]));
    expect(ends.get(1)).toMatchObject({ grpcStatus: status, answeredByTap: status !== 0 });
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
