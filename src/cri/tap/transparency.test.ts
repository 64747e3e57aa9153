import { describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE, pingFrame } from "./frames.ts";
import type { TapHooks } from "./hooks.ts";
import { createRandom, type Random } from "./testing/random.ts";
import {
  data,
  headers,
  rawFrame,
  request,
  reset,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { Wire } from "./testing/wire.ts";

/** Connections per run; raise it by hand for a longer hunt. */
const RUNS = 60;
const FRAMES = 120;

/** Frames that either side may send at any time, those of the future included. */
function anySideFrame(random: Random, id: number): Buffer {
  const payload = random.bytes(random.below(60));
  return [
    () => pingFrame(random.bytes(8), random.chance(2)),
    () => rawFrame(FrameType.priority, 0, { streamId: id, payload: random.bytes(5) }),
    () => rawFrame(10 + random.below(246), random.below(256), { streamId: random.below(9), payload }),
    () => windowUpdate(random.chance(2) ? 0 : id, 1 + random.below(1_000)),
  ][random.below(4)]?.() as Buffer;
}

/** A header block over several frames, padded and with a priority. */
function splitBlock(random: Random, whole: Buffer): Buffer[] {
  const id = whole.readUInt32BE(5);
  const block = whole.subarray(9);
  const at = random.below(block.length);
  const flags = (whole[4] ?? 0) & Flag.endStream;
  const payload = Buffer.concat([Buffer.from([3]), Buffer.alloc(5), block.subarray(0, at), Buffer.alloc(3)]);
  return [
    rawFrame(FrameType.headers, flags | Flag.padded | Flag.priority, { streamId: id, payload }),
    rawFrame(FrameType.continuation, Flag.endHeaders, { streamId: id, payload: block.subarray(at) }),
  ];
}

/** What a client and a server say on one connection, in an order in which it can be said. */
function conversation(random: Random): { from: "client" | "upstream"; bytes: Buffer }[] {
  const said: { from: "client" | "upstream"; bytes: Buffer }[] = [
    { from: "client", bytes: Buffer.concat([PREFACE, settings({ 3: 100, 99: 7 })]) },
    { from: "upstream", bytes: Buffer.concat([settings({ 4: 40_000 }), settingsAck]) },
    { from: "client", bytes: settingsAck },
  ];
  let highest = 1;
  const client = (...frames: Buffer[]) => said.push({ from: "client", bytes: Buffer.concat(frames) });
  const upstream = (...frames: Buffer[]) => said.push({ from: "upstream", bytes: Buffer.concat(frames) });
  const block = (whole: Buffer) => (random.chance(3) ? splitBlock(random, whole) : [whole]);
  client(...block(request(1, "/a.B/C")));
  for (let frame = 0; frame < FRAMES; frame++) {
    const id = 1 + 2 * random.below((highest + 1) / 2);
    const padding = random.chance(3) ? random.below(30) : -1;
    switch (random.below(9)) {
      case 0:
        highest += 2;
        client(...block(request(highest, `/a.B/${frame}`)));
        break;
      case 1:
        client(data(highest, random.bytes(random.below(200)), { padding, endStream: random.chance(4) }));
        break;
      case 2:
        upstream(...block(random.chance(2) ? responseHead(id) : trailers(id, random.below(17))));
        break;
      case 3:
        upstream(data(id, random.bytes(random.below(400)), { padding, endStream: random.chance(9) }));
        break;
      case 4:
        client(anySideFrame(random, id));
        break;
      case 5:
        upstream(anySideFrame(random, id));
        break;
      case 6:
        if (random.chance(2)) client(reset(id));
        else upstream(reset(id, 0));
        break;
      case 7:
        if (random.chance(2)) client(settings({ 1: random.below(5_000) }));
        else upstream(settings({ 4: 30_000 + random.below(40_000), 1: random.below(5_000) }));
        break;
      default:
        upstream(headers(id, [[":status", "103"]]));
    }
  }
  return said;
}

function play(random: Random, hooks: TapHooks | undefined): { wire: Wire; said: Buffer[]; heard: Buffer[] } {
  const wire = new Wire(hooks === undefined ? {} : { hooks });
  const heard: { client: Buffer[]; upstream: Buffer[] } = { client: [], upstream: [] };
  const said: { client: Buffer[]; upstream: Buffer[] } = { client: [], upstream: [] };
  wire.onUpstreamBytes = (bytes) => heard.client.push(Buffer.from(bytes));
  wire.onClientBytes = (bytes) => heard.upstream.push(Buffer.from(bytes));
  for (const { from, bytes } of conversation(random)) {
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
  it("leaves as it came, byte for byte, in both directions, however it is cut into chunks", () => {
    for (let seed = 0; seed < RUNS; seed++) {
      const { wire, said, heard } = play(createRandom(seed), undefined);
      expect([seed, wire.machine.failure?.message]).toEqual([seed, undefined]);
      expect([seed, heard[0]?.equals(said[0] ?? heard[0]), heard[1]?.equals(said[1] ?? heard[1])]).toEqual([
        seed,
        true,
        true,
      ]);
    }
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
