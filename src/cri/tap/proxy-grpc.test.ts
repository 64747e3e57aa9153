// grpc-js at both ends of a proxy on real sockets, with raw bytes for messages.

import { renameSync } from "node:fs";
import { createServer as createHttp2Server } from "node:http2";
import { describe, expect, it } from "vitest";
import { byFirstOctet, useProxies } from "../../../test/tap/proxied.ts";
import { Flag, FrameType, PREFACE } from "./frames.ts";
import type { CallEnd, CallObserver } from "./hooks.ts";
import { createRandom } from "./testing/random.ts";
import { message, rawFrame, settings } from "./testing/raw-frames.ts";
import { dial, listen, until } from "./testing/sockets.ts";

const MIB = 1 << 20;
const { cleanups, clientOf, grpcServer, proxied } = useProxies();

describe("grpc-js through the proxy", () => {
  it("unary calls, statuses, metadata, streams and deadlines come through", async () => {
    const test = await proxied();
    await grpcServer(test.upstreamPath);
    const client = clientOf(test.path);
    expect((await client.call("Echo", Buffer.from("hello"))).body.toString()).toBe("hello");
    const failed = await client.call("Fail", Buffer.alloc(0));
    expect([failed.code, failed.details]).toEqual([9, "nö: 100%"]);
    expect(failed.metadata?.get("why-bin")).toEqual([Buffer.from([0, 255])]);
    expect((await client.call("Nothing", Buffer.alloc(0))).code).toBe(12);
    expect((await client.call("Slow", Buffer.alloc(0), { timeoutMs: 50 })).code).toBe(4);
    expect((await client.call("Slow", Buffer.alloc(0), { cancelAfterMs: 20 })).code).toBe(1);
    const stream = await client.stream("Count", Buffer.alloc(200));
    expect([stream.code, stream.replies, stream.body.length]).toEqual([0, 200, 200_000]);
    await until(() => test.proxy.stats().streams === 0);
    expect(test.proxy.stats()).toEqual({ connections: 1, streams: 0, heldBytes: 0 });
    expect(test.lines).toEqual([]);
  });

  it("every status comes through with its text, its details and its metadata", async () => {
    const ends: CallEnd[] = [];
    const call: CallObserver = { edit: () => ({ action: "forward" }), onEnd: (end) => ends.push(end) };
    const test = await proxied({ hooks: { onRequest: () => ({ hold: true, observeResponse: true, call }) } });
    await grpcServer(test.upstreamPath);
    const client = clientOf(test.path);
    for (let status = 1; status <= 16; status++) {
      const answer = await client.call("Status", Buffer.from([status]));
      expect([answer.code, answer.details]).toEqual([status, `status ${status}: "é" %`]);
      expect(answer.metadata?.get("grpc-status-details-bin")).toEqual([Buffer.from([8, status, 0xff])]);
      expect(answer.metadata?.get("x-retry")).toEqual(["no"]);
      expect(ends.at(-1)).toMatchObject({
        grpcStatus: status,
        grpcMessage: answer.details,
        answeredByTap: false,
      });
    }
  });

  it("messages of 16 MiB are edited and passed", async () => {
    const ends: CallEnd[] = [];
    const test = await proxied({ hooks: byFirstOctet(ends) });
    await grpcServer(test.upstreamPath);
    const client = clientOf(test.path);
    const body = Buffer.alloc(16 * MIB, 1);
    expect((await client.call("Echo", body)).body.length).toBe(32 * MIB);
    body[0] = 0;
    expect((await client.call("Echo", body)).body.equals(body)).toBe(true);
    const tooLarge = await client.call("Echo", Buffer.alloc(16 * MIB + 1));
    expect([tooLarge.code, tooLarge.details]).toEqual([
      8,
      "trivet: the request message is larger than 16777216 bytes",
    ]);
    expect(ends.map((end) => end.grpcStatus)).toEqual([0, 0, 8]);
    expect(test.proxy.stats().heldBytes).toBe(0);
  });

  it("thousands of calls over one connection, edited, denied, cancelled and plain", {
    timeout: 30_000,
  }, async () => {
    const ends: CallEnd[] = [];
    const test = await proxied({ hooks: byFirstOctet(ends) });
    await grpcServer(test.upstreamPath);
    const client = clientOf(test.path);
    const random = createRandom(5);
    const count = 2_000;
    const one = async (at: number) => {
      const body = random.bytes(1 + random.below(random.chance(50) ? 200_000 : 3_000));
      // Denials and cancellations are resets upstream, of which Node's server takes about a thousand in a row.
      body[0] = random.chance(8) ? 2 : random.below(2);
      const cancel = random.chance(12);
      const result = await client.call("Echo", body, cancel ? { cancelAfterMs: random.below(3) } : {});
      if (cancel && result.code === 1) return;
      expect([at, body[0], result.code]).toEqual([at, body[0], body[0] === 2 ? 7 : 0]);
      if (body[0] === 2) expect(result.details).toBe("trivet: no, 100% nö");
      else expect(result.body.equals(body[0] === 1 ? Buffer.concat([body, body]) : body)).toBe(true);
    };
    for (let from = 0; from < count; from += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, at) => one(from + at)));
    }
    await until(() => test.proxy.stats().streams === 0);
    expect(ends.length).toBeGreaterThan(count * 0.9);
    expect(test.proxy.stats()).toEqual({ connections: 1, streams: 0, heldBytes: 0 });
    expect(test.lines).toEqual([]);
  });
});

