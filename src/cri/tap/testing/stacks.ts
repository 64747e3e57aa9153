/** Node's own HTTP/2 stack at both ends of a wire, in memory: every byte passes the machine and both checkers, cut anywhere. */
import http2, {
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
  type Settings,
} from "node:http2";
import { type Duplex, duplexPair } from "node:stream";
import type { Random } from "./random.ts";
import { Wire, type WireOptions } from "./wire.ts";

/** Settings as node:http2 has them; `random` decides where bytes are cut. */
export interface StackOptions extends WireOptions {
  readonly random: Random;
  readonly clientSettings?: Settings;
  readonly serverSettings?: Settings;
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
}

/** A session whose server is at the other end of the wire. */
export interface Stacks {
  readonly wire: Wire;
  readonly session: ClientHttp2Session;
  close(): void;
}

/** Beyond this Node resets streams on its own. */
const SESSION_MEGABYTES = 1_000;

/** `onStream` is the server; the session is connected through the wire. */
export function connectStacks(options: StackOptions): Stacks {
  const wire = new Wire(options);
  const [clientSocket, fromClient] = duplexPair();
  const [serverSocket, fromServer] = duplexPair();
  // Without its guard against resets, which a client that cancels a lot runs into.
  const server = http2.createServer({
    settings: options.serverSettings ?? {},
    streamResetBurst: 1_000_000,
    streamResetRate: 1_000_000,
    maxSessionMemory: SESSION_MEGABYTES,
  });
  server.on("stream", options.onStream);
  server.on("sessionError", () => undefined);
  server.emit("connection", serverSocket);
  wire.onUpstreamBytes = (bytes) => fromServer.write(bytes);
  wire.onClientBytes = (bytes) => fromClient.write(bytes);
  cut(fromClient, options.random, (piece) => wire.fromClient(piece));
  cut(fromServer, options.random, (piece) => wire.fromUpstream(piece));
  const session = http2.connect("http://localhost", {
    createConnection: () => clientSocket,
    settings: options.clientSettings ?? {},
    maxSessionMemory: SESSION_MEGABYTES,
  });
  session.on("error", () => undefined);
  return {
    wire,
    session,
    close() {
      session.destroy();
      for (const end of [clientSocket, fromClient, serverSocket, fromServer]) end.destroy();
    },
  };
}

function cut(from: Duplex, random: Random, take: (piece: Buffer) => void): void {
  from.on("data", (chunk: Buffer) => {
    let rest = chunk;
    while (rest.length > 0) {
      const octets = random.chance(2) ? rest.length : 1 + random.below(rest.length);
      take(rest.subarray(0, octets));
      rest = rest.subarray(octets);
    }
  });
}

/** What came back for a call. */
export interface Answer {
  readonly status: string | undefined;
  readonly text: string | undefined;
  readonly body: Buffer;
  /** Set where the stream was reset. */
  readonly error: string | undefined;
}

/** A gRPC call with plain HTTP/2 means. `pieces` are written one by one. */
export function callOver(
  session: ClientHttp2Session,
  path: string,
  pieces: readonly Buffer[],
  cancelMs = -1,
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "x-call": path,
    });
    const body: Buffer[] = [];
    let headers: IncomingHttpHeaders = {};
    let error: string | undefined;
    stream.on("response", (got) => {
      headers = { ...headers, ...got };
    });
    stream.on("trailers", (got) => {
      headers = { ...headers, ...got };
    });
    stream.on("data", (chunk: Buffer) => body.push(chunk));
    stream.on("error", (cause: Error) => {
      error = cause.message;
    });
    stream.on("close", () => {
      if (stream.rstCode !== 0) error ??= `reset ${stream.rstCode}`;
      resolve({
        status: headers["grpc-status"]?.toString(),
        text: headers["grpc-message"]?.toString(),
        body: Buffer.concat(body),
        error,
      });
    });
    for (const piece of pieces) stream.write(piece);
    stream.end();
    if (cancelMs >= 0) setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), cancelMs);
  });
}
