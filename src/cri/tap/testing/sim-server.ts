/** A server for simulations: grants little and late, changes its windows under way, and answers early, late, or by a reset. */
import { Flag, FrameType, PREFACE, Setting } from "../frames.ts";
import type { Random } from "./random.ts";
import {
  data,
  FrameCutter,
  headers,
  message,
  type RawFrame,
  reset,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./raw-frames.ts";

interface Served {
  readonly id: number;
  /** The framed answer, and how much of it was sent. */
  readonly reply: Buffer;
  replied: number;
  readonly parts: Buffer[];
  ungranted: number;
  ended: boolean;
  over: "no" | "answered" | "reset" | "cancelled";
  headSent: boolean;
}

/** Takes whole request bodies, so that a test can compare them. */
export class SimServer {
  readonly streams = new Map<number, Served>();
  /** The connection's window as this server counts it. */
  window = 65_535;
  readonly #random: Random;
  readonly #cutter = new FrameCutter();
  #prefaceLeft = PREFACE.length;
  #out: Buffer[] = [];

  constructor(random: Random, initialWindow: number) {
    this.#random = random;
    this.#out.push(settings({ [Setting.initialWindowSize]: initialWindow }));
  }

  take(): Buffer {
    return Buffer.concat(this.#out.splice(0));
  }

  get atRest(): boolean {
    return [...this.streams.values()].every((stream) => stream.over !== "no");
  }

  /** The whole request as received. */
  body(id: number): Buffer {
    return Buffer.concat(this.streams.get(id)?.parts ?? []);
  }

  /** The whole framed answer, of which all was sent where the status is 0. */
  reply(id: number): Buffer {
    return this.streams.get(id)?.reply ?? Buffer.alloc(0);
  }

  receive(bytes: Buffer): void {
    const skip = Math.min(this.#prefaceLeft, bytes.length);
    this.#prefaceLeft -= skip;
    for (const frame of this.#cutter.push(bytes.subarray(skip))) this.#onFrame(frame);
  }

  /** Does one thing: grants, changes the window, or answers a stream. `hurry` makes it grant whatever is asked of it. */
  act(hurry: boolean): void {
    if (hurry) {
      this.#grantAll();
      return;
    }
    const choice = this.#random.below(10);
    if (choice === 0) this.#out.push(settings({ [Setting.initialWindowSize]: this.#random.below(2_000) }));
    else if (choice < 4) this.#grantSome();
    else this.#answerOne();
  }

  #onFrame({ type, flags, streamId, payload }: RawFrame): void {
    if (type === FrameType.settings && (flags & Flag.ack) === 0) this.#out.push(settingsAck);
    if (type === FrameType.headers && !this.streams.has(streamId)) {
      this.streams.set(streamId, {
        id: streamId,
        reply: message(this.#random.bytes(this.#random.below(300))),
        replied: 0,
        parts: [],
        ungranted: 0,
        ended: false,
        over: "no",
        headSent: false,
      });
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    if (type === FrameType.data) {
      const padded = (flags & Flag.padded) !== 0;
      const end = payload.length - (padded ? (payload[0] ?? 0) : 0);
      stream.parts.push(payload.subarray(padded ? 1 : 0, end));
      stream.ungranted += payload.length;
      this.window -= payload.length;
    }
    if (type === FrameType.rstStream && stream.over !== "answered") stream.over = "cancelled";
    if ((type === FrameType.data || type === FrameType.headers) && (flags & Flag.endStream) !== 0)
      stream.ended = true;
  }

  #grantSome(): void {
    const owed = 65_535 - this.window;
    if (owed > 0 && this.#random.chance(3)) this.#grantConnection(1 + this.#random.below(owed));
    const waiting = this.#open().filter((stream) => !stream.ended);
    const stream = waiting[this.#random.below(Math.max(1, waiting.length))];
    if (stream === undefined) return;
    this.#out.push(windowUpdate(stream.id, 1 + this.#random.below(Math.max(1, stream.ungranted))));
    stream.ungranted = 0;
  }

  #grantAll(): void {
    if (this.window < 65_535) this.#grantConnection(65_535 - this.window);
    for (const stream of this.#open()) {
      if (!stream.ended) this.#out.push(windowUpdate(stream.id, 500));
      else this.#answer(stream);
    }
  }

  #grantConnection(bytes: number): void {
    this.window += bytes;
    this.#out.push(windowUpdate(0, bytes));
  }

  #open(): Served[] {
    return [...this.streams.values()].filter((stream) => stream.over === "no");
  }

  #answerOne(): void {
    const open = this.#open();
    const stream = open[this.#random.below(Math.max(1, open.length))];
    if (stream === undefined) return;
    if (stream.ended) {
      this.#answer(stream);
      return;
    }
    if (!stream.headSent && this.#random.chance(20)) {
      stream.headSent = true;
      this.#out.push(responseHead(stream.id));
      this.#reply(stream, this.#random.below(50));
    } else if (this.#random.chance(60)) {
      stream.over = "answered";
      const end = stream.headSent
        ? trailers(stream.id, 12)
        : headers(
            stream.id,
            [
              [":status", "200"],
              ["grpc-status", "12"],
            ],
            true,
          );
      this.#out.push(end, ...(this.#random.chance(2) ? [reset(stream.id, 0)] : []));
    } else if (this.#random.below(60) === 1) {
      stream.over = "reset";
      this.#out.push(reset(stream.id, 2));
    }
  }

  #reply(stream: Served, octets: number): void {
    const bytes = stream.reply.subarray(stream.replied, stream.replied + octets);
    stream.replied += bytes.length;
    this.#out.push(data(stream.id, bytes));
  }

  #answer(stream: Served): void {
    stream.over = "answered";
    if (!stream.headSent) this.#out.push(responseHead(stream.id));
    while (stream.replied < stream.reply.length) this.#reply(stream, 1 + this.#random.below(400));
    this.#out.push(trailers(stream.id, 0));
  }
}