describe("a runtime that is away", () => {
  it("fails calls at once with UNAVAILABLE, saying where and what to do, and is found again when it is back", async () => {
    const ends: CallEnd[] = [];
    const test = await proxied({ hooks: byFirstOctet(ends) });
    const client = clientOf(test.path);
    const before = performance.now();
    const failed = await client.call("Echo", Buffer.from("x"));
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(failed.code).toBe(14);
    expect(failed.details).toBe(
      `trivet: the runtime's socket ${test.upstreamPath} does not answer (ENOENT): is containerd running?`,
    );
    expect(ends[0]).toMatchObject({ grpcStatus: 14, answeredByTap: true });
    for (let again = 0; again < 3; again++)
      expect((await client.call("Echo", Buffer.from("x"))).code).toBe(14);
    expect(test.lines).toEqual([{ message: "the runtime is not there", fields: { reason: failed.details } }]);
    await grpcServer(test.upstreamPath);
    let result = failed;
    for (let tries = 0; tries < 100 && result.code === 14; tries++) {
      result = await client.call("Echo", Buffer.from("x"));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(result.code).toBe(0);
    await until(() => test.proxy.stats().connections === 1);
  });
});

describe("clients that speak something else", () => {
  it("are closed with one line in the log, and no other connection notices", async () => {
    const test = await proxied();
    await grpcServer(test.upstreamPath);
    const client = clientOf(test.path);
    await client.call("Echo", Buffer.from("x"));
    for (const garbage of [
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      Buffer.concat([
        PREFACE,
        settings(),
        rawFrame(FrameType.headers, Flag.endHeaders, { streamId: 1, payload: Buffer.from([0x80]) }),
      ]),
    ]) {
      const stranger = await dial(test.path);
      let closed = false;
      stranger.on("close", () => {
        closed = true;
      });
      stranger.resume();
      stranger.write(garbage);
      await until(() => closed);
    }
    expect(test.lines.map(({ message: line, fields }) => [line, fields?.kind])).toEqual(
      Array.from({ length: 3 }, () => ["connection closed", "decode"]),
    );
    expect((await client.call("Echo", Buffer.from("y"))).body.toString()).toBe("y");
    await until(() => test.proxy.stats().connections === 1);
  });
});

describe("drain", () => {
  it("lets calls in flight finish, loses none, and then is empty", async () => {
    const test = await proxied({ hooks: byFirstOctet() });
    const server = createHttp2Server();
    server.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      setTimeout(() => stream.end(message(Buffer.from("late"))), 200);
    });
    await listen(server, test.upstreamPath);
    cleanups.push(() => server.close());
    const client = clientOf(test.path);
    const calls = Array.from({ length: 20 }, () => client.call("Late", Buffer.from([0])));
    await until(() => test.proxy.stats().streams === 20);
    const before = performance.now();
    await test.proxy.drain({ timeoutMs: 5_000 });
    expect(performance.now() - before).toBeLessThan(2_000);
    expect((await Promise.all(calls)).map(({ code }) => code)).toEqual(Array.from({ length: 20 }, () => 0));
    expect(test.proxy.stats()).toEqual({ connections: 0, streams: 0, heldBytes: 0 });
  });

  it("hands over to a successor under load without losing a call", async () => {
    let current = await proxied({ hooks: byFirstOctet() });
    await grpcServer(current.upstreamPath);
    const { path, upstreamPath } = current;
    const client = clientOf(path);
    const codes = new Map<number, number>();
    let stop = false;
    const callers = Array.from({ length: 16 }, async (_, at) => {
      while (!stop) {
        const { code } = await client.call("Echo", Buffer.alloc(200, at % 2));
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    });
    for (let reload = 0; reload < 3; reload++) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      const successor = await proxied({ hooks: byFirstOctet(), upstreamPath });
      renameSync(successor.path, path);
      await current.proxy.drain({ timeoutMs: 5_000 });
      expect(current.proxy.stats()).toEqual({ connections: 0, streams: 0, heldBytes: 0 });
      current = successor;
    }
    stop = true;
    await Promise.all(callers);
    expect([...codes.keys()]).toEqual([0]);
    expect(codes.get(0)).toBeGreaterThan(50);
  });

  it("answers what is still open at its bound with UNAVAILABLE", async () => {
    const test = await proxied();
    await grpcServer(test.upstreamPath);
    const client = clientOf(test.path);
    const call = client.call("Slow", Buffer.alloc(0));
    await until(() => test.proxy.stats().streams === 1);
    await test.proxy.drain({ timeoutMs: 50 });
    const { code, details } = await call;
    expect([code, details]).toEqual([14, "trivet: the CRI proxy is stopping: call again"]);
    expect(test.proxy.stats().connections).toBe(0);
  });
});
