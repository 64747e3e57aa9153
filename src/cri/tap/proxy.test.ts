import { createServer as createHttp2Server } from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE, Setting } from "./frames.ts";
import type { CallEnd, EditDecision, StreamStart, TapHooks } from "./hooks.ts";
import { grpcClient, serveGrpc } from "./testing/grpc.ts";
import { createRandom } from "./testing/random.ts";
import {
  data,
  FrameCutter,
  headers,
  message,
  rawFrame,
  request,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { dial, listen, rawServer, startProxy, type TestProxy, until } from "./testing/sockets.ts";

const MIB = 1 << 20;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function proxied(options: Parameters<typeof startProxy>[0] = {}): Promise<TestProxy> {
  const test = await startProxy(options);
  cleanups.push(() => test.close());
  return test;
}

async function grpcServer(path: string) {
  const server = await serveGrpc(path);
  cleanups.push(() => server.forceShutdown());
  return server;
}

function clientOf(path: string) {
  const client = grpcClient(path);
  cleanups.push(() => client.close());
  return client;
}

async function raw(path: string, onSocket: Parameters<typeof rawServer>[1]) {
  const server = await rawServer(path, onSocket);
  cleanups.push(() => server.close());
  return server;
}

/** Holds every call and decides by the first octet of its message. */
function byFirstOctet(ends: CallEnd[] = []): TapHooks {
  const edit = (body: Uint8Array): EditDecision => {
    if (body[0] === 1) return { action: "replace", message: Buffer.concat([body, body]) };
    if (body[0] === 2) return { action: "deny", status: 7, message: "trivet: no, 100% nö" };
    return { action: "forward" };
  };
  return { onRequest: () => ({ hold: true, call: { edit, onEnd: (end) => ends.push(end) } }) };
}

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

describe("what Node's stack would not let through", () => {
  it("a deadline of a thousand years, and an authority with slashes, arrive as they were sent", async () => {
    const test = await proxied();
    let received = Buffer.alloc(0);
    await raw(test.upstreamPath, (socket) =>
      socket.on("data", (bytes) => {
        received = Buffer.concat([received, bytes]);
      }),
    );
    const client = await dial(test.path);
    cleanups.push(() => client.destroy());
    const sent = Buffer.concat([
      PREFACE,
      settings(),
      headers(
        1,
        [
          [":path", "/t.T/Echo"],
          [":authority", "/run/containerd/containerd.sock"],
          ["grpc-timeout", "8760000H"],
        ],
        true,
      ),
    ]);
    client.write(sent);
    await until(() => received.length === sent.length);
    expect(received).toEqual(sent);
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
    await grpcServer(test.upstreamPath);
    let result = failed;
    for (let tries = 0; tries < 100 && result.code === 14; tries++) {
      result = await client.call("Echo", Buffer.from("x"));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(result.code).toBe(0);
    await until(() => test.proxy.stats().connections === 1);
  });

  it("that dies gives its calls in flight UNAVAILABLE, and what it sent before it died is delivered", async () => {
    const test = await proxied();
    await raw(test.upstreamPath, (socket) => {
      const cutter = new FrameCutter();
      socket.write(settings());
      socket.once("data", (first: Buffer) => {
        cutter.push(first.subarray(PREFACE.length));
        socket.write(settingsAck);
        setTimeout(() => {
          socket.write(responseHead(3));
          socket.write(data(3, message(Buffer.alloc(10_000))));
          socket.write(trailers(3, 0));
          socket.write(responseHead(1));
          socket.write(data(1, Buffer.alloc(5_000)));
          setTimeout(() => socket.destroy(), 20);
        }, 50);
      });
    });
    const client = await dial(test.path);
    const cutter = new FrameCutter();
    const frames: { type: number; streamId: number; flags: number; payload: Buffer }[] = [];
    let ended = false;
    client.on("data", (bytes) => frames.push(...cutter.push(bytes)));
    client.on("end", () => {
      ended = true;
    });
    client.write(
      Buffer.concat([PREFACE, settings(), request(1, "/t.T/A"), request(3, "/t.T/B"), request(5, "/t.T/C")]),
    );
    await until(() => ended);
    const of = (id: number) => frames.filter(({ streamId }) => streamId === id);
    expect(of(3).map(({ type }) => type)).toEqual([FrameType.headers, FrameType.data, FrameType.headers]);
    expect(of(1).map(({ type }) => type)).toEqual([FrameType.headers, FrameType.data, FrameType.headers]);
    expect(of(1)[2]?.payload.toString("latin1")).toContain("closed the connection");
    expect(of(5)[0]?.payload.toString("latin1")).toContain("is containerd running?");
    expect(frames.at(-1)?.type).toBe(FrameType.goaway);
    await until(() => test.proxy.stats().connections === 0);
  });

  it("that dies while requests are written to it: the failed write loses none of its answers", async () => {
    const test = await proxied();
    const answers = 400;
    await raw(test.upstreamPath, (socket) => {
      socket.write(settings());
      socket.once("data", () => {
        socket.pause(); // reads no more: what the proxy writes from here on breaks
        socket.write(settingsAck);
        for (let at = 0; at < answers; at++) socket.write(data(1, Buffer.alloc(1_000, at)));
        socket.write("", () => setTimeout(() => socket.destroy(), 30));
      });
    });
    const client = await dial(test.path);
    let got = 0;
    let closed = false;
    const cutter = new FrameCutter();
    client.write(Buffer.concat([PREFACE, settings(), request(1, "/t.T/A")]));
    client.pause();
    const noise = setInterval(() => client.write(request(3 + 2 * noiseId++, "/t.T/More")), 1);
    let noiseId = 0;
    setTimeout(() => {
      client.on("data", (bytes) => {
        got += cutter
          .push(bytes)
          .filter(({ type, streamId }) => type === FrameType.data && streamId === 1).length;
      });
      client.resume();
    }, 120);
    client.on("close", () => {
      closed = true;
    });
    await until(() => got === answers);
    clearInterval(noise);
    client.end();
    await until(() => closed);
  });
});

describe("slow readers", () => {
  it("stop the other side from sending, so that the proxy keeps a bounded amount", async () => {
    const test = await proxied();
    let upstreamSent = 0;
    await raw(test.upstreamPath, (socket) => {
      socket.write(settings());
      socket.once("data", () => {
        socket.write(settingsAck);
        const frame = data(1, Buffer.alloc(16_000));
        const more = () => {
          while (upstreamSent < 64 * MIB && socket.write(frame)) upstreamSent += frame.length;
        };
        socket.on("drain", more);
        more();
      });
    });
    const client = await dial(test.path);
    cleanups.push(() => client.destroy());
    client.write(
      Buffer.concat([
        PREFACE,
        settings({ [Setting.initialWindowSize]: 2 ** 30 }),
        windowUpdate(0, 2 ** 30),
        request(1, "/t.T/A"),
      ]),
    );
    client.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(upstreamSent).toBeGreaterThan(0);
    expect(upstreamSent).toBeLessThan(4 * MIB);
    let read = 0;
    client.on("data", (bytes) => {
      read += bytes.length;
    });
    client.resume();
    await until(() => read > 60 * MIB);
  });

  it("on the runtime's side stop the client", async () => {
    const test = await proxied();
    await raw(test.upstreamPath, (socket) => {
      socket.write(
        Buffer.concat([settings({ [Setting.initialWindowSize]: 2 ** 30 }), windowUpdate(0, 2 ** 30)]),
      );
      socket.once("data", () => {
        socket.write(settingsAck);
        socket.pause();
      });
    });
    const client = await dial(test.path);
    cleanups.push(() => client.destroy());
    client.write(Buffer.concat([PREFACE, settings(), request(1, "/t.T/A")]));
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.write(settingsAck);
    let sent = 0;
    const more = () => {
      while (sent < 64 * MIB && client.write(data(1, Buffer.alloc(16_000)))) sent += 16_009;
    };
    client.on("drain", more);
    more();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(sent).toBeLessThan(4 * MIB);
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

describe("hooks", () => {
  it("get the path, the connection's number and monotonic times in order", async () => {
    const starts: StreamStart[] = [];
    const ends: CallEnd[] = [];
    const inner = byFirstOctet(ends);
    const test = await proxied({
      hooks: {
        onRequest(start) {
          starts.push(start);
          return inner.onRequest(start);
        },
      },
    });
    await grpcServer(test.upstreamPath);
    await clientOf(test.path).call("Echo", Buffer.from([1, 2]));
    expect(starts).toEqual([{ streamId: 1, path: "/t.T/Echo", connectionId: 1 }]);
    await until(() => ends.length === 1);
    expect(ends[0]).toMatchObject({ grpcStatus: 0, reset: undefined, requestBytes: 7, responseBytes: 9 });
    const { startMs, requestDoneMs, responseStartMs, endMs, heldMs } =
      ends[0]?.timing ?? ({} as CallEnd["timing"]);
    expect([startMs, requestDoneMs, responseStartMs, endMs].toSorted((a, b) => a - b)).toEqual([
      startMs,
      requestDoneMs,
      responseStartMs,
      endMs,
    ]);
    expect(heldMs).toBeGreaterThanOrEqual(0);
  });
});
