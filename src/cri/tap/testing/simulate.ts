/**
 * One connection between simulated peers, with everything left to chance that may be: windows, paddings, resets, cuts, the
 * order of all things, what is decided on each call, and when.
 */
import type { CallPlan, EditDecision, StreamStart, TapHooks } from "../hooks.ts";
import { HeldBudget } from "../limits.ts";
import { type Deferred, defer, settled } from "./deferred.ts";
import { createRandom, type Random } from "./random.ts";
import { SimClient } from "./sim-client.ts";
import { SimServer } from "./sim-server.ts";
import { Wire } from "./wire.ts";

/** What becomes of a call, by the last part of its path; `later-...` takes its time. */
export const callKinds = [
  "pass",
  "same",
  "grow",
  "shrink",
  "deny",
  "closed",
  "later-same",
  "later-grow",
  "later-shrink",
  "later-deny",
  "later-never",
] as const;
export type CallKind = (typeof callKinds)[number];

/** What upstream gets for `body`. */
export function edited(kind: CallKind, body: Uint8Array): Buffer {
  if (kind.endsWith("grow")) return Buffer.concat([body, Buffer.alloc(body.length * 3 + 700, 0x2b)]);
  return Buffer.from(kind.endsWith("shrink") ? body.subarray(body.length >> 1) : body);
}

function decide(kind: CallKind, body: Uint8Array): EditDecision {
  if (kind.endsWith("deny")) return { action: "deny", status: 7, message: "denied" };
  if (kind.endsWith("same")) return { action: "forward" };
  return { action: "replace", message: edited(kind, body) };
}

/** What the hooks saw and still have to decide. */
class Decider implements TapHooks {
  /** How often the end of each call was told, and the answer that was shown. */
  readonly ends = new Map<number, number>();
  readonly answers = new Map<number, Buffer>();
  readonly #waiting: { readonly deferred: Deferred; readonly decision: EditDecision }[] = [];

  onRequest({ path, streamId }: StreamStart): CallPlan {
    const kind = callKinds.find((one) => path === `/t.T/${one}`) ?? "pass";
    const edit = (body: Uint8Array) => {
      if (!kind.startsWith("later")) return decide(kind, body);
      const deferred = defer();
      if (kind !== "later-never") this.#waiting.push({ deferred, decision: decide(kind, body) });
      return deferred.promise;
    };
    const onEnd = () => this.ends.set(streamId, (this.ends.get(streamId) ?? 0) + 1);
    const onResponse = (message: Uint8Array) => this.answers.set(streamId, Buffer.from(message));
    const deny = kind === "closed" ? { status: 7, message: "closed" } : undefined;
    return { hold: kind !== "pass", deny, observeResponse: true, call: { edit, onEnd, onResponse } };
  }

  decideOne(random: Random): boolean {
    const [one] = this.#waiting.splice(random.below(Math.max(1, this.#waiting.length)), 1);
    one?.deferred.resolve(one.decision);
    return one !== undefined;
  }
}

/** Bytes on their way: delivered in pieces of any size. */
class Pipe {
  #bytes: Buffer = Buffer.alloc(0);
  put(bytes: Buffer): void {
    if (bytes.length > 0) this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }
  get(octets: number): Buffer {
    const piece = this.#bytes.subarray(0, octets);
    this.#bytes = this.#bytes.subarray(octets);
    return piece;
  }
  get empty(): boolean {
    return this.#bytes.length === 0;
  }
}

/** How large a simulation is. */
export interface SimulationSize {
  readonly calls: number;
  readonly maxBytes: number;
  readonly maxSteps: number;
}

/** Both peers, the wire between them and what was seen, when all is over or `maxSteps` were made. */
export interface Simulated {
  readonly client: SimClient;
  readonly server: SimServer;
  readonly wire: Wire;
  readonly budget: HeldBudget;
  readonly decider: Decider;
  readonly kinds: readonly CallKind[];
  readonly stalled: boolean;
  /** The most that was held at once. */
  readonly mostHeldBytes: number;
}

/** Equal seeds give equal connections. */
export async function simulate(
  seed: number,
  { calls, maxBytes, maxSteps }: SimulationSize,
): Promise<Simulated> {
  const random = createRandom(seed);
  const client = new SimClient(random);
  const server = new SimServer(random, random.chance(4) ? 0 : random.below(3_000));
  const budget = new HeldBudget(64 << 20);
  const decider = new Decider();
  const wire = new Wire({ hooks: decider, budget });
  const pipes = { up: new Pipe(), toServer: new Pipe(), down: new Pipe(), toClient: new Pipe() };
  wire.onUpstreamBytes = (bytes) => pipes.toServer.put(bytes);
  wire.onClientBytes = (bytes) => pipes.toClient.put(bytes);
  const kinds: CallKind[] = [];
  let steps = 0;
  let mostHeldBytes = 0;
  const hurryAfter = maxSteps / 3;
  const open = () => {
    if (kinds.length === calls || !random.chance(4)) return;
    const kind = callKinds[random.below(callKinds.length)] ?? "pass";
    kinds.push(kind);
    client.call(`/t.T/${kind}`, random.below(maxBytes));
  };
  const done = () =>
    kinds.length === calls && client.atRest && server.atRest && Object.values(pipes).every((p) => p.empty);
  while (!done() && steps++ < maxSteps) {
    const piece = 1 + (random.chance(2) ? random.below(40) : random.below(6_000));
    switch (random.below(8)) {
      case 0:
        open();
        break;
      case 1:
        client.act();
        pipes.up.put(client.take());
        break;
      case 2:
        server.act(steps > hurryAfter || random.chance(8));
        pipes.down.put(server.take());
        break;
      case 3:
        if (!pipes.up.empty) wire.fromClient(pipes.up.get(piece));
        break;
      case 4:
        server.receive(pipes.toServer.get(piece));
        break;
      case 5:
        if (!pipes.down.empty) wire.fromUpstream(pipes.down.get(piece));
        break;
      case 6:
        if (decider.decideOne(random)) await settled();
        break;
      default:
        client.receive(pipes.toClient.get(piece));
    }
    pipes.up.put(client.take());
    mostHeldBytes = Math.max(mostHeldBytes, budget.bytes);
    // What nobody will ever decide is given up by its caller in the end.
    if (steps > hurryAfter && steps % 50 === 0)
      client.cancelOne((id) => kinds[(id - 1) / 2] === "later-never");
  }
  return { client, server, wire, budget, decider, kinds, stalled: steps >= maxSteps, mostHeldBytes };
}
