/**
 * What the tap asks and tells: the interface between the byte tap and whoever decides on calls (policies, recorder).
 * All of it is synchronous: the tap never waits for a decision. What a hook throws is a bug and fails that call closed.
 */

/** A request stream whose header block is complete. */
export interface StreamStart {
  /** The HTTP/2 stream identifier, unique within its connection. */
  readonly streamId: number;
  /** `:path`, such as `/runtime.v1.RuntimeService/CreateContainer`. */
  readonly path: string;
  /** Counts the client's connections from 1. */
  readonly connectionId: number;
}

/** Whoever decides on calls. */
export interface TapHooks {
  /**
   * Called once per request stream when its header block is complete. Says whether the request message is to be held
   * whole and offered to `edit`: only for methods whose request is a single message.
   */
  onRequest(start: StreamStart): { readonly hold: boolean; readonly call: CallObserver | undefined };
}

/** What becomes of a held request message. */
export type EditDecision =
  /** The original bytes, verbatim. */
  | { readonly action: "forward" }
  /** A new protobuf message; the tap adds the gRPC prefix. It must stay unchanged from then on. */
  | { readonly action: "replace"; readonly message: Uint8Array }
  /** A gRPC status (1 to 16) and its text, which the tap percent-encodes. */
  | { readonly action: "deny"; readonly status: number; readonly message: string };

/** Follows one call, from its headers to its end. */
export interface CallObserver {
  /**
   * The complete request message: protobuf bytes, decompressed when `grpc-encoding` was gzip or deflate. A view that is
   * valid during the call, not to be written to. Only when hold was asked.
   */
  edit?(message: Uint8Array): EditDecision;
  /** Once, when the stream is over in whatever way. */
  onEnd(end: CallEnd): void;
}

/** All that the tap knows of a call when it is over. */
export interface CallEnd {
  /** gRPC status from the trailers (or from ours); undefined if the stream or the connection died before any. */
  readonly grpcStatus: number | undefined;
  /** Its text, percent-decoded. */
  readonly grpcMessage: string | undefined;
  readonly reset: "client" | "upstream" | "connection" | undefined;
  /** DATA payload bytes, without padding, as received. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly timing: CallTiming;
  /** True when the status is one of the tap's own: a denial, or a runtime that does not answer. */
  readonly answeredByTap?: boolean;
}

/** Monotonic milliseconds. NaN when not reached. */
export interface CallTiming {
  /** Request headers seen. */
  readonly startMs: number;
  /** Request forwarded complete. */
  readonly requestDoneMs: number;
  /** The response's first header block seen. */
  readonly responseStartMs: number;
  readonly endMs: number;
  /** How long the request message was held back, from its first byte to the decision; NaN when it was not. */
  readonly heldMs: number;
}
