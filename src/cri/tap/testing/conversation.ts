/**
 * What a client and a server may say on one connection, made up at random, for tests: calls of known and unknown methods with
 * messages of any fields, and everything else that HTTP/2 allows between them, in an order in which it can be said.
 */
import { ErrorCode, Flag, FrameType, goawayFrame, MAX_STREAM_ID, PREFACE, pingFrame } from "../frames.ts";
import { HpackWriter } from "./hpack-writer.ts";
import type { Random } from "./random.ts";
import { randomMessage } from "./random-message.ts";
import { data, message, rawFrame, reset, settings, settingsAck, windowUpdate } from "./raw-frames.ts";

type Side = "client" | "upstream";
type Fields = readonly (readonly [string, string])[];

/** Whole frames of one side. */
export interface Said {
  readonly from: Side;
  readonly bytes: Buffer;
}

interface Call {
  readonly id: number;
  /** Bytes of messages still to send, in either direction. */
  request: Buffer;
  response: Buffer;
  /** Flow control: what the client may still send. */
  room: number;
  clientEnded: boolean;
  upstreamEnded: boolean;
}

interface Announced {
  readonly tableBytes: number | undefined;
}

/** Less than any INITIAL_WINDOW_SIZE that is announced here, whatever is in flight. */
const STREAM_ROOM = 29_000;
const AUTHORITIES = [
  "localhost",
  "/run/containerd/containerd.sock",
  "%2Frun%2Fx.sock",
  "",
  "[::1]:1",
  "ünix",
];
const TIMEOUTS = ["2M", "99999999H", "8760000H", "1n", "15S"];

/** `steps` things said by either side, after the opening of both. */
export function conversation(random: Random, steps: number): Said[] {
  const talk = new Talk(random);
  for (let step = 0; step < steps; step++) talk.step();
  return talk.said;
}

class Talk {
  readonly said: Said[] = [];
  readonly #random: Random;
  readonly #hpack: Readonly<Record<Side, HpackWriter>>;
  /** By who announced them: SETTINGS that the other side has not acknowledged yet. */
  readonly #announced: Readonly<Record<Side, Announced[]>> = { client: [], upstream: [] };
  readonly #calls: Call[] = [];
  #highestId = -1;
  #promisedId = 0;
  #goawayId = MAX_STREAM_ID;
  #room = 65_535;

  constructor(random: Random) {
    this.#random = random;
    this.#hpack = { client: new HpackWriter(random), upstream: new HpackWriter(random) };
    this.#say("client", PREFACE, settings({ 3: 100, 99: 7 }));
    this.#say("upstream", settings({ 4: 40_000 }), settingsAck);
    this.#say("client", settingsAck);
    this.#open();
  }

  step(): void {
    const random = this.#random;
    const side: Side = random.chance(2) ? "client" : "upstream";
    switch (random.below(10)) {
      case 0:
        this.#open();
        break;
      case 1:
      case 2:
      case 3:
        this.#requestData();
        break;
      case 4:
        this.#responseHead();
        break;
      case 5:
      case 6:
        this.#responseData();
        break;
      case 7:
        this.#end();
        break;
      case 8:
        this.#sayAnything(side);
        break;
      default:
        this.#settings(side);
    }
  }

