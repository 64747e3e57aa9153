/**
 * What the tap asks and tells: the interface between the byte tap and whoever decides on calls (policies, recorder).
 * Only `edit` may take its time; the tap goes on with all other calls meanwhile. What a hook throws is a bug and fails that
 * call closed.
 */

/** A request stream whose header block is complete. */
export interface StreamStart {
  /** The HTTP/2 stream identifier, unique within its connection. */
  readonly streamId: number;
  /**
   * `:path`, such as `/runtime.v1.RuntimeService/CreateContainer`. Always with its slash: grpc-go takes a path that lacks it
   * for the same method, so what decides by path must see no difference.
   */
  readonly path: string;
  /** Counts the client's connections from 1. */
  readonly connectionId: number;
  /** The name of the extra listener that accepted the connection; undefined on the main one. */
  readonly listener?: string | undefined;
  /** `grpc-timeout`: how long the client waits for the call; undefined without a (valid) one. */
  readonly timeoutMs?: number | undefined;
}

/** A gRPC status (1 to 16) and its text, which the tap percent-encodes. */
export interface Denial {
  readonly status: number;
  readonly message: string;
}

/** What the tap is to do with a call. */
export interface CallPlan {
  /**
   * The request message is to be held whole and offered to `edit`: only for methods whose request is a single message, since
   * more than one on such a stream, or one that cannot be decompressed, is denied.
   */
  readonly hold: boolean;
  readonly call: CallObserver | undefined;
  /** The call is answered so at once, without its message. */
  readonly deny?: Denial | undefined;
  /**
   * The single response message is to be gathered for `onResponse`. Its bytes go to the client as they come, all the same.
   * Only for methods that answer with one message.
   */
  readonly observeResponse?: boolean;
}

/** Whoever decides on calls. */
export interface TapHooks {
  /** Called once per request stream when its header block is complete. */
  onRequest(start: StreamStart): CallPlan;
}

/** What becomes of a held request message. */
export type EditDecision =
  /** The original bytes, verbatim. */
  | { readonly action: "forward" }
  /** A new protobuf message; the tap adds the gRPC prefix. It must stay unchanged from then on. */
  | { readonly action: "replace"; readonly message: Uint8Array }
  | ({ readonly action: "deny" } & Denial);

/** Follows one call, from its headers to its end. */
export interface CallObserver {
  /**
   * The complete request message: protobuf bytes, decompressed when `grpc-encoding` was gzip or deflate. A view that is not
   * to be written to, nor to be kept beyond the decision and the event that brings it. Only when hold was asked.
   * A promise leaves the call held until it settles, or until the call is over: the decision then comes too late, and
   * nothing is made of it. A promise that is rejected fails the call closed. The tap sets no time for it: the client does.
   */
  edit?(message: Uint8Array): EditDecision | Promise<EditDecision>;
  /**
   * The complete response message, decompressed, just before `onEnd`: only where `observeResponse` was asked and the status
   * is OK. Never where it is larger than the tap may keep, compressed in an unknown way, or not one message. A view, valid
   * during the event.
   */
  onResponse?(message: Uint8Array): void;
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
