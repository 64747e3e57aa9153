import { describe, expect, it } from "vitest";
import { ErrorCode, Flag, FrameType, goawayFrame, PREFACE, pingFrame } from "./frames.ts";
import type { CallEnd, TapHooks } from "./hooks.ts";
import { data, message, rawFrame, request, reset, settings } from "./testing/raw-frames.ts";
import { PATH, show, toClient, toUpstream } from "./testing/show.ts";
import { Wire } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

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

  const crossing = [request(3, PATH), data(3, message(Buffer.from("a")), { endStream: true })];

  it("refuses a stream beyond its own GOAWAY, so that it can be tried again elsewhere", () => {
    const wire = startWire();
    wire.fromClient(request(1, PATH));
    wire.machine.drain();
    wire.flush();
    const ping = wire.clientFrames()[1]?.payload ?? Buffer.alloc(8);
    wire.fromClient(rawFrame(FrameType.ping, Flag.ack, { payload: ping }));
    wire.upstreamFrames();
    wire.clientFrames();
    wire.fromClient(...crossing);
    expect(toUpstream(wire)).toEqual(["headers 3", "rstStream 3 8"]);
    expect(toClient(wire)).toEqual([`rstStream 3 ${ErrorCode.refusedStream}`, "windowUpdate 0 +6"]);
  });

  it.each([
    ["held", { hold: true }],
    ["denied", { hold: false, deny: { status: 7, message: "no" } }],
  ])("refuses a stream beyond upstream's GOAWAY that would be %s: none of it may be acted on", (_, plan) => {
    const ends: CallEnd[] = [];
    const hooks: TapHooks = { onRequest: () => ({ ...plan, call: { onEnd: (end) => ends.push(end) } }) };
    const wire = startWire({ hooks });
    wire.fromUpstream(goawayFrame(1, 0));
    wire.clientFrames();
    wire.fromClient(...crossing);
    expect(toUpstream(wire)).toEqual(["headers 3", "rstStream 3 8"]);
    expect(toClient(wire)).toEqual([`rstStream 3 ${ErrorCode.refusedStream}`, "windowUpdate 0 +6"]);
    expect([ends.map(({ reset: by }) => by), wire.machine.streams]).toEqual([["upstream"], 0]);
  });

  it("leaves a stream that crossed upstream's GOAWAY for upstream to pass over", () => {
    const wire = startWire();
    wire.fromUpstream(goawayFrame(1, 0));
    wire.clientFrames();
    wire.fromClient(...crossing);
    expect(toUpstream(wire)).toEqual(["headers 3", "data 3 END 6"]);
    expect([toClient(wire), wire.machine.streams]).toEqual([[], 0]);
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
