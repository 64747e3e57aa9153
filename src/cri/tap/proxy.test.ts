import { describe, expect, it } from "vitest";
import { useProxies } from "../../../test/tap/proxied.ts";
import { FrameType, PREFACE, Setting } from "./frames.ts";
import {
  data,
  FrameCutter,
  headers,
  message,
  request,
  responseHead,
  settings,
  settingsAck,
  trailers,
  windowUpdate,
} from "./testing/raw-frames.ts";
import { dial, rawServer, until } from "./testing/sockets.ts";

const MIB = 1 << 20;
const { cleanups, proxied } = useProxies();

async function raw(path: string, onSocket: Parameters<typeof rawServer>[1]) {
  const server = await rawServer(path, onSocket);
  cleanups.push(() => server.close());
  return server;
}

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

describe("a runtime that dies", () => {
  it("gives its calls in flight UNAVAILABLE, and what it sent before it died is delivered", async () => {
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

  it("while requests are written to it: the failed write loses none of its answers", async () => {
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
