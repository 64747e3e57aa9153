/**
 * Watches calls go by: reads who each is about, teaches the index of pods, looks for what is newer than our CRI, and writes
 * the record when the call is over. Decides nothing: what a policy made of the call, it is told.
 */
import type { PodIndex } from "../pods/pod-index.ts";
import type { CallEnd, StreamStart } from "../tap/hooks.ts";
import { type Afterwards, atOnce } from "./afterwards.ts";
import { type CallRecord, type Decided, measuresOf, type Subject } from "./call-record.ts";
import { scrubDecided } from "./scrub-decided.ts";
import type { Skew } from "./skew.ts";
import { namedMethods, subjectOf } from "./subject.ts";

export type { Decided } from "./call-record.ts";

export interface CallWatchOptions {
  /** Takes the record of each finished call. Must not throw and must not wait. */
  readonly record: (record: CallRecord) => void;
  readonly pods?: PodIndex;
  readonly skew?: Skew;
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number;
  /** What a call need not wait for is given to it; done at once without it. */
  readonly afterwards?: Afterwards;
}

export interface CallWatch {
  /** What the watch wants of a method: its request, to read it; its response, to learn from it. */
  wants(method: string): { readonly hold: boolean; readonly observeResponse: boolean };
  /** A call begins. `method` is its name, or its path where it is none of CRI v1. */
  open(start: Pick<StreamStart, "listener">, method: string): WatchedCall;
}

/**
 * One call, from its headers to its end. All of it optional but the end. Messages are views, whose bytes must stay as they are
 * until what was put off is done.
 */
export interface WatchedCall {
  /** The request as it came. */
  request(message: Uint8Array): void;
  /**
   * What policies made of the request, which is given again as it came: what they say is written without any value of it that
   * must not be shown. Returns what is written of a denial, for the client to be told.
   */
  decided(message: Uint8Array, decided: Decided): Decided["denied"];
  /** The request as the runtime gets it; called once, after `request`. */
  forwarded(message: Uint8Array): void;
  response(message: Uint8Array): void;
  end(end: CallEnd): void;
}

export function createCallWatch(options: CallWatchOptions): CallWatch {
  const { pods } = options;
  return {
    wants(method) {
      const wanted = pods?.wants(method);
      return {
        hold: namedMethods.has(method) || wanted?.request === true,
        observeResponse: wanted?.response === true,
      };
    },
    open: ({ listener }, method) => new Watched(options, method, listener),
  };
}

class Watched implements WatchedCall {
  readonly #options: CallWatchOptions;
  readonly #afterwards: Afterwards;
  readonly #method: string;
  readonly #listener: string | undefined;
  readonly #startMs: number;
  #subject: Subject = {};
  #learn: ((response: Uint8Array | undefined) => void) | undefined;
  #learned = false;
  #decided: Decided = {};

  constructor(options: CallWatchOptions, method: string, listener: string | undefined) {
    this.#options = options;
    this.#afterwards = options.afterwards ?? atOnce;
    this.#method = method;
    this.#listener = listener;
    this.#startMs = options.nowMs();
  }

  request(message: Uint8Array): void {
    this.#afterwards(() => {
      const { pods, skew } = this.#options;
      this.#subject = subjectOf(this.#method, message, pods);
      skew?.request(this.#method, message);
    });
  }

  decided(message: Uint8Array, decided: Decided): Decided["denied"] {
    const scrub = () => {
      this.#decided = scrubDecided(decided, { method: this.#method, message });
    };
    // The client waits for a denial; all else is told to the record alone.
    if (decided.denied) scrub();
    else this.#afterwards(scrub);
    return this.#decided.denied;
  }

  forwarded(message: Uint8Array): void {
    this.#afterwards(() => {
      this.#learn = this.#options.pods?.follow(this.#method, message);
    });
  }

  response(message: Uint8Array): void {
    this.#afterwards(() => {
      const { pods, skew } = this.#options;
      this.#learned = true;
      if (this.#learn) this.#learn(message);
      else pods?.learn(this.#method, undefined, message);
      skew?.response(this.#method, message);
    });
  }

  end(end: CallEnd): void {
    this.#afterwards(() => {
      // An answer that was too large to be kept, or none was asked for: the removal of an id is learned all the same.
      if (!this.#learned && end.grpcStatus === 0) this.#learn?.(undefined);
      this.#options.record({
        time: new Date(this.#startMs).toISOString(),
        method: this.#method,
        ...(this.#listener !== undefined && { listener: this.#listener }),
        ...this.#subject,
        ...measuresOf(end),
        ...this.#decided,
      });
    });
  }
}
