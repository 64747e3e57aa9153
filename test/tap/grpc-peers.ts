/** grpc-js as a server and as a client, with raw bytes for messages, on a unix socket. */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
} from "@grpc/grpc-js";

const same = (bytes: Buffer): Buffer => bytes;
const UNLIMITED = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": 50,
};

/** Methods: Echo, Fail (status 9 with metadata), Slow (never answers), Count (streams as many replies as the request has bytes). */
export async function serveGrpc(path: string): Promise<Server> {
  const server = new Server(UNLIMITED);
  const unary = (
    name: string,
    handler: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void,
  ) => server.register(`/t.T/${name}`, handler, same, same, "unary");
  unary("Echo", (call, reply) => reply(null, call.request));
  unary("Fail", (_, reply) => {
    const metadata = new Metadata();
    metadata.set("why-bin", Buffer.from([0, 255]));
    reply({ code: 9, details: "nö: 100%", metadata });
  });
  unary("Slow", () => undefined);
  // The octet asks for a status; its details go along in binary, as google.rpc.Status does.
  unary("Status", (call, reply) => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([8, call.request[0] ?? 0, 0xff]));
    metadata.set("x-retry", "no");
    reply({ code: call.request[0] ?? 0, details: `status ${call.request[0]}: "é" %`, metadata });
  });
  const count = (call: ServerWritableStream<Buffer, Buffer>) => {
    for (let at = 0; at < call.request.length; at++) call.write(Buffer.alloc(1_000, at));
    call.end();
  };
  server.register("/t.T/Count", count, same, same, "serverStream");
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return server;
}

export interface GrpcResult {
  readonly code: number;
  readonly details: string;
  readonly body: Buffer;
  readonly metadata: Metadata | undefined;
}

export interface GrpcClient {
  call(
    name: string,
    body: Buffer,
    options?: { timeoutMs?: number; cancelAfterMs?: number },
  ): Promise<GrpcResult>;
  stream(name: string, body: Buffer): Promise<GrpcResult & { replies: number }>;
  close(): void;
}

export function grpcClient(path: string): GrpcClient {
  const client = new Client(`unix:${path}`, credentials.createInsecure(), UNLIMITED);
  return {
    call: (name, body, options = {}) =>
      new Promise((resolve) => {
        const deadline = options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
        const done = (error: ServiceError | null, reply?: Buffer) =>
          resolve({
            code: error?.code ?? 0,
            details: error?.details ?? "",
            body: reply ?? Buffer.alloc(0),
            metadata: error?.metadata,
          });
        const call = client.makeUnaryRequest(
          `/t.T/${name}`,
          same,
          same,
          body,
          new Metadata(),
          deadline,
          done,
        );
        if (options.cancelAfterMs !== undefined) setTimeout(() => call.cancel(), options.cancelAfterMs);
      }),
    stream: (name, body) =>
      new Promise((resolve) => {
        const parts: Buffer[] = [];
        const call = client.makeServerStreamRequest(`/t.T/${name}`, same, same, body);
        call.on("data", (part: Buffer) => parts.push(part));
        call.on("error", () => undefined);
        call.on("status", ({ code, details, metadata }) =>
          resolve({ code, details, metadata, body: Buffer.concat(parts), replies: parts.length }),
        );
      }),
    close: () => client.close(),
  };
}
