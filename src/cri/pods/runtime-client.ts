/**
 * Asks the runtime a question of our own: a unary gRPC call over node:http2, on a connection that is made for the first
 * question and closed when there were none for a while. An edge: it uses sockets and timers.
 */
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { type Kind, TrivetError } from "../../errors.ts";
import type { AskRuntime } from "./pod-index.ts";

export interface RuntimeClientOptions {
  /** The runtime's unix socket. */
  readonly path: string;
  /** For connection and answer together. */
  readonly timeoutMs?: number;
  /** After so long without a question the connection is closed. */
  readonly idleMs?: number;
}

export interface RuntimeClient {
  readonly ask: AskRuntime;
  close(): void;
}

const DEFAULT_TIMEOUT_MS = 2_000;
const DEFAULT_IDLE_MS = 10_000;
const PREFIX_BYTES = 5;
/** Of an answer: the limit of kubelet and containerd. */
const MAX_ANSWER_BYTES = 16 << 20;
const CANCEL = 8;

/** Has no effect by itself: nothing is loaded or dialled before the first question. */
export function createRuntimeClient({
  path,
  timeoutMs = DEFAULT_TIMEOUT_MS,
  idleMs = DEFAULT_IDLE_MS,
}: RuntimeClientOptions): RuntimeClient {
  let session: Promise<ClientHttp2Session> | undefined;
  /** The one of `session`, once it is there. */
  let current: ClientHttp2Session | undefined;

  async function dial(): Promise<ClientHttp2Session> {
    // A part of Node that the proxy needs for nothing else: most never ask.
    const http2 = await import("node:http2");
    const socket = connect({ path });
    // The name is the one that every runtime takes, whatever its socket is called.
    const opened = http2.connect("http://localhost", { createConnection: () => socket });
    // Another one may have been made by the time that the last is heard of this one.
    const forget = () => {
      if (current !== opened) return;
      current = undefined;
      session = undefined;
    };
    opened.on("error", forget);
    opened.on("goaway", forget);
    opened.on("close", forget);
    opened.setTimeout(idleMs, () => {
      // First: one that is being closed takes no questions any more.
      forget();
      opened.close();
    });
    current = opened;
    opened.unref();
    return opened;
  }

  return {
    async ask(method, request) {
      session ??= dial();
      const stream = (await session).request({
        ":method": "POST",
        ":authority": "localhost", // without the port that the URL implies
        ":path": `/runtime.v1.RuntimeService/${method}`,
        "content-type": "application/grpc",
        te: "trailers",
        "grpc-timeout": `${timeoutMs}m`,
      });
      return finish(stream, { request, path, method, timeoutMs });
    },
    close() {
      const open = session;
      session = undefined;
      open?.then((opened) => opened.destroy()).catch(() => undefined);
    },
  };
}

interface Question {
  readonly request: Uint8Array;
  readonly path: string;
  readonly method: string;
  readonly timeoutMs: number;
}

function finish(stream: ClientHttp2Stream, question: Question): Promise<Uint8Array> {
  const fail = (kind: Kind, why: string, cause?: unknown) =>
    new TrivetError({
      kind,
      op: "runtime.ask",
      subject: question.method,
      message: `the runtime at ${question.path} did not answer ${question.method}: ${why}`,
      cause,
    });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let headers: IncomingHttpHeaders = {};
    const timer = setTimeout(
      () => give(fail("deadline", `nothing within ${question.timeoutMs} ms`)),
      question.timeoutMs,
    );
    const give = (error: TrivetError) => {
      clearTimeout(timer);
      reject(error);
      stream.close(CANCEL);
    };
    stream.on("response", (got) => {
      headers = { ...headers, ...got };
    });
    stream.on("trailers", (got) => {
      headers = { ...headers, ...got };
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) give(fail("exhausted", `more than ${MAX_ANSWER_BYTES} bytes`));
      else chunks.push(chunk);
    });
    stream.on("error", (error: Error) => give(fail("unavailable", error.message, error)));
    stream.on("close", () => {
      clearTimeout(timer);
      const status = String(headers["grpc-status"] ?? "");
      const framed = Buffer.concat(chunks);
      if (status !== "0") reject(fail("unavailable", status ? `status ${status}` : "the connection broke"));
      else if (!isPlainMessage(framed)) reject(fail("decode", "no plain message"));
      else resolve(framed.subarray(PREFIX_BYTES));
    });
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(question.request.length, 1);
    stream.end(Buffer.concat([prefix, question.request]));
  });
}

/** Whether this is one message, not compressed, and all of it: half an answer must not be taken for "no such container". */
function isPlainMessage(framed: Buffer): boolean {
  return (
    framed.length >= PREFIX_BYTES &&
    framed[0] === 0 &&
    framed.readUInt32BE(1) === framed.length - PREFIX_BYTES
  );
}
