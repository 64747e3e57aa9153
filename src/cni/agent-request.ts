/**
 * Reads one call from a client's connection: a line, our `go`, and the bytes of stdin with a line end. Nothing of a call is begun
 * before all of it is there; a client that is too slow, sends too much, or goes away is done with here.
 */
import type { Socket } from "node:net";
import { TrivetError } from "../errors.ts";
import {
  AGENT_PROTOCOL,
  decodeRequestLine,
  goAhead,
  MAX_REQUEST_BYTES,
  type Refusal,
  type RequestLine,
} from "./protocol/agent-frame.ts";

/** A whole call. */
export interface IncomingCall extends Omit<RequestLine, "stdinBytes"> {
  readonly stdin: Uint8Array;
}

/** What one connection may take of us. */
export interface ReadLimits {
  /** For all of the request, however it comes. */
  readonly timeoutMs: number;
  /** Whether there is room for this many bytes more. */
  readonly reserve: (sizeBytes: number) => boolean;
  /** Asked before the client is told to go on, from where it may no longer leave: false if nothing is begun any more. */
  readonly mayGo: () => boolean;
}

/**
 * The call, or why it is refused. Throws kinds `deadline` and `cancelled` where nobody waits for an answer. Afterwards the
 * socket flows on, so that its end is noticed.
 */
export async function readCall(socket: Socket, limits: ReadLimits): Promise<IncomingCall | Refusal> {
  const reader = createReader(socket);
  const timer = setTimeout(() => reader.fail("deadline", "sent no whole request in time"), limits.timeoutMs);
  try {
    const text = await reader.upTo(MAX_REQUEST_BYTES, (bytes) => bytes.indexOf(0x0a) + 1);
    if (text === undefined) return "size";
    const request = decodeRequestLine(text.toString("utf8"));
    if (request === undefined) return "format";
    if (request === "unknown") return "protocol";
    if (request.stdinBytes > MAX_REQUEST_BYTES) return "size";
    if (!limits.reserve(text.length + request.stdinBytes)) return "busy";
    const { stdinBytes, ...call } = request;
    if (!limits.mayGo()) return "busy";
    if (call.stdin) return { ...call, stdin: call.stdin };
    if (call.protocol === AGENT_PROTOCOL) socket.write(goAhead);
    const rest = await reader.upTo(stdinBytes + 1, (bytes) =>
      bytes.length > stdinBytes ? stdinBytes + 1 : 0,
    );
    return rest?.at(-1) === 0x0a ? { ...call, stdin: rest.subarray(0, stdinBytes) } : "format";
  } finally {
    clearTimeout(timer);
    reader.close();
  }
}

type Failure = "deadline" | "cancelled";

interface Reader {
  /** Waits until `wanted` gives a number of bytes, and takes them; undefined if it does not within `maxBytes`. */
  upTo(maxBytes: number, wanted: (bytes: Buffer) => number): Promise<Buffer | undefined>;
  fail(kind: Failure, what: string): void;
  close(): void;
}

function createReader(socket: Socket): Reader {
  let chunks: Buffer[] = [];
  let size = 0;
  let failure: TrivetError | undefined;
  let wake: () => void = () => undefined;
  const fail: Reader["fail"] = (kind, what) => {
    const [op, subject] = ["agent.request", "connection"];
    failure ??= new TrivetError({ kind, op, subject, message: `the client ${what}` });
    wake();
  };
  const onData = (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    // No more than one request is ever held: what comes beyond is the kernel's to keep.
    if (size > 2 * MAX_REQUEST_BYTES) socket.pause();
    wake();
  };
  const onClose = () => fail("cancelled", "went away before it had sent a request");
  socket.on("data", onData);
  socket.once("close", onClose);
  return {
    async upTo(maxBytes, wanted) {
      for (;;) {
        if (failure) throw failure;
        const [first] = chunks;
        const bytes = chunks.length === 1 && first ? first : Buffer.concat(chunks);
        chunks = [bytes];
        const end = wanted(bytes);
        if (end > maxBytes || (end <= 0 && size > maxBytes)) return undefined;
        if (end > 0) {
          chunks = [bytes.subarray(end)];
          size -= end;
          return bytes.subarray(0, end);
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    fail,
    close() {
      socket.off("data", onData);
      socket.off("close", onClose);
      socket.resume();
    },
  };
}
