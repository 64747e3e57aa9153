/**
 * gRPC servers on unix sockets: a thin layer over grpc-js. A handler is a function from request to response; what it
 * throws becomes a status by the caller's own map. Knows nothing of any of the three APIs.
 */
import { mkdir, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from "@grpc/grpc-js";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { type Api, loadServices } from "./proto.ts";
import { type PublishedSocket, privateSocketPath, publishSocket } from "./unix-socket.ts";

/** The name of a gRPC status code, such as `INVALID_ARGUMENT`. */
export type RpcCode = Exclude<keyof typeof status, "OK">;

/** How a call failed, for its caller. */
export interface RpcStatus {
  readonly code: RpcCode;
  readonly message: string;
}

/** `signal` fires when the caller has gone away or its deadline has passed. */
export type UnaryHandler = (request: unknown, context: { readonly signal: AbortSignal }) => Promise<object>;

/** Handlers by service, then by method. A method without one answers UNIMPLEMENTED. */
export type Handlers = Readonly<Record<string, Readonly<Record<string, UnaryHandler>>>>;

/** One socket with the services of one API. */
export interface ServeOptions {
  readonly api: Api;
  /** The socket's public path. A stale one is replaced, a live one is never stolen (`conflict`). */
  readonly path: string;
  readonly handlers: Handlers;
  /** The status for what a handler threw. Must not throw. */
  readonly statusOf: (error: unknown) => RpcStatus;
}

/** A server that accepts. */
export interface GrpcServer {
  readonly path: string;
  /** Takes the socket away, lets the calls in flight end, and cuts them off after `timeoutMs`. */
  stop(options: { readonly timeoutMs: number }): Promise<void>;
}

/** As an effect, so that a leg is given its server instead of making it. */
export type ServeGrpc = (options: ServeOptions) => Promise<GrpcServer>;

/** Serves until `stop`; resolves when the socket accepts. */
export const serveGrpc: ServeGrpc = async ({ api, path, handlers, statusOf }) => {
  const server = new Server();
  const services = loadServices(api);
  for (const [name, methods] of Object.entries(handlers)) {
    const service = services[name];
    if (!service) throw new Error(`the API ${api} has no service ${name}`);
    const adapted = Object.entries(methods).map(([method, handler]) => [method, adapt(handler, statusOf)]);
    server.addService(service.service, Object.fromEntries(adapted));
  }
  const socket = await listen(server, path);
  return {
    path,
    async stop({ timeoutMs }) {
      await socket.withdraw();
      await drain(server, timeoutMs);
    },
  };
};

const callerGone = new TrivetError({
  ...{ kind: "cancelled", op: "grpc", subject: "caller", message: "the caller is gone" },
});

type AnyCall = ServerUnaryCall<unknown, object>;

function adapt(handler: UnaryHandler, statusOf: ServeOptions["statusOf"]) {
  return (call: AnyCall, reply: sendUnaryData<object>): void => {
    const gone = new AbortController();
    // With a reason that is there already: an error of its own for every call costs more than all else in here.
    call.on("cancelled", () => gone.abort(callerGone));
    handler(call.request, { signal: gone.signal }).then(
      (response) => reply(null, response),
      (error) => {
        const { code, message } = statusOf(error);
        reply({ code: status[code], details: message });
      },
    );
  };
}

async function listen(server: Server, path: string): Promise<PublishedSocket> {
  const own = privateSocketPath(path);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await unlink(own).catch(() => undefined); // left by a process that had our pid
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${own}`, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    return await publishSocket(path);
  } catch (error) {
    server.forceShutdown();
    throw fromNodeError(error, "socket.listen", path);
  }
}

function drain(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, timeoutMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