  #say(from: Side, ...frames: Buffer[]): void {
    this.said.push({ from, bytes: Buffer.concat(frames) });
  }

  #any(): Call {
    return this.#calls[this.#random.below(this.#calls.length)] as Call;
  }

  #open(): void {
    const random = this.#random;
    this.#highestId += 2 + 2 * random.below(2);
    const request = Buffer.concat(
      Array.from({ length: 1 + random.below(2) }, () => message(randomMessage(random, 12))),
    );
    const response = Buffer.concat(
      Array.from({ length: 1 + random.below(3) }, () => message(randomMessage(random, 20))),
    );
    const clientEnded = random.chance(12);
    const id = this.#highestId;
    this.#calls.push({ id, request, response, room: STREAM_ROOM, clientEnded, upstreamEnded: false });
    const method = random.chance(3) ? `Unknown${random.below(1_000)}` : "CreateContainer";
    this.#block("client", id, clientEnded, [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", `/runtime.v${random.below(3)}.RuntimeService/${method}`],
      [":authority", this.#oneOf(AUTHORITIES)],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
      ["grpc-timeout", this.#oneOf(TIMEOUTS)],
      ...this.#metadata(),
    ]);
  }

  #oneOf(texts: readonly string[]): string {
    return texts[this.#random.below(texts.length)] ?? "";
  }

  #metadata(): Fields {
    const random = this.#random;
    const name = random.chance(3) ? "trace-bin" : `x-${random.below(9)}`;
    const value = random
      .bytes(random.below(random.chance(30) ? 3_000 : 30))
      .toString(random.chance(2) ? "latin1" : "hex");
    return random.chance(2) ? [] : [[name, value]];
  }

  #padding(): number {
    return this.#random.chance(3) ? this.#random.below(30) : -1;
  }

  #requestData(): void {
    const random = this.#random;
    const call = this.#any();
    if (call.clientEnded) return;
    const padding = this.#padding();
    const room = Math.min(call.room, this.#room) - padding - 1;
    const length = Math.min(call.request.length, room, random.below(random.chance(5) ? 5_000 : 200));
    if (length < 0) return;
    const endStream = length === call.request.length && random.chance(2);
    this.#say("client", data(call.id, call.request.subarray(0, length), { padding, endStream }));
    call.request = call.request.subarray(length);
    call.room -= length + padding + 1;
    this.#room -= length + padding + 1;
    call.clientEnded = endStream;
  }

  #responseHead(): void {
    const random = this.#random;
    const call = this.#any();
    if (call.upstreamEnded) return;
    const status: Fields = [[":status", random.chance(5) ? "103" : "200"]];
    if (random.chance(15)) {
      this.#promisedId += 2;
      this.#promise(call.id, [...status, ...this.#metadata()]);
      return;
    }
    call.upstreamEnded = random.chance(5);
    const end: Fields = call.upstreamEnded ? [["grpc-status", String(random.below(17))]] : [];
    this.#block("upstream", call.id, call.upstreamEnded, [...status, ...end, ...this.#metadata()]);
  }

  #responseData(): void {
    const random = this.#random;
    const call = this.#any();
    if (call.upstreamEnded) return;
    const length = Math.min(call.response.length, random.below(400));
    const endStream = random.chance(20);
    const padding = this.#padding();
    this.#say("upstream", data(call.id, call.response.subarray(0, length), { padding, endStream }));
    call.response = call.response.subarray(length);
    call.upstreamEnded = endStream;
  }

  /** Trailers of either side, a reset, or a GOAWAY. Resets also cross what the other side has ended. */
  #end(): void {
    const random = this.#random;
    const call = this.#any();
    switch (random.below(6)) {
      case 0:
        this.#say("client", reset(call.id, random.below(14)));
        call.clientEnded = call.upstreamEnded = true;
        return;
      case 1:
        this.#say("upstream", reset(call.id, random.below(14)));
        call.upstreamEnded = true;
        call.clientEnded ||= random.chance(2);
        return;
      case 2:
        if (!call.clientEnded) this.#block("client", call.id, true, [["x-end", "1"], ...this.#metadata()]);
        call.clientEnded = true;
        return;
      case 3:
        if (random.chance(4)) this.#goaway();
        return;
      default:
        if (call.upstreamEnded) return;
        this.#block("upstream", call.id, true, [
          ["grpc-status", "0"],
          ["grpc-message", "n%C3%B6"],
          ...this.#metadata(),
        ]);
        call.upstreamEnded = true;
    }
  }

  /** Streams that a GOAWAY leaves out may be on their way, and their frames with them. */
  #goaway(): void {
    const random = this.#random;
    const debug = random.bytes(random.below(20));
    if (random.chance(2)) {
      this.#say("client", goawayFrame(this.#promisedId, ErrorCode.noError));
      return;
    }
    const lastId = random.chance(2) ? this.#highestId : random.below(this.#highestId + 1);
    this.#goawayId = Math.min(this.#goawayId, random.chance(3) ? MAX_STREAM_ID : lastId);
    const payload = Buffer.concat([goawayFrame(this.#goawayId, random.below(14)).subarray(9), debug]);
    this.#say("upstream", rawFrame(FrameType.goaway, 0, { payload }));
    for (const call of this.#calls) call.upstreamEnded ||= call.id > this.#goawayId;
  }

  /** Frames that either side may send at any time, those of the future included. */
  #sayAnything(side: Side): void {
    const random = this.#random;
    const { id } = this.#any();
    const payload = random.bytes(random.below(60));
    const future = 10 + random.below(246);
    switch (random.below(4)) {
      case 0:
        this.#say(side, pingFrame(random.bytes(8), random.chance(2)));
        return;
      case 1:
        this.#say(side, rawFrame(FrameType.priority, 0, { streamId: id, payload: random.bytes(5) }));
        return;
      case 2:
        this.#say(side, rawFrame(future, random.below(256), { streamId: random.below(9), payload }));
        return;
      default: {
        const increment = 1 + random.below(1_000);
        const onStream = random.chance(2);
        this.#say(side, windowUpdate(onStream ? id : 0, increment));
        if (side === "upstream" && !onStream) this.#room += increment;
      }
    }
  }

  /** Announces something, or acknowledges what the other side did. */
  #settings(side: Side): void {
    const random = this.#random;
    const other: Side = side === "client" ? "upstream" : "client";
    const due = this.#announced[other].shift();
    if (due !== undefined) {
      this.#say(side, settingsAck);
      if (due.tableBytes !== undefined) this.#hpack[side].setLimit(due.tableBytes);
      return;
    }
    const tableBytes = random.chance(2) ? random.below(9_000) : undefined;
    const entries: Record<number, number> = { [100 + random.below(99)]: random.below(9) };
    if (tableBytes !== undefined) entries[1] = tableBytes;
    if (random.chance(2)) entries[4] = 30_000 + random.below(40_000);
    this.#announced[side].push({ tableBytes });
    this.#say(side, settings(entries));
  }

  #promise(id: number, fields: Fields): void {
    const promised = Buffer.alloc(4);
    promised.writeUInt32BE(this.#promisedId);
    const payload = Buffer.concat([promised, this.#hpack.upstream.block(fields)]);
    this.#say("upstream", rawFrame(FrameType.pushPromise, Flag.endHeaders, { streamId: id, payload }));
  }

  /** A header block over one or several frames, with or without padding and priority. */
  #block(side: Side, streamId: number, end: boolean, fields: Fields): void {
    const random = this.#random;
    const block = this.#hpack[side].block(fields);
    const cuts = random.chance(3)
      ? Array.from({ length: 1 + random.below(3) }, () => random.below(block.length + 1))
      : [];
    const at = [0, ...cuts.toSorted((a, b) => a - b), block.length];
    const parts = at.slice(1).map((to, index) => block.subarray(at[index], to));
    const frames = parts.map((part, index) => {
      const last = index === parts.length - 1 ? Flag.endHeaders : 0;
      if (index > 0) return rawFrame(FrameType.continuation, last, { streamId, payload: part });
      const padding = this.#padding();
      const priority = random.chance(4);
      const flags =
        last | (end ? Flag.endStream : 0) | (padding < 0 ? 0 : Flag.padded) | (priority ? Flag.priority : 0);
      const payload = Buffer.concat([
        Buffer.from(padding < 0 ? [] : [padding]),
        priority ? random.bytes(5) : Buffer.alloc(0),
        part,
        Buffer.alloc(Math.max(padding, 0)),
      ]);
      return rawFrame(FrameType.headers, flags, { streamId, payload });
    });
    this.#say(side, ...frames);
  }
}
