import { describe, expect, it } from "vitest";
import { FrameType, Setting } from "./frames.ts";
import {
  data,
  headers,
  message,
  request,
  reset,
  settings,
  settingsAck,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { append, deny, forward, PATH, toClient, toUpstream } from "./testing/show.ts";
import { holding } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

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

  it("sends a queue of very many small pieces in time that grows with their number only", () => {
    const wire = startWire({
      hooks: {
        onRequest: ({ streamId }) => ({
          hold: streamId === 1,
          call: { edit: append(Buffer.alloc(2 << 20)), onEnd: () => undefined },
        }),
      },
      upstream: { [Setting.initialWindowSize]: 2 ** 30 },
    });
    wire.fromUpstream(windowUpdate(0, 1 << 20));
    wire.fromClient(request(1, PATH), data(1, message(Buffer.alloc(10)), { endStream: true }));
    const pieces = 100_000;
    const piece = data(3, Buffer.alloc(1));
    wire.fromClient(request(3, "/other"), Buffer.alloc(pieces * piece.length, piece));
    wire.upstreamFrames();
    const before = performance.now();
    wire.machine.upstreamBytes(windowUpdate(0, 1 << 22));
    expect(performance.now() - before).toBeLessThan(500);
    const sent = wire.machine.takeForUpstream().reduce((sum, { length }) => sum + length, 0);
    expect(sent).toBeGreaterThan(pieces);
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

  it("keeps the client's reset of a stream that upstream was told to cancel, or has ended, to itself", () => {
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.fromUpstream(settingsAck);
    wire.upstreamFrames();
    wire.fromClient(reset(1)); // crossed our answer
    expect(toUpstream(wire)).toEqual([]);
    expect(wire.problems()).toEqual([]);
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
