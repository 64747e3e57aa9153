/**
 * A whole tapped connection, fed with conversations that are damaged, cut and held, denied or decided late: it never throws,
 * ends by an error of its own at most, tells the end of each call once, keeps no byte, and lets nothing undecided go upstream.
 */

import { Flag, FrameType, PREFACE } from "../../src/cri/tap/frames.ts";
import type { CallPlan, EditDecision, TapHooks } from "../../src/cri/tap/hooks.ts";
import { defaultLimits, HeldBudget } from "../../src/cri/tap/limits.ts";
import { MESSAGE_PREFIX_BYTES } from "../../src/cri/tap/message.ts";
import { TapMachine } from "../../src/cri/tap/tap-machine.ts";
import { conversation } from "../../src/cri/tap/testing/conversation.ts";
import type { Random } from "../../src/cri/tap/testing/random.ts";
import { FrameCutter } from "../../src/cri/tap/testing/raw-frames.ts";
import { check, type FuzzTarget, mutate, pieces, type Verdict } from "./target.ts";

const STEPS = 40;

/** Hooks that plan at random, and what they are owed. */
class Planner implements TapHooks {
  /** How many request octets of a stream may reach upstream, where it is denied or held: what was decided, no more. */
  readonly allowed = new Map<number, number>();
  open = 0;
  errors = 0;
  readonly #random: Random;
  readonly #late: (() => void)[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  onRequest({ streamId }: { readonly streamId: number }): CallPlan {
    const random = this.#random;
    if (random.chance(40)) {
      this.allowed.set(streamId, 0);
      throw new Error("a bug in onRequest");
    }
    this.open++;
    let over = false;
    const onEnd = () => {
      check(!over, `a second end of stream ${streamId}`);
      over = true;
      this.open--;
      if (random.chance(40)) throw new Error("a bug in onEnd");
    };
    const edit = (message: Uint8Array) => this.#edit(streamId, message);
    const onResponse = (message: Uint8Array) =>
      check(!over && message.length >= 0, "a response after the end");
    const deny = random.chance(6) ? { status: 7, message: "nö" } : undefined;
    const hold = random.chance(2);
    if (deny !== undefined || hold) this.allowed.set(streamId, 0);
    return { hold, deny, observeResponse: random.chance(2), call: { edit, onResponse, onEnd } };
  }

  #edit(streamId: number, message: Uint8Array): EditDecision | Promise<EditDecision> {
    const random = this.#random;
    if (random.chance(20)) throw new Error("a bug in edit");
    if (random.chance(2)) return this.#decide(streamId, message);
    return new Promise((resolve, reject) => {
      this.#late.push(() => {
        if (random.chance(10)) reject(new Error("a late bug in edit"));
        else resolve(this.#decide(streamId, message));
      });
    });
  }

  #decide(streamId: number, message: Uint8Array): EditDecision {
    const random = this.#random;
    if (random.chance(4)) return { action: "deny", status: 1 + random.below(16), message: "no" };
    const more = random.chance(2) ? random.below(500) : -1;
    this.allowed.set(streamId, MESSAGE_PREFIX_BYTES + message.length + Math.max(more, 0));
    if (more < 0) return { action: "forward" };
    return { action: "replace", message: Buffer.concat([message, random.bytes(more)]) };
  }

  /** Makes one of the decisions that are waited for; false where there is none. */
  decideLate(): boolean {
    const at = this.#random.below(Math.max(1, this.#late.length));
    const [decide] = this.#late.splice(at, 1);
    decide?.();
    return decide !== undefined;
  }
}

/** Checks what goes to one side: whole frames, and no frame within a header block. */
class Watched {
  readonly #cutter = new FrameCutter();
  readonly #onData: (streamId: number, octets: number) => void;
  #skip: number;
  #inBlock = 0;

  constructor(prefaceBytes: number, onData: (streamId: number, octets: number) => void) {
    this.#skip = prefaceBytes;
    this.#onData = onData;
  }

  take(pieces: readonly Buffer[]): void {
    for (const bytes of pieces) {
      const from = Math.min(this.#skip, bytes.length);
      this.#skip -= from;
      for (const { type, flags, streamId, payload } of this.#cutter.push(bytes.subarray(from))) {
        const isBlock = type === FrameType.headers || type === FrameType.pushPromise;
        if (this.#inBlock > 0)
          check(
            type === FrameType.continuation && streamId === this.#inBlock,
            "a frame within a header block",
          );
        if (isBlock || type === FrameType.continuation) this.#inBlock = (flags & 4) === 0 ? streamId : 0;
        if (type !== FrameType.data) continue;
        const padding = (flags & Flag.padded) === 0 ? 0 : 1 + (payload[0] ?? 0);
        this.#onData(streamId, payload.length - padding);
      }
    }
  }
}

async function attempt(random: Random): Promise<Verdict> {
  const planner = new Planner(random);
  const budget = new HeldBudget(random.chance(5) ? 2_000 : defaultLimits.maxHeldBytes);
  const limits = {
    ...defaultLimits,
    maxPending: 3,
    maxDiscarding: 3,
    maxMessageBytes: 4_000,
    maxHeaderBlockBytes: 9_000,
  };
  const machine = new TapMachine({
    connectionId: 1,
    hooks: planner,
    limits,
    budget,
    nowMs: () => 0,
    onHookError: (error) => {
      if (!/^a (late )?bug in/.test(String((error as Error).message))) throw error;
    },
    onDecided: () => undefined,
  });
  const toClient = new Watched(0, () => undefined);
  const sent = new Map<number, number>();
  const toUpstream = new Watched(PREFACE.length, (id, octets) => {
    const all = (sent.get(id) ?? 0) + octets;
    sent.set(id, all);
    check(all <= (planner.allowed.get(id) ?? all), `bytes of stream ${id} went upstream undecided`);
  });
  const take = () => {
    toUpstream.take(machine.takeForUpstream());
    toClient.take(machine.takeForClient());
  };
  for (const { from, bytes } of conversation(random, STEPS)) {
    const sent = random.chance(30) ? mutate(random, bytes) : bytes;
    for (const piece of pieces(random, sent)) {
      if (from === "client") machine.clientBytes(piece);
      else machine.upstreamBytes(piece);
      take();
    }
    if (random.chance(3) && planner.decideLate()) {
      for (let turn = 0; turn < 4; turn++) await null;
      take();
    }
    if (random.chance(150)) machine.drain();
    if (random.chance(150)) machine.upstreamGone({ status: 14, message: "away" });
    take();
    if (machine.phase === "over") break;
  }
  const { failure } = machine;
  if (failure !== undefined) check(["decode", "exhausted"].includes(failure.kind), failure.stack ?? "");
  machine.clientGone();
  take();
  check(machine.phase === "over" && machine.streams === 0, `${machine.streams} streams left`);
  while (planner.decideLate());
  for (let turn = 0; turn < 4; turn++) await null;
  take();
  check(budget.bytes === 0, `${budget.bytes} bytes still held`);
  check(planner.open === 0, `${planner.open} calls were never told to be over`);
  return failure === undefined ? "accepted" : "refused";
}

export const machineTarget: FuzzTarget = { name: "machine", share: 1, attempt };
