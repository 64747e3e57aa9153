import { createHash } from "node:crypto";
import type { ServerHttp2Stream } from "node:http2";
import { describe, expect, it } from "vitest";
import type { CallPlan, EditDecision, StreamStart } from "./hooks.ts";
import { defaultLimits, HeldBudget } from "./limits.ts";
import { createRandom, type Random } from "./testing/random.ts";
import { message } from "./testing/raw-frames.ts";
import { callOver, connectStacks } from "./testing/stacks.ts";

const MIB = 1 << 20;
const BURSTS = 3;
const CALLS = 400;
const REPLIES = 40;

const kinds = ["pass", "same", "grow", "shrink", "deny", "closed", "stream"] as const;
type Kind = (typeof kinds)[number];
const kindOf = (path: string) => kinds.find((kind) => path.includes(`-${kind}`)) ?? "pass";
const digest = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();

function editedBody(kind: Kind, body: Uint8Array): Uint8Array {
  if (kind === "grow") return Buffer.concat([body, body.subarray(0, body.length >> 2), Buffer.alloc(99)]);
  return kind === "shrink" ? body.subarray(body.length >> 1) : body;
}

function decide(kind: Kind, body: Uint8Array): EditDecision {
  if (kind === "deny") return { action: "deny", status: 7, message: "no" };
  if (kind === "same") return { action: "forward" };
  return { action: "replace", message: editedBody(kind, body) };
}

/** Answers with the digest of the request; a `stream` with many messages. */
function serve(stream: ServerHttp2Stream, path: string): void {
  const hash = createHash("sha1");
  stream.on("error", () => undefined);
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.on("data", (chunk: Buffer) => hash.update(chunk));
  stream.on("end", () => {
    if (stream.destroyed) return;
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    if (kindOf(path) !== "stream") stream.end(message(hash.digest()));
    for (let reply = 1; kindOf(path) === "stream" && reply <= REPLIES; reply++) {
      const part = message(Buffer.alloc(2_000, reply));
      if (reply === REPLIES) stream.end(part);
      else stream.write(part);
    }
  });
}

/** From nothing to 16 MiB, most of them as small as calls are. */
function sizeOf(random: Random, at: number): number {
  if (at % CALLS === 7) return 16 * MIB - random.below(5);
  if (at % CALLS === 8) return 12 * MIB + random.below(MIB);
  if (random.chance(5)) return 0;
  return random.below(random.chance(20) ? 300_000 : 3_000);
}

describe("bursts of calls on one connection", () => {
  it("of 0 B to 16 MiB, growing, shrinking, denied, cancelled, streamed and decided late, leave nothing behind", {
    timeout: 60_000,
  }, async () => {
    const random = createRandom(16);
    const budget = new HeldBudget(defaultLimits.maxHeldBytes);
    let mostHeld = 0;
    let open = 0;
    const hooks = {
      onRequest({ path }: StreamStart): CallPlan {
        const kind = kindOf(path);
        open++;
        const later = path.endsWith("-later");
        const edit = (body: Uint8Array) => {
          mostHeld = Math.max(mostHeld, budget.bytes);
          if (!later) return decide(kind, body);
          return new Promise<EditDecision>((resolve) =>
            setTimeout(() => resolve(decide(kind, body)), body.length % 7),
          );
        };
        const deny = kind === "closed" ? { status: 7, message: "closed" } : undefined;
        const hold = kind !== "pass" && kind !== "stream";
        return { hold, deny, observeResponse: kind === "pass", call: { edit, onEnd: () => open-- } };
      },
    };
    const { wire, session, close } = connectStacks({
      random,
      hooks,
      budget,
      onStream: (stream, headers) => serve(stream, String(headers[":path"])),
    });
    const bodies = random.bytes(17 * MIB);
    const one = async (at: number) => {
      const kind = kinds[random.below(kinds.length)] ?? "pass";
      const body = bodies.subarray(0, sizeOf(random, at));
      const cancelMs = random.chance(9) ? random.below(20) : -1;
      const path = `/t.T/${at}-${kind}${random.chance(3) ? "-later" : ""}`;
      const { status, body: answer, error } = await callOver(session, path, [message(body)], cancelMs);
      if (cancelMs >= 0 && status === undefined) return "cancelled";
      expect([path, status]).toEqual([path, kind === "deny" || kind === "closed" ? "7" : "0"]);
      if (status === "7") return "denied";
      expect([path, error]).toEqual([path, undefined]);
      if (kind === "stream") expect(answer.length).toBe(REPLIES * 2_005);
      else expect(answer.subarray(5)).toEqual(digest(message(editedBody(kind, body))));
      return kind;
    };
    const ways = new Map<string, number>();
    for (let burst = 0; burst < BURSTS; burst++) {
      const from = burst * CALLS;
      for (const way of await Promise.all(Array.from({ length: CALLS }, (_, at) => one(from + at))))
        ways.set(way, (ways.get(way) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect([wire.machine.failure, wire.machine.streams, budget.bytes, open]).toEqual([undefined, 0, 0, 0]);
      // What was added to messages and left out of them did not add up: the client may send what upstream takes.
      const ahead = wire.clientHop.windows.fromPeer - wire.upstreamHop.windows.toPeer;
      expect([ahead >= 0, ahead < 65_536]).toEqual([true, true]);
    }
    close();
    expect(wire.problems()).toEqual([]);
    expect(Math.min(...ways.values())).toBeGreaterThan(CALLS / 20);
    expect([...ways.keys()].toSorted()).toEqual([
      "cancelled",
      "denied",
      "grow",
      "pass",
      "same",
      "shrink",
      "stream",
    ]);
    expect(mostHeld).toBeGreaterThan(8 * MIB);
    expect(mostHeld).toBeLessThanOrEqual(defaultLimits.maxHeldBytes);
  });
});
