import { describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE, pingFrame, Setting } from "./frames.ts";
import {
  data,
  message,
  rawFrame,
  request,
  responseHead,
  settings,
  settingsAck,
} from "./testing/raw-frames.ts";
import { deny, forward, PATH, show, toClient } from "./testing/show.ts";
import { holding, Wire } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

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
