/** For tests of the proxy on real sockets: what they open is closed after each test, the last first. */
import { afterEach } from "vitest";
import type { CallEnd, EditDecision, TapHooks } from "../../src/cri/tap/hooks.ts";
import { startProxy, type TestProxy } from "../../src/cri/tap/testing/sockets.ts";
import { grpcClient, serveGrpc } from "./grpc-peers.ts";

/** To be called once by each file of tests: the hooks of a file end with it. */
export function useProxies() {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return {
    cleanups,
    async proxied(options: Parameters<typeof startProxy>[0] = {}): Promise<TestProxy> {
      const test = await startProxy(options);
      cleanups.push(() => test.close());
      return test;
    },
    async grpcServer(path: string) {
      const server = await serveGrpc(path);
      cleanups.push(() => server.forceShutdown());
      return server;
    },
    clientOf(path: string) {
      const client = grpcClient(path);
      cleanups.push(() => client.close());
      return client;
    },
  };
}

/** Holds every call and decides by the first octet of its message. */
export function byFirstOctet(ends: CallEnd[] = []): TapHooks {
  const edit = (body: Uint8Array): EditDecision => {
    if (body[0] === 1) return { action: "replace", message: Buffer.concat([body, body]) };
    if (body[0] === 2) return { action: "deny", status: 7, message: "trivet: no, 100% nö" };
    return { action: "forward" };
  };
  return { onRequest: () => ({ hold: true, call: { edit, onEnd: (end) => ends.push(end) } }) };
}
