import { describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE } from "./frames.ts";
import type { TapHooks } from "./hooks.ts";
import { conversation } from "./testing/conversation.ts";
import { createRandom, type Random } from "./testing/random.ts";
import { data, FrameCutter, headers, request, settings, settingsAck } from "./testing/raw-frames.ts";
import { Wire } from "./testing/wire.ts";

/** Connections per run; `make fuzz` is the longer hunt. */
const RUNS = 60;
const STEPS = 250;

function play(random: Random, hooks: TapHooks | undefined): { wire: Wire; said: Buffer[]; heard: Buffer[] } {
  const wire = new Wire(hooks === undefined ? {} : { hooks });
  const heard: { client: Buffer[]; upstream: Buffer[] } = { client: [], upstream: [] };
  const said: { client: Buffer[]; upstream: Buffer[] } = { client: [], upstream: [] };
  wire.onUpstreamBytes = (bytes) => heard.client.push(Buffer.from(bytes));
  wire.onClientBytes = (bytes) => heard.upstream.push(Buffer.from(bytes));
  for (const { from, bytes } of conversation(random, STEPS)) {
    said[from].push(bytes);
    let rest = bytes;
    while (rest.length > 0) {
      const octets = random.chance(3) ? rest.length : 1 + random.below(rest.length);
      if (from === "client") wire.fromClient(rest.subarray(0, octets));
      else wire.fromUpstream(rest.subarray(0, octets));
      rest = rest.subarray(octets);
    }
  }
  return {
    wire,
    said: [Buffer.concat(said.client), Buffer.concat(said.upstream)],
    heard: [Buffer.concat(heard.client), Buffer.concat(heard.upstream)],
  };
}

describe("a connection on which nothing is held", () => {
  const looksOn: TapHooks = {
    onRequest: () => ({
      hold: false,
      observeResponse: true,
      call: { onResponse: () => undefined, onEnd: () => undefined },
    }),
  };

  it.each([
    ["nobody asks", undefined],
    ["somebody reads the answers", looksOn],
  ])(
    "leaves as it came, byte for byte, in both directions, however it is cut into chunks: %s",
    (_, hooks) => {
      for (let seed = 0; seed < RUNS; seed++) {
        const { wire, said, heard } = play(createRandom(seed), hooks);
        expect([seed, wire.machine.failure?.message]).toEqual([seed, undefined]);
        expect([seed, heard[0]?.equals(said[0] ?? heard[0]), heard[1]?.equals(said[1] ?? heard[1])]).toEqual([
          seed,
          true,
          true,
        ]);
      }
    },
  );

  it("is tried with every kind of frame, often", () => {
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    for (let seed = 0; seed < RUNS; seed++) {
      for (const { from, bytes } of conversation(createRandom(seed), STEPS)) {
        const cutter = new FrameCutter();
        const afterPreface = bytes.subarray(bytes.subarray(0, 24).equals(PREFACE) ? PREFACE.length : 0);
        for (const { type, flags } of cutter.push(afterPreface)) {
          const name = Object.entries(FrameType).find(([, number]) => number === type)?.[0] ?? "future";
          count(`${from} ${name}`);
          if (type <= FrameType.headers && (flags & Flag.endStream) !== 0) count(`${from} ${name} END`);
          if (type <= FrameType.headers && (flags & Flag.padded) !== 0) count(`${from} ${name} padded`);
        }
      }
    }
    const both = [
      "data",
      "headers",
      "data END",
      "headers END",
      "data padded",
      "headers padded",
      "continuation",
    ];
    const anyTime = ["priority", "rstStream", "settings", "ping", "goaway", "windowUpdate", "future"];
    for (const side of ["client", "upstream"]) {
      for (const kind of [...both, ...anyTime]) {
        expect([side, kind, (seen.get(`${side} ${kind}`) ?? 0) > RUNS / 4]).toEqual([side, kind, true]);
      }
    }
    expect(seen.get("upstream pushPromise")).toBeGreaterThan(RUNS / 4);
  });

  it("hands a chunk on as the very buffer that came in", () => {
    const wire = new Wire();
    wire.fromClient(PREFACE, settings());
    wire.fromUpstream(settings());
    const out: Buffer[] = [];
    wire.onUpstreamBytes = (bytes) => out.push(bytes);
    const chunk = Buffer.concat([
      settingsAck,
      request(1, "/a.B/C"),
      data(1, Buffer.alloc(99), { endStream: true }),
    ]);
    wire.machine.clientBytes(chunk);
    wire.flush();
    expect(out).toHaveLength(1);
    expect(out[0]).toBe(chunk);
  });

  it("passes a request whose authority is a raw socket path, which Node's own stack resets", () => {
    const seen: string[] = [];
    const hooks: TapHooks = {
      onRequest: ({ path }) => {
        seen.push(path);
        return { hold: false, call: undefined };
      },
    };
    const wire = new Wire({ hooks });
    const out: Buffer[] = [];
    wire.onUpstreamBytes = (bytes) => out.push(bytes);
    const path = "/runtime.v1.RuntimeService/Version";
    const sent = Buffer.concat([
      PREFACE,
      settings(),
      headers(1, [
        [":method", "POST"],
        [":scheme", "http"],
        [":path", path],
        [":authority", "/run/containerd/containerd.sock"],
      ]),
    ]);
    wire.fromClient(sent);
    expect(Buffer.concat(out)).toEqual(sent);
    expect(seen).toEqual([path]);
  });
});
