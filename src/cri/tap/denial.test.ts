import { describe, expect, it } from "vitest";
import { PREFACE, Setting } from "./frames.ts";
import type { CallEnd, EditDecision, TapHooks } from "./hooks.ts";
import {
  data,
  headers,
  message,
  request,
  reset,
  responseHead,
  settings,
  settingsAck,
  trailers,
} from "./testing/raw-frames.ts";
import { deny, forward, PATH, show, toClient, toUpstream } from "./testing/show.ts";
import { holding, Wire } from "./testing/wire.ts";
import { startWire } from "./testing/wire-start.ts";

/** Denies by the path alone. */
function closed() {
  const ends: CallEnd[] = [];
  const edits: unknown[] = [];
  const edit = (bytes: Uint8Array): EditDecision => {
    edits.push(bytes);
    return { action: "forward" };
  };
  const hooks: TapHooks = {
    onRequest: () => ({
      hold: true,
      deny: { status: 7, message: "not on this socket" },
      call: { edit, onEnd: (end) => ends.push(end) },
    }),
  };
  return { hooks, ends, edits };
}

describe("denial at the headers", () => {
  const body = data(1, message(Buffer.from("abc")), { endStream: true });

  it.each([
    ["the message comes with the headers", [request(1, PATH), body], []],
    ["it comes before the fence", [request(1, PATH)], [body]],
    ["the headers are all there is", [headers(1, [[":path", PATH]], true)], []],
  ])(
    "answers behind the fence, asks nobody about the message, and lets none of it upstream: %s",
    (_, first, then) => {
      const { hooks, ends, edits } = closed();
      const wire = startWire({ hooks });
      wire.fromClient(...first);
      wire.fromClient(...then);
      expect(toUpstream(wire).map((frame) => frame.replace(" END", ""))).toEqual([
        "headers 1",
        "rstStream 1 8",
        "settings 0",
      ]);
      expect(toClient(wire).filter((frame) => frame.startsWith("headers"))).toEqual([]);
      wire.fromUpstream(settingsAck);
      expect(toClient(wire)).toEqual(["headers 1 END"]);
      expect(ends).toMatchObject([{ grpcStatus: 7, grpcMessage: "not on this socket", answeredByTap: true }]);
      expect([edits, wire.machine.streams, wire.problems()]).toEqual([[], 0, []]);
    },
  );

  it.each([
    ["after the answer, which then is credited", [body], ["windowUpdate 0 +8"]],
    ["never, but a reset", [reset(1)], []],
  ])("needs no message: it comes %s", (_, rest, credit) => {
    const { hooks, ends } = closed();
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH));
    wire.fromUpstream(settingsAck);
    expect(toClient(wire)).toEqual(["headers 1 END"]);
    wire.upstreamFrames();
    wire.fromClient(...rest);
    expect([toUpstream(wire), toClient(wire)]).toEqual([[], credit]);
    expect([ends.length, wire.machine.streams, wire.problems()]).toEqual([1, 0, []]);
  });

  it("keeps a bounded number of streams of a client that never ends them", () => {
    const { hooks } = closed();
    const wire = startWire({ hooks, limits: { maxDiscarding: 10 } });
    for (let id = 1; id < 200; id += 2) {
      wire.fromClient(request(id, PATH));
      wire.fromUpstream(settingsAck);
    }
    expect(wire.machine.streams).toBe(10);
    expect(wire.problems()).toEqual([]);
  });

  it("stands also while the runtime is away", () => {
    const { hooks, ends } = closed();
    const wire = startWire({ hooks });
    wire.machine.upstreamGone({ status: 14, message: "away" });
    const away = new Wire({ hooks });
    away.machine.upstreamGone({ status: 14, message: "away" });
    away.fromClient(PREFACE, settings(), request(1, PATH));
    expect(ends).toMatchObject([{ grpcStatus: 7 }]);
  });

  it("sees the path of a client that leaves its first slash out as grpc-go's servers do", () => {
    const paths: string[] = [];
    const wire = startWire({
      hooks: {
        onRequest({ path }) {
          paths.push(path);
          return { hold: false, call: undefined };
        },
      },
    });
    const bare = request(1, PATH.slice(1));
    wire.fromClient(bare);
    expect(paths).toEqual([PATH]);
    expect(wire.upstreamFrames()[0]?.payload).toEqual(bare.subarray(9));
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

  it.each([0, 17, -1, Number.NaN])(
    "never says OK, nor what is no status, whatever a hook asks for: %d",
    (status) => {
      const { hooks, ends } = holding(() => ({ action: "deny", status, message: "no" }));
      const wire = startWire({ hooks });
      wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc")), { endStream: true }));
      wire.fromUpstream(settingsAck);
      expect(ends.get(1)).toMatchObject({ grpcStatus: 13, answeredByTap: true });
      expect(wire.clientFrames().at(-1)?.payload.toString("latin1")).toContain("grpc-status\u000213");
    },
  );

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
    ["a second message", data(1, message(Buffer.from("def")), { endStream: true })],
    ["request trailers", trailers(1, 0)],
  ])("does not answer again a call that upstream has answered: %s then only ends it", (_, rest) => {
    const { hooks, ends } = holding(forward);
    const wire = startWire({ hooks });
    wire.fromClient(request(1, PATH), data(1, message(Buffer.from("abc"))));
    wire.fromUpstream(responseHead(1), trailers(1, 0));
    wire.clientFrames();
    wire.fromClient(rest);
    const sent = toUpstream(wire);
    expect(sent.filter((frame) => frame.startsWith("rstStream"))).toEqual(["rstStream 1 8"]);
    for (const frame of sent) if (frame === "settings 0") wire.fromUpstream(settingsAck);
    expect(toClient(wire).filter((frame) => frame.startsWith("headers"))).toEqual([]);
    expect(ends.get(1)).toMatchObject({ grpcStatus: 0, answeredByTap: false });
    expect(wire.machine.streams).toBe(0);
    expect(wire.problems()).toEqual([]);
  });

  it("opens with the lowest size of a table that went down and up again in one SETTINGS frame", () => {
    const downAndUp = Buffer.concat([settings({ 1: 200 }), settings({ 1: 4_096 }).subarray(9)]);
    downAndUp.writeUIntBE(12, 0, 3);
    const wire = startWire({ hooks: holding(deny).hooks });
    wire.fromClient(downAndUp, request(1, PATH), data(1, message(Buffer.from("abc")), { endStream: true }));
    wire.fromUpstream(settingsAck, settingsAck);
    // 200 as an integer with a prefix of five bits, and no index into the table.
    expect(wire.clientFrames().at(-1)?.payload.subarray(0, 4).toString("hex")).toBe("3fa90188");
    expect(wire.problems()).toEqual([]);
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
