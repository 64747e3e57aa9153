/** The smallest CSI driver that lets the kubelet's side be tested without a real one: it answers what it is told. */
import { rm } from "node:fs/promises";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from "@grpc/grpc-js";
import type { Api } from "../../../src/host/proto.ts";
import { servicesOf } from "../containerd/apis.ts";

export interface StubCall {
  readonly method: string;
  readonly request: Readonly<Record<string, unknown>>;
  /** The `:authority` of the call. */
  readonly authority: string;
}

export interface StubServer {
  readonly calls: readonly StubCall[];
  stop(): Promise<void>;
}

export type StubMethods = Readonly<
  Record<string, (request: Readonly<Record<string, unknown>>) => object | Promise<object>>
>;

/** Serves `methods` of one API on a unix socket; every other method of it is UNIMPLEMENTED. */
export async function serveStub(api: Api, path: string, methods: StubMethods): Promise<StubServer> {
  const calls: StubCall[] = [];
  const server = new Server({ "grpc.enable_channelz": 0 });
  for (const { service } of Object.values(servicesOf(api))) {
    const handlers = Object.keys(service).map((method) => [method, answer(method)] as const);
    server.addService(service, Object.fromEntries(handlers.filter(([name]) => name in methods)));
  }
  function answer(method: string) {
    return async (
      call: ServerUnaryCall<Record<string, unknown>, object>,
      callback: sendUnaryData<object>,
    ) => {
      calls.push({ method, request: call.request, authority: call.getHost() });
      try {
        callback(null, (await methods[method]?.(call.request)) ?? {});
      } catch (error) {
        callback({ code: status.INTERNAL, details: (error as Error).message });
      }
    };
  }
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return {
    calls,
    async stop() {
      server.forceShutdown();
      await rm(path, { force: true });
    },
  };
}
