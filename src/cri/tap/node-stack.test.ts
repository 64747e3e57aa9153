import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { describe, expect, it } from "vitest";
import type { EditDecision, StreamStart } from "./hooks.ts";
import { createRandom } from "./testing/random.ts";
import { message } from "./testing/raw-frames.ts";
import { callOver, connectStacks } from "./testing/stacks.ts";

const kinds = ["pass", "same", "grow", "shrink", "deny", "early", "error"] as const;
type Kind = (typeof kinds)[number];

function decide(kind: Kind, body: Uint8Array): EditDecision {
  if (kind === "deny") return { action: "deny", status: 7, message: "not this one" };
  if (kind === "grow") return { action: "replace", message: Buffer.concat([body, body]) };
  if (kind === "shrink") return { action: "replace", message: body.subarray(body.length >> 1) };
  return { action: "forward" };
}

const kindOf = (path: string) => kinds.find((kind) => path.endsWith(kind)) ?? "pass";

/** Echoes the request; `early` sends its headers first, `error` trailers only. */
function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const kind = kindOf(String(headers[":path"]));
  const parts: Buffer[] = [];
  const head = { ":status": 200, "content-type": "application/grpc", "x-served": String(headers[":path"]) };
  stream.on("error", () => undefined);
  if (stream.destroyed) return; // cancelled already
  if (kind === "error") {
    stream.resume();
    stream.respond({ ...head, "grpc-status": "5", "grpc-message": "not%20here" }, { endStream: true });
    return;
  }
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-more": kind }));
  if (kind === "early") stream.respond(head, { waitForTrailers: true });
  stream.on("data", (chunk: Buffer) => parts.push(chunk));
  stream.on("end", () => {
    if (stream.destroyed) return;
    if (kind !== "early") stream.respond(head, { waitForTrailers: true });
    stream.end(Buffer.concat(parts));
  });
}

function hooks() {
  let open = 0;
  return {
    open: () => open,
    onRequest: ({ path }: StreamStart) => {
      const kind = kindOf(path);
      open++;
      const call = { edit: (body: Uint8Array) => decide(kind, body), onEnd: () => open-- };
      return { hold: !["pass", "error"].includes(kind), call };
    },
  };
}

const CALLS = 80;

describe("Node's HTTP/2 stack at both ends", () => {
  it.each([
    { table: 4096, clientTable: 4096, window: 65_535 },
    { table: 256, clientTable: 256, window: 1_024 },
    { table: 0, clientTable: 0, window: 8_192 },
    { table: 4096, clientTable: 0, window: 65_535 },
  ])("mixed calls come out right: tables $table and $clientTable, window $window", async (size) => {
    const random = createRandom(size.window + size.table);
    const asked = hooks();
    const { wire, session, close } = connectStacks({
      random,
      hooks: asked,
      serverSettings: { headerTableSize: size.table, initialWindowSize: size.window },
      clientSettings: { headerTableSize: size.clientTable, initialWindowSize: size.window },
      onStream: serve,
    });
    const calls = Array.from({ length: CALLS }, async (_, at) => {
      const kind = at === 0 ? "deny" : (kinds[random.below(kinds.length)] ?? "pass");
      const body = random.bytes(random.chance(10) ? random.below(120_000) : random.below(2_000));
      const framed = message(body);
      const split = random.below(framed.length);
      const pieces = random.chance(2) ? [framed] : [framed.subarray(0, split), framed.subarray(split)];
      if (random.chance(4)) await new Promise((resolve) => setTimeout(resolve, random.below(30)));
      const cancelled = random.chance(15);
      const answer = await callOver(session, `/t.T/${at}-${kind}`, pieces, cancelled ? random.below(10) : -1);
      if (cancelled && answer.status !== "0") return;
      const expected = { deny: "7", error: "5" }[kind as string] ?? "0";
      expect([at, kind, answer.status, expected === "0" ? answer.error : undefined]).toEqual([
        at,
        kind,
        expected,
        undefined,
      ]);
      if (expected !== "0") return;
      const decision = decide(kind, body);
      expect(answer.body.equals(message(decision.action === "replace" ? decision.message : body))).toBe(true);
    });
    await Promise.all(calls);
    await new Promise((resolve) => setTimeout(resolve, 30));
    close();
    expect(wire.machine.failure).toBeUndefined();
    expect(wire.problems()).toEqual([]);
    expect([wire.machine.streams, asked.open()]).toEqual([0, 0]);
  });

  it("windows that change under way, on either side", async () => {
    const random = createRandom(77);
    const { wire, session, close } = connectStacks({
      random,
      hooks: hooks(),
      serverSettings: { initialWindowSize: 2_000 },
      clientSettings: { initialWindowSize: 2_000 },
      onStream(stream, headers) {
        if (random.chance(8)) stream.session?.settings({ initialWindowSize: 1_024 + random.below(60_000) });
        serve(stream, headers);
      },
    });
    const calls = Array.from({ length: 60 }, async (_, at) => {
      const body = random.bytes(random.below(20_000));
      if (random.chance(8))
        session.settings({
          initialWindowSize: 1_024 + random.below(60_000),
          headerTableSize: random.below(3) * 256,
        });
      await new Promise((resolve) => setTimeout(resolve, random.below(20)));
      const answer = await callOver(session, `/t.T/${at}-grow`, [message(body)]);
      expect(answer.body.equals(message(Buffer.concat([body, body])))).toBe(true);
    });
    await Promise.all(calls);
    close();
    expect(wire.problems()).toEqual([]);
    expect(wire.machine.streams).toBe(0);
  });
});
