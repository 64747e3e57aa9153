/** A state machine between two ends that a test plays, with a checker on each hop. */
import type { CallEnd, CallObserver, EditDecision, StreamStart, TapHooks } from "../hooks.ts";
import { defaultLimits, HeldBudget, type TapLimits } from "../limits.ts";
import { TapMachine } from "../tap-machine.ts";
import { HopChecker } from "./hop-checker.ts";
import { FrameCutter, type RawFrame } from "./raw-frames.ts";

/** What is not given is harmless: no hooks, ample limits. */
export interface WireOptions {
  readonly hooks?: TapHooks;
  readonly limits?: Partial<TapLimits>;
  readonly budget?: HeldBudget;
}

/** Speak with `fromClient` and `fromUpstream`, listen with `clientFrames` and `upstreamFrames`. */
export class Wire {
  readonly machine: TapMachine;
  readonly hookErrors: unknown[] = [];
  /** The tap's hop towards the client, and the one towards upstream. */
  readonly clientHop = new HopChecker("server");
  readonly upstreamHop = new HopChecker("client");
  /** Called with what comes out; by default it is kept for `takeFrames`. */
  onClientBytes: (bytes: Buffer) => void = (bytes) => this.#clientFrames.push(...this.#toClient.push(bytes));
  onUpstreamBytes: (bytes: Buffer) => void = (bytes) =>
    this.#upstreamFrames.push(...this.#toUpstream.push(bytes));
  readonly #toClient = new FrameCutter();
  readonly #toUpstream = new FrameCutter();
  #clientFrames: RawFrame[] = [];
  #upstreamFrames: RawFrame[] = [];
  #nowMs = 0;

  constructor(options: WireOptions = {}) {
    const limits = { ...defaultLimits, ...options.limits };
    this.machine = new TapMachine({
      connectionId: 1,
      hooks: options.hooks ?? passHooks,
      limits,
      budget: options.budget ?? new HeldBudget(limits.maxHeldBytes),
      nowMs: () => this.#nowMs++,
      onHookError: (error) => this.hookErrors.push(error),
      onDecided: () => this.flush(),
    });
  }

  fromClient(...pieces: Uint8Array[]): this {
    const bytes = Buffer.concat(pieces);
    this.clientHop.received(bytes);
    this.machine.clientBytes(bytes);
    return this.flush();
  }

  fromUpstream(...pieces: Uint8Array[]): this {
    const bytes = Buffer.concat(pieces);
    this.upstreamHop.received(bytes);
    this.machine.upstreamBytes(bytes);
    return this.flush();
  }

  /** Lets out what the machine has to say. */
  flush(): this {
    for (const bytes of this.machine.takeForUpstream()) {
      this.upstreamHop.sent(bytes);
      this.onUpstreamBytes(bytes);
    }
    for (const bytes of this.machine.takeForClient()) {
      this.clientHop.sent(bytes);
      this.onClientBytes(bytes);
    }
    return this;
  }

  /** Frames for the client since the last call. */
  clientFrames(): RawFrame[] {
    return this.#clientFrames.splice(0);
  }

  /** Frames for upstream; the client's preface is no frame. */
  upstreamFrames(): RawFrame[] {
    return this.#upstreamFrames.splice(0);
  }

  /** What the checkers found. A drain's PING goes to the client only; PINGs to upstream are the client's. */
  problems(): string[] {
    const struck =
      this.upstreamHop.pingsSent > this.clientHop.pingsReceived ? ["a PING of our own upstream"] : [];
    return [...this.clientHop.problems, ...this.upstreamHop.problems, ...struck];
  }
}

const passHooks: TapHooks = { onRequest: () => ({ hold: false, call: undefined }) };

/** Hooks that hold every call, decide by `edit`, and keep every end. */
export function holding(
  edit: (message: Uint8Array, start: StreamStart) => EditDecision | Promise<EditDecision>,
) {
  const ends = new Map<number, CallEnd>();
  const hooks: TapHooks = {
    onRequest(start) {
      const call: CallObserver = {
        edit: (message) => edit(message, start),
        onEnd: (end) => {
          if (ends.has(start.streamId)) throw new Error(`a second end of stream ${start.streamId}`);
          ends.set(start.streamId, end);
        },
      };
      return { hold: true, call };
    },
  };
  return { hooks, ends };
}
