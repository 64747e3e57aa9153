import { describe, expect, it } from "vitest";
import { Flag, FrameType, goawayFrame, PREFACE, Setting } from "../frames.ts";
import { HopChecker } from "./hop-checker.ts";
import {
  data,
  message,
  rawFrame,
  request,
  reset,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./raw-frames.ts";

interface Step {
  readonly by: "tap" | "peer";
  readonly bytes: Buffer;
}

const tap = (...pieces: Buffer[]): Step => ({ by: "tap", bytes: Buffer.concat(pieces) });
const peer = (...pieces: Buffer[]): Step => ({ by: "peer", bytes: Buffer.concat(pieces) });

function check(role: "server" | "client", steps: readonly Step[]): string[] {
  const checker = new HopChecker(role);
  for (const { by, bytes } of steps) {
    if (by === "tap") checker.sent(bytes);
    else checker.received(bytes);
  }
  checker.atRest();
  return checker.problems;
}

/** A faultless exchange with a runtime whose windows are small. */
const toRuntime: readonly Step[] = [
  tap(PREFACE, settings()),
  peer(settings({ [Setting.initialWindowSize]: 100, [Setting.headerTableSize]: 4096 }), settingsAck),
  tap(settingsAck),
  tap(request(1, "/a.B/C"), data(1, message(Buffer.alloc(95)))),
  peer(windowUpdate(1, 50)),
  tap(data(1, Buffer.alloc(50), { endStream: true })),
  peer(responseHead(1), trailers(1, 0)),
  tap(request(3, "/a.B/C"), reset(3)),
];

/** A faultless exchange with a client whose header table is small. */
const toClient: readonly Step[] = [
  peer(PREFACE, settings({ [Setting.headerTableSize]: 256, [Setting.initialWindowSize]: 10 })),
  tap(settings(), settingsAck),
  peer(settingsAck, request(1, "/a.B/C"), data(1, Buffer.alloc(5), { endStream: true })),
  tap(
    rawFrame(FrameType.headers, Flag.endHeaders, {
      streamId: 1,
      payload: Buffer.from([0x3f, 0xe1, 0x01, 0x88]),
    }),
  ),
  tap(data(1, Buffer.alloc(10))),
  peer(windowUpdate(1, 5)),
  tap(data(1, Buffer.alloc(5)), trailers(1, 0)),
  tap(goawayFrame(1, 0)),
];

function replaced(steps: readonly Step[], at: number, ...by: Step[]): Step[] {
  return [...steps.slice(0, at), ...by, ...steps.slice(at + 1)];
}

describe("the hop checker", () => {
  it("finds nothing in faultless exchanges", () => {
    expect(check("client", toRuntime)).toEqual([]);
    expect(check("server", toClient)).toEqual([]);
  });

  it.each<[string, Step[], RegExp]>([
    ["a grant that was lost", replaced(toRuntime, 4), /beyond the window of stream 1/],
    [
      "DATA sent twice",
      replaced(
        toRuntime,
        5,
        tap(data(1, Buffer.alloc(50))),
        tap(data(1, Buffer.alloc(50), { endStream: true })),
      ),
      /beyond the window/,
    ],
    [
      "settings used before they are acknowledged",
      replaced(toRuntime, 4, peer(settings({ [Setting.initialWindowSize]: 150 }))),
      /beyond the window of stream 1/,
    ],
    [
      "more than the connection's window",
      replaced(
        toRuntime,
        4,
        peer(windowUpdate(1, 100_000)),
        tap(...Array.from({ length: 5 }, () => data(1, Buffer.alloc(16_000)))),
        peer(windowUpdate(1, 50)),
      ),
      /the connection's window/,
    ],
    ["END_STREAM left out", replaced(toRuntime, 5, tap(data(1, Buffer.alloc(50)))), /stream 1 never ended/],
    ["DATA after END_STREAM", [...toRuntime, tap(data(1, Buffer.alloc(0)))], /DATA after END_STREAM/],
    ["DATA after a reset", [...toRuntime, tap(data(3, Buffer.alloc(0)))], /DATA after RST_STREAM/],
    ["a second reset", [...toRuntime, tap(reset(3))], /a second RST_STREAM/],
    ["a reset of an idle stream", [...toRuntime, tap(reset(9))], /RST_STREAM on idle/],
    ["a grant on an idle stream", [...toRuntime, tap(windowUpdate(9, 1))], /WINDOW_UPDATE on idle/],
    ["a grant after a reset", [...toRuntime, tap(windowUpdate(3, 1))], /WINDOW_UPDATE after RST/],
    ["a grant of nothing", [...toRuntime, tap(windowUpdate(0, 0))], /WINDOW_UPDATE of 0/],
    ["a window that overflows", [...toRuntime, tap(windowUpdate(0, 2 ** 31 - 1))], /above 2\^31-1/],
    ["a stream opened out of order", [...toRuntime, tap(request(2, "/"))], /out of order/],
    ["SETTINGS left unacknowledged", replaced(toRuntime, 2), /never acknowledged/],
    ["an acknowledgement too many", [...toRuntime, tap(settingsAck)], /for nothing/],
    ["SETTINGS that are not first", [tap(PREFACE, windowUpdate(0, 1)), ...toRuntime.slice(1)], /first frame/],
    [
      "a frame too large",
      [...toRuntime, tap(rawFrame(FrameType.ping, 0, { payload: Buffer.alloc(16_385) }))],
      /16385 octets/,
    ],
    ["half a frame", [...toRuntime, tap(Buffer.alloc(5))], /half a frame/],
    [
      "a frame within a header block",
      [...toRuntime, tap(rawFrame(FrameType.headers, 0, { streamId: 5 }), windowUpdate(0, 1))],
      /within a header block/,
    ],
    [
      "an index that the table lacks",
      [...toRuntime, tap(rawFrame(FrameType.headers, 5, { streamId: 5, payload: Buffer.from([0xbe]) }))],
      /header compression/,
    ],
  ])("finds towards the runtime: %s", (_, steps, problem) => {
    expect(check("client", steps).join("\n")).toMatch(problem);
  });

  it.each<[string, Step[], RegExp]>([
    ["the size update left out", replaced(toClient, 3, tap(responseHead(1))), /table size update/],
    ["a grant that was lost", replaced(toClient, 5), /beyond the window/],
    ["trailers sent twice", [...toClient.slice(0, 7), tap(trailers(1, 0))], /HEADERS after END_STREAM/],
    ["a response on an idle stream", [...toClient.slice(0, 7), tap(responseHead(7))], /idle stream 7/],
    [
      "a GOAWAY that takes back an earlier one",
      [...toClient, tap(goawayFrame(3, 0))],
      /GOAWAY\(3\) after GOAWAY\(1\)/,
    ],
    ["a response beyond GOAWAY", [...toClient, peer(request(3, "/")), tap(trailers(3, 0))], /beyond GOAWAY/],
  ])("finds towards the client: %s", (_, steps, problem) => {
    expect(check("server", steps).join("\n")).toMatch(problem);
  });
});
