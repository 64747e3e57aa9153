// What comes and goes leaves nothing behind: connections, descriptors, timers, held bytes.

import { readdirSync } from "node:fs";
import type { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it, vi } from "vitest";
import { useProxies } from "../../../test/tap/proxied.ts";
import { FrameType, PREFACE, Setting } from "./frames.ts";
import type { CallEnd, TapHooks } from "./hooks.ts";
import {
  data,
  FrameCutter,
  message,
  type RawFrame,
  request,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { dial, rawServer, type TestProxy, until } from "./testing/sockets.ts";

const MIB = 1 << 20;
const { cleanups, proxied } = useProxies();
afterEach(() => {
  vi.useRealTimers(); // before what was opened is closed: hooks run from the last to the first
});

/** Answers every call with status 0, and streams of `/t.T/Silent` never. */
function serveRaw(socket: Socket): void {
  const cutter = new FrameCutter();
  let skip = PREFACE.length;
  socket.write(Buffer.concat([settings(), windowUpdate(0, 2 ** 30)]));
  socket.on("data", (chunk: Buffer) => {
    const from = Math.min(skip, chunk.length);
    skip -= from;
    for (const { type, flags, streamId, payload } of cutter.push(chunk.subarray(from))) {
      if (type === FrameType.settings && (flags & 1) === 0) socket.write(settingsAck);
      const asked = type === FrameType.headers && !payload.toString("latin1").includes("/t.T/Silent");
      if (asked) socket.write(Buffer.concat([responseHead(streamId), trailers(streamId, 0)]));
    }
  });
}

async function runtime(path: string, onSocket = serveRaw) {
  const server = await rawServer(path, onSocket);
  cleanups.push(() => server.close());
  return server;
}

const descriptors = () => readdirSync("/proc/self/fd").length;
const calmed = async (test: TestProxy, before: number) => {
  await until(() => test.proxy.stats().connections === 0);
  expect(test.proxy.stats()).toEqual({ connections: 0, streams: 0, heldBytes: 0 });
  // A few belong to whatever else runs in this process.
  await until(() => descriptors() <= before + 3);
};

const hello = Buffer.concat([PREFACE, settings()]);
const call = (id: number, path = "/t.T/Echo") => [
  request(id, path),
  data(id, message(Buffer.from("abc")), { endStream: true }),
];

/** Holds everything, and decides never. */
function undecided(ends: CallEnd[]): TapHooks {
  const edit = () => new Promise<never>(() => undefined);
  return {
    onRequest: () => ({ hold: true, observeResponse: true, call: { edit, onEnd: (end) => ends.push(end) } }),
  };
}

describe("connections that come and go", () => {
  it.each([
    ["say nothing", (socket: Socket) => socket.end()],
    ["make a call and close", (socket: Socket) => socket.end(Buffer.concat([hello, ...call(1)]))],
    [
      "die in the middle of a call",
      (socket: Socket) =>
        socket.write(Buffer.concat([hello, ...call(1, "/t.T/Silent")]), () => socket.destroy()),
    ],
    [
      "die in the middle of a frame",
      (socket: Socket) =>
        socket.write(Buffer.concat([hello, ...call(1)]).subarray(0, 60), () => socket.destroy()),
    ],
    ["speak something else", (socket: Socket) => socket.end("GET / HTTP/1.1\r\n\r\n")],
  ])("by the hundred, that %s", async (_, act) => {
    const test = await proxied();
    await runtime(test.upstreamPath);
    const before = descriptors();
    for (let round = 0; round < 5; round++) {
      const sockets = await Promise.all(Array.from({ length: 40 }, () => dial(test.path)));
      for (const socket of sockets) {
        socket.resume();
        act(socket);
      }
    }
    await calmed(test, before);
  });

  it("with calls whose decision is pending: kubelets that restart leave no held byte and no call without an end", async () => {
    const ends: CallEnd[] = [];
    const test = await proxied({ hooks: undecided(ends) });
    await runtime(test.upstreamPath);
    const before = descriptors();
    const half = message(Buffer.alloc(2_000)).subarray(0, 900);
    for (let restart = 0; restart < 10; restart++) {
      const socket = await dial(test.path);
      socket.resume();
      socket.write(
        Buffer.concat([
          hello,
          ...[1, 3, 5].flatMap((id) => call(id, "/t.T/Silent")),
          request(7, "/t.T/Silent"),
          data(7, half),
        ]),
      );
      await until(() => test.proxy.stats().streams === 4);
      expect(test.proxy.stats().heldBytes).toBe(3 * 8 + 900);
      socket.destroy();
      await until(() => test.proxy.stats().connections === 0);
    }
    expect(ends.map(({ reset }) => reset)).toEqual(Array.from({ length: 40 }, () => "connection"));
    await calmed(test, before);
  });

  it("of a runtime that restarts again and again, whose clients dial anew", async () => {
    const test = await proxied();
    const before = descriptors();
    let answered = 0;
    for (let restart = 0; restart < 15; restart++) {
      const server = await rawServer(test.upstreamPath, serveRaw);
      const sockets = await Promise.all(Array.from({ length: 5 }, () => dial(test.path)));
      let closed = 0;
      for (const socket of sockets) {
        const cutter = new FrameCutter();
        socket.on("data", (chunk) => {
          answered += cutter
            .push(chunk)
            .filter(({ type, flags }) => type === FrameType.headers && (flags & 1) === 1).length;
        });
        socket.on("close", () => closed++);
        socket.write(Buffer.concat([hello, ...call(1), ...call(3, "/t.T/Silent")]));
      }
      await until(() => answered === restart * 10 + 5);
      server.close();
      await until(() => closed === 5); // both answered: the second one by the proxy
      expect(answered).toBe(restart * 10 + 10);
    }
    await calmed(test, before);
  });
});

describe("half-open sockets", () => {
  it("a client that has ended but never closes is let go", async () => {
    const test = await proxied();
    await runtime(test.upstreamPath);
    const before = descriptors();
    const socket = await dial(test.path);
    socket.allowHalfOpen = true;
    cleanups.push(() => socket.destroy());
    socket.pause();
    socket.write(Buffer.concat([hello, ...call(1, "/t.T/Silent")]));
    await until(() => test.proxy.stats().streams === 1);
    socket.end();
    await until(() => test.proxy.stats().connections === 0);
    socket.destroy();
    await calmed(test, before);
  });

  it("a runtime that has ended but never closes is away", async () => {
    const ends: CallEnd[] = [];
    const hooks: TapHooks = { onRequest: () => ({ hold: false, call: { onEnd: (end) => ends.push(end) } }) };
    const test = await proxied({ hooks });
    const open: Socket[] = [];
    const server = await rawServer(test.upstreamPath, (socket) => {
      socket.allowHalfOpen = true;
      open.push(socket);
      serveRaw(socket);
    });
    cleanups.push(() => server.close());
    const socket = await dial(test.path);
    socket.resume();
    socket.write(Buffer.concat([hello, ...call(1, "/t.T/Silent")]));
    await until(() => test.proxy.stats().streams === 1);
    open[0]?.end();
    await until(() => test.proxy.stats().connections === 0);
    expect(ends).toMatchObject([{ grpcStatus: 14, answeredByTap: true }]);
  });

  it("a client that closes while the runtime hangs and takes nothing is let go", async () => {
    const test = await proxied({ stallProbeMs: 50 });
    await runtime(test.upstreamPath, (socket) => {
      socket.write(
        Buffer.concat([settings({ [Setting.initialWindowSize]: 2 ** 30 }), windowUpdate(0, 2 ** 30)]),
      );
      socket.once("data", () => {
        socket.write(settingsAck);
        socket.pause();
      });
    });
    const socket = await dial(test.path);
    socket.resume();
    socket.write(Buffer.concat([hello, request(1, "/t.T/A")]));
    await until(() => test.proxy.stats().streams === 1 && socket.bytesRead > 0);
    socket.write(settingsAck);
    // More than the sockets between them take; then its kubelet is gone.
    for (let sent = 0; sent < 4 * MIB; sent += 16_000) socket.write(data(1, Buffer.alloc(16_000)));
    let [unsent, before] = [0, -1];
    await until(() => {
      [before, unsent] = [unsent, socket.writableLength];
      return unsent > MIB && unsent === before;
    });
    expect(test.proxy.stats().connections).toBe(1);
    socket.destroy();
    await until(() => test.proxy.stats().connections === 0);
  });
});

describe("a stream that is idle", () => {
  it("for twelve hours needs no timer, and then delivers what comes", async () => {
    const test = await proxied();
    let upstream: Socket | undefined;
    await runtime(test.upstreamPath, (socket) => {
      upstream = socket;
      socket.write(Buffer.concat([settings(), settingsAck, responseHead(1)]));
      socket.resume();
    });
    vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearTimeout", "clearInterval"] });
    const turns = async (holds: () => boolean) => {
      for (let turn = 0; turn < 100_000 && !holds(); turn++)
        await new Promise((resolve) => setImmediate(resolve));
      expect(holds()).toBe(true);
    };
    const socket = await dial(test.path);
    const frames: RawFrame[] = [];
    const cutter = new FrameCutter();
    socket.on("data", (chunk: Buffer) => frames.push(...cutter.push(chunk)));
    socket.write(Buffer.concat([hello, ...call(1, "/runtime.v1.RuntimeService/GetContainerEvents")]));
    await turns(
      () => frames.some(({ type }) => type === FrameType.headers) && test.proxy.stats().streams === 1,
    );
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(12 * 3_600_000);
    const event = message(Buffer.from("created"));
    upstream?.write(data(1, event));
    await turns(() => frames.at(-1)?.type === FrameType.data);
    expect(frames.at(-1)?.payload).toEqual(event);
    expect(test.proxy.stats()).toEqual({ connections: 1, streams: 1, heldBytes: 0 });
    socket.destroy();
    await turns(() => test.proxy.stats().connections === 0);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(2); // the farewell to either side
  });
});

describe("a client that does not read", () => {
  it("a long answer on one stream hinders no other stream, where it grants the connection", async () => {
    const test = await proxied();
    await runtime(test.upstreamPath, (socket) => {
      serveRaw(socket);
      // The window of the stream that nobody reads: this much goes, and no more.
      socket.once("data", () =>
        socket.write(Buffer.concat([responseHead(99), data(99, Buffer.alloc(10_000))])),
      );
    });
    const socket = await dial(test.path);
    cleanups.push(() => socket.destroy());
    let ended = 0;
    const cutter = new FrameCutter();
    socket.on("data", (chunk) => {
      ended += cutter
        .push(chunk)
        .filter(({ type, flags }) => type === FrameType.headers && (flags & 1) === 1).length;
    });
    socket.write(Buffer.concat([hello, request(99, "/t.T/Silent")]));
    for (let id = 101; id < 301; id += 2) socket.write(Buffer.concat(call(id)));
    await until(() => ended === 100);
    expect(test.proxy.stats().streams).toBe(1);
  });

  it("at all holds up nobody but itself, and takes its memory along when it goes", async () => {
    const test = await proxied();
    let sent = 0;
    await runtime(test.upstreamPath, (socket) => {
      serveRaw(socket);
      socket.on("data", (chunk: Buffer) => {
        if (!chunk.includes("/t.T/Silent")) return;
        const part = data(1, Buffer.alloc(16_000));
        const more = () => {
          while (sent < 16 * MIB && socket.write(part)) sent += part.length;
        };
        socket.on("drain", more);
        more();
      });
    });
    const before = descriptors();
    const deaf = await dial(test.path);
    deaf.pause();
    deaf.write(
      Buffer.concat([
        PREFACE,
        settings({ [Setting.initialWindowSize]: 2 ** 30 }),
        windowUpdate(0, 2 ** 30),
        ...call(1, "/t.T/Silent"),
      ]),
    );
    await until(() => sent > 0);
    const other = await dial(test.path);
    const cutter = new FrameCutter();
    let ended = 0;
    other.on("data", (chunk) => {
      ended += cutter
        .push(chunk)
        .filter(({ type, flags }) => type === FrameType.headers && (flags & 1) === 1).length;
    });
    other.write(hello);
    for (let id = 1; id < 201; id += 2) other.write(Buffer.concat(call(id)));
    await until(() => ended === 100);
    expect(sent).toBeLessThan(4 * MIB);
    other.destroy();
    deaf.destroy();
    await calmed(test, before);
  });
});

/** A runtime that listens and accepts nobody until it is told to: its thread sleeps. */
const busyRuntime = `
  const { parentPort, workerData } = require("node:worker_threads");
  const server = require("node:http2").createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
  });
  server.listen({ path: workerData.path, backlog: 1 }, () => {
    parentPort.postMessage("listening");
    Atomics.wait(workerData.gate, 0, 0);
  });
`;

describe("a runtime too busy to accept", () => {
  it("is dialled again while its queue is full (EAGAIN), and the call is not lost", async () => {
    const test = await proxied();
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(busyRuntime, { eval: true, workerData: { path: test.upstreamPath, gate } });
    cleanups.push(() => worker.terminate());
    await new Promise((resolve) => worker.once("message", resolve));
    const crowd: Socket[] = [];
    let refused = "";
    while (refused === "") {
      await dial(test.upstreamPath).then(
        (socket) => crowd.push(socket),
        (error: NodeJS.ErrnoException) => {
          refused = error.code ?? "?";
        },
      );
    }
    expect(refused).toBe("EAGAIN");
    const socket = await dial(test.path);
    cleanups.push(() => socket.destroy());
    const frames: RawFrame[] = [];
    const cutter = new FrameCutter();
    socket.on("data", (chunk: Buffer) => frames.push(...cutter.push(chunk)));
    socket.write(Buffer.concat([hello, ...call(1)]));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(frames).toEqual([]);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    await until(() => frames.some(({ type, flags }) => type === FrameType.headers && (flags & 1) === 1));
    for (const one of crowd) one.destroy();
    expect(test.lines).toEqual([]);
  });
});
