import { describe, expect, it } from "vitest";
import type { EditDecision, StreamStart, TapHooks } from "./hooks.ts";
import { HeldBudget } from "./limits.ts";
import { createRandom } from "./testing/random.ts";
import { message } from "./testing/raw-frames.ts";
import { SimClient } from "./testing/sim-client.ts";
import { SimServer } from "./testing/sim-server.ts";
import { Wire } from "./testing/wire.ts";

/** Connections simulated per run; raise it by hand for a longer hunt. */
const RUNS = 15;
const CALLS = 40;
const MAX_STEPS = 60_000;

const kinds = ["pass", "same", "grow", "shrink", "deny"] as const;
type Kind = (typeof kinds)[number];

function edited(kind: Kind, body: Uint8Array): Buffer {
  if (kind === "grow") return Buffer.concat([body, Buffer.alloc(body.length * 3 + 700, 0x2b)]);
  return Buffer.from(kind === "shrink" ? body.subarray(body.length >> 1) : body);
}

function decide(kind: Kind, body: Uint8Array): EditDecision {
  if (kind === "deny") return { action: "deny", status: 7, message: "denied" };
  if (kind === "same") return { action: "forward" };
  return { action: "replace", message: edited(kind, body) };
}

const kindOf = (path: string) => kinds.find((kind) => path.endsWith(kind)) ?? "pass";

function countingHooks(): { hooks: TapHooks; ends: Map<number, number> } {
  const ends = new Map<number, number>();
  const onRequest = ({ path, streamId }: StreamStart) => {
    const kind = kindOf(path);
    const call = {
      edit: (body: Uint8Array) => decide(kind, body),
      onEnd: () => ends.set(streamId, (ends.get(streamId) ?? 0) + 1),
    };
    return { hold: kind !== "pass", call };
  };
  return { hooks: { onRequest }, ends };
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

function simulate(seed: number) {
  const random = createRandom(seed);
  const client = new SimClient(random);
  const server = new SimServer(random, random.chance(4) ? 0 : random.below(3_000));
  const budget = new HeldBudget(64 << 20);
  const { hooks, ends } = countingHooks();
  const wire = new Wire({ hooks, budget });
  const pipes = { up: new Pipe(), toServer: new Pipe(), down: new Pipe(), toClient: new Pipe() };
  wire.onUpstreamBytes = (bytes) => pipes.toServer.put(bytes);
  wire.onClientBytes = (bytes) => pipes.toClient.put(bytes);
  const paths: Kind[] = [];
  let steps = 0;
  const hurryAfter = MAX_STEPS / 3;
  const done = () =>
    paths.length === CALLS && client.atRest && server.atRest && Object.values(pipes).every((p) => p.empty);
  while (!done() && steps++ < MAX_STEPS) {
    const piece = 1 + (random.chance(2) ? random.below(40) : random.below(6_000));
    switch (random.below(7)) {
      case 0:
        if (paths.length < CALLS && random.chance(4)) {
          const kind = kinds[random.below(kinds.length)] ?? "pass";
          paths.push(kind);
          client.call(`/t.T/${kind}`, random.below(6_000));
        }
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
      default:
        client.receive(pipes.toClient.get(piece));
    }
    pipes.up.put(client.take());
  }
  return { client, server, wire, budget, ends, paths, stalled: steps >= MAX_STEPS };
}

describe("random peers, windows, paddings, resets and interleavings", () => {
  it("never stall, never break a window, and every message arrives as it was decided", () => {
    const seen = { answered: 0, denied: 0, early: 0, cancelled: 0 };
    for (let seed = 0; seed < RUNS; seed++) {
      const { client, server, wire, budget, ends, paths, stalled } = simulate(seed);
      const at = `seed ${seed}`;
      expect([at, wire.machine.failure?.message]).toEqual([at, undefined]);
      expect([at, stalled]).toEqual([at, false]);
      wire.clientHop.atRest();
      wire.upstreamHop.atRest();
      expect([at, ...wire.problems(), ...client.problems]).toEqual([at]);
      expect([at, wire.machine.streams, budget.bytes]).toEqual([at, 0, 0]);
      // No credit is lost: what the client may send is at least what upstream would take.
      expect(client.window).toBeGreaterThanOrEqual(server.window);
      for (const call of client.calls) {
        const kind = paths[(call.id - 1) / 2] ?? "pass";
        expect([at, call.id, ends.get(call.id)]).toEqual([at, call.id, 1]);
        if (kind === "deny") expect(server.body(call.id).length).toBe(0);
        if (call.outcome === 0) {
          expect(kind).not.toBe("deny");
          expect(server.body(call.id)).toEqual(message(edited(kind, call.body)));
          seen.answered++;
        } else if (call.outcome === 7) seen.denied++;
        else if (call.outcome === "cancelled") seen.cancelled++;
        else seen.early++;
      }
    }
    // The mix is what it should be: each of these happened often.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(RUNS);
  });
});
