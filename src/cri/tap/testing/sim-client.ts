/** A client for simulations: obeys the windows that it is given, and takes every liberty that HTTP/2 leaves it otherwise. */
import { Flag, FrameType, PREFACE, Setting } from "../frames.ts";
import { HpackDecoder } from "../hpack/decoder.ts";
import type { Random } from "./random.ts";
import {
  data,
  FrameCutter,
  message,
  type RawFrame,
  request,
  reset,
  settings,
  settingsAck,
} from "./raw-frames.ts";

/** One call, as its client sees it. */
export interface SimCall {
  readonly id: number;
  readonly body: Buffer;
  /** DATA of the answer. */
  readonly answer: Buffer[];
  /** Framed bytes still to send. */
  rest: Buffer;
  window: number;
  ended: boolean;
  outcome: "open" | "cancelled" | "reset" | number;
}

const GENEROUS = 1 << 30;

/** Makes calls of random bytes, and remembers how each ended. */
export class SimClient {
  readonly calls: SimCall[] = [];
  window = 65_535;
  readonly #random: Random;
  readonly #cutter = new FrameCutter();
  readonly #hpack = new HpackDecoder();
  readonly #byId = new Map<number, SimCall>();
  #initialWindow = 65_535;
  #out: Buffer[] = [PREFACE, settings({ [Setting.initialWindowSize]: GENEROUS })];
  readonly problems: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get atRest(): boolean {
    return this.calls.every((call) => call.outcome !== "open" && call.ended);
  }

  take(): Buffer {
    return Buffer.concat(this.#out.splice(0));
  }

  call(path: string, bytes: number): void {
    const id = 1 + 2 * this.calls.length;
    const body = this.#random.bytes(bytes);
    const call: SimCall = {
      id,
      body,
      answer: [],
      rest: message(body),
      window: this.#initialWindow,
      ended: false,
      outcome: "open",
    };
    this.calls.push(call);
    this.#byId.set(id, call);
    this.#out.push(request(id, path));
  }

  /** Sends something of a call chosen at random, if it may; now and then cancels one. */
  act(): void {
    const open = this.calls.filter((call) => !call.ended);
    const call = open[this.#random.below(Math.max(1, open.length))];
    if (call === undefined) return;
    if (call.outcome !== "open" && this.#random.chance(3)) {
      this.#reset(call);
      return;
    }
    if (call.outcome === "open" && this.#random.chance(60)) {
      call.outcome = "cancelled";
      this.#reset(call);
      return;
    }
    this.#send(call);
  }

  /** Gives up one open call that `chosen` names. */
  cancelOne(chosen: (id: number) => boolean): void {
    const call = this.calls.find(({ id, outcome }) => outcome === "open" && chosen(id));
    if (call === undefined) return;
    call.outcome = "cancelled";
    this.#reset(call);
  }

  #reset(call: SimCall): void {
    call.ended = true;
    this.#out.push(reset(call.id));
  }

  #send(call: SimCall): void {
    const padding = this.#random.chance(4) ? this.#random.below(20) : -1;
    const overhead = padding + 1;
    const room = Math.min(this.window, call.window) - overhead;
    const length = Math.min(call.rest.length, room, 1 + this.#random.below(900));
    if (length < 0 || (length === 0 && call.rest.length > 0)) return;
    const last = length === call.rest.length;
    const endStream = last && (length === 0 || this.#random.chance(2));
    if (length === 0 && !endStream) return;
    this.#out.push(data(call.id, call.rest.subarray(0, length), { endStream, padding }));
    this.window -= length + overhead;
    call.window -= length + overhead;
    call.rest = call.rest.subarray(length);
    call.ended = endStream;
  }

  receive(bytes: Buffer): void {
    for (const frame of this.#cutter.push(bytes)) this.#onFrame(frame);
  }

  #onFrame({ type, flags, streamId, payload }: RawFrame): void {
    const call = this.#byId.get(streamId);
    if (type === FrameType.settings && (flags & Flag.ack) === 0) {
      for (let at = 0; at < payload.length; at += 6) {
        if (payload.readUInt16BE(at) === Setting.initialWindowSize)
          this.#setWindow(payload.readUInt32BE(at + 2));
      }
      this.#out.push(settingsAck);
    } else if (type === FrameType.windowUpdate) {
      if (streamId === 0) this.window += payload.readUInt32BE(0);
      else if (call !== undefined) call.window += payload.readUInt32BE(0);
    } else if (type === FrameType.data) {
      call?.answer.push(payload);
    } else if (type === FrameType.headers) {
      let status: number | undefined;
      const field = (name: string, value: string) => {
        if (name === "grpc-status") status = Number(value);
      };
      this.#hpack.decode(payload, { start: 0, end: payload.length }, { field });
      if ((flags & Flag.endStream) !== 0 && call?.outcome === "open") call.outcome = status ?? -1;
      else if ((flags & Flag.endStream) !== 0 && call?.outcome !== "cancelled")
        this.problems.push(`two ends of ${streamId}`);
    } else if (type === FrameType.rstStream && call !== undefined) {
      if (call.outcome === "open") call.outcome = "reset";
      call.ended = true;
    }
  }

  #setWindow(bytes: number): void {
    for (const call of this.calls) call.window += bytes - this.#initialWindow;
    this.#initialWindow = bytes;
  }
}
