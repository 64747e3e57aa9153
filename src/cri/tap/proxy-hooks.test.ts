// What hooks may do, seen through grpc-js at both ends of a proxy on real sockets.

import { createServer as createNetServer } from "node:net";
import { describe, expect, it } from "vitest";
import { byFirstOctet, useProxies } from "../../../test/tap/proxied.ts";
import type { CallEnd, CallObserver, StreamStart } from "./hooks.ts";
import { defer, settled } from "./testing/deferred.ts";
import { listen, until } from "./testing/sockets.ts";

const { cleanups, clientOf, grpcServer, proxied } = useProxies();

describe("a decision that is pending", () => {
  it("does not keep a drain beyond its bound, and comes to nothing afterwards", async () => {
    const ends: CallEnd[] = [];
    const decision = defer();
    const call: CallObserver = { edit: () => decision.promise, onEnd: (end) => ends.push(end) };
    const test = await proxied({ hooks: { onRequest: () => ({ hold: true, call }) } });
    await grpcServer(test.upstreamPath);
    const answer = clientOf(test.path).call("Echo", Buffer.from("x"));
    await until(() => test.proxy.stats().heldBytes > 0);
    await test.proxy.drain({ timeoutMs: 50 });
    expect((await answer).code).toBe(14);
    decision.resolve({ action: "forward" });
    await settled();
    expect(test.proxy.stats()).toEqual({ connections: 0, streams: 0, heldBytes: 0 });
    expect(ends).toMatchObject([{ grpcStatus: 14, answeredByTap: true }]);
  });

  it("ends with the deadline of its caller, which the tap leaves to the caller", async () => {
    const call: CallObserver = { edit: () => defer().promise, onEnd: () => undefined };
    const test = await proxied({ hooks: { onRequest: () => ({ hold: true, call }) } });
    await grpcServer(test.upstreamPath);
    const answer = await clientOf(test.path).call("Echo", Buffer.from("x"), { timeoutMs: 60 });
    expect(answer.code).toBe(4);
    await until(() => test.proxy.stats().streams === 0);
    expect(test.proxy.stats().heldBytes).toBe(0);
  });
});

describe("hooks", () => {
  it("learn on which extra listener a connection was accepted, and may take their time to decide", async () => {
    const starts: StreamStart[] = [];
    const ends: CallEnd[] = [];
    const test = await proxied({
      hooks: {
        onRequest(start) {
          starts.push(start);
          const call: CallObserver = {
            edit: async (body) => {
              await new Promise((resolve) => setTimeout(resolve, body[0]));
              return { action: "replace", message: Buffer.concat([body, body]) };
            },
            onResponse: (body) => responses.push(Buffer.from(body)),
            onEnd: (end) => ends.push(end),
          };
          return { hold: true, observeResponse: true, call };
        },
      },
    });
    const responses: Buffer[] = [];
    await grpcServer(test.upstreamPath);
    const extra = createNetServer((socket) => test.proxy.accept(socket, { listener: "agents" }));
    await listen(extra, `${test.path}.agents`);
    cleanups.push(() => extra.close());
    const client = clientOf(`${test.path}.agents`);
    const answers = await Promise.all(
      [40, 3, 9].map((ms) => client.call("Echo", Buffer.from([ms]), { timeoutMs: 60_000 })),
    );
    expect(answers.map(({ code, body }) => [code, ...body])).toEqual([
      [0, 40, 40],
      [0, 3, 3],
      [0, 9, 9],
    ]);
    expect(responses.map(([first]) => first).toSorted()).toEqual([3, 40, 9]);
    expect(starts.map(({ listener }) => listener)).toEqual(["agents", "agents", "agents"]);
    expect(Math.max(...starts.map(({ timeoutMs }) => timeoutMs ?? 0))).toBeGreaterThan(50_000);
    const cancelled = await client.call("Echo", Buffer.from([50]), { cancelAfterMs: 5 });
    expect(cancelled.code).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(test.proxy.stats()).toEqual({ connections: 1, streams: 0, heldBytes: 0 });
    expect(test.lines).toEqual([]);
  });

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
