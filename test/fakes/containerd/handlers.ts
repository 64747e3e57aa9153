/**
 * The shape of a method of the fake: a decoded request in, a message or a stream of messages out. One cast lives
 * here, at the edge where the wire becomes typed; the methods themselves are typed.
 */
import type { Message } from "./messages.ts";

/** What a method may want to know about its call. */
export interface CallContext {
  /** Aborted when the client cancels, its deadline passes, or the server stops. */
  readonly signal: AbortSignal;
}

export type UnaryHandler = (request: Message, context: CallContext) => Promise<Message> | Message;
export type StreamHandler = (request: Message, context: CallContext) => AsyncIterable<Message>;

export interface Handlers {
  readonly unary: Readonly<Record<string, UnaryHandler>>;
  readonly stream: Readonly<Record<string, StreamHandler>>;
}

/** A unary method whose request has the shape `Request`. */
export function unary<Request>(
  handler: (request: Request, context: CallContext) => Promise<Message> | Message,
): UnaryHandler {
  return handler as UnaryHandler;
}

/** A server-streaming method whose request has the shape `Request`. */
export function stream<Request>(
  handler: (request: Request, context: CallContext) => AsyncIterable<Message>,
): StreamHandler {
  return handler as StreamHandler;
}

/** The `Stream*` twin of a list method: its items in chunks, as containerd sends them, so that no message grows large. */
export function streamed<Request>(
  field: string,
  list: (request: Request) => readonly Message[],
  chunkSize = 100,
): StreamHandler {
  return stream<Request>(async function* (request) {
    const items = list(request);
    for (let at = 0; at < items.length; at += chunkSize) yield { [field]: items.slice(at, at + chunkSize) };
  });
}

export function mergeHandlers(parts: readonly Partial<Handlers>[]): Handlers {
  return {
    unary: Object.assign({}, ...parts.map((part) => part.unary ?? {})),
    stream: Object.assign({}, ...parts.map((part) => part.stream ?? {})),
  };
}
