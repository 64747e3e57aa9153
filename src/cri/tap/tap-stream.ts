/** One request stream of a connection, as data: its windows, its queue, what happens to its request, what is known of its end. */
import type { CallObserver } from "./hooks.ts";
import type { ObservedResponse } from "./observed-response.ts";

/** What becomes of the client's DATA. */
export const Mode = {
  /** Forwarded as it comes. */
  pass: 0,
  /** Gathered until the message is complete. */
  hold: 1,
  /** The message is complete, and whoever decides on it has not done so yet. */
  pending: 2,
  /** The one message was decided on and sent or queued: no second one may follow. */
  released: 3,
  /** Denied: reset towards upstream, to be answered once the fence is acknowledged. */
  fenced: 4,
  /** Over; what the client still sends is dropped, with credit. */
  discard: 5,
} as const;

/** One of `Mode`; those from `fenced` on take no part in the flow to upstream any more. */
export type StreamMode = (typeof Mode)[keyof typeof Mode];

/** A gRPC status of our own. */
export interface OwnStatus {
  readonly status: number;
  readonly message: string;
}

/** The books of one stream, from its header block until both halves are over. */
export class TapStream {
  readonly id: number;
  mode: StreamMode = Mode.pass;

  /** Flow control: what we may send upstream, and what the client may send us. */
  up: number;
  cli: number;
  /** Request DATA ready to go that the windows do not let through, `queuedBytes` in all. */
  readonly queue: Buffer[] = [];
  /** Where in `queue` the first unsent piece is. */
  queueHead = 0;
  queuedBytes = 0;
  /** END_STREAM follows the queue. */
  endQueued = false;

  /** The message being gathered, gRPC prefix first: `held[0, heldBytes)`. */
  held: Buffer | undefined;
  heldBytes = 0;
  /** What that message was decompressed to, until it is decided on. */
  unpackedBytes = 0;
  /** `grpc-encoding` of the request. */
  encoding = "identity";
  /** The request has a `content-length`, which is upstream by the time its message is decided on. */
  hasLength = false;

  /** END_STREAM seen from either side; for the client also RST_STREAM. */
  clientEnded = false;
  upstreamEnded = false;
  /** A final (not 1xx) response header block went to the client. */
  responseStarted = false;
  denial: OwnStatus | undefined;

  call: CallObserver | undefined;
  /** Where the response message is gathered, if anybody wants to see it. */
  observed: ObservedResponse | undefined;
  requestBytes = 0;
  responseBytes = 0;
  readonly startMs: number;
  requestDoneMs = Number.NaN;
  responseStartMs = Number.NaN;
  holdStartMs = Number.NaN;
  heldMs = Number.NaN;

  constructor(id: number, windowBytes: number, startMs: number) {
    this.id = id;
    this.up = windowBytes;
    this.cli = windowBytes;
    this.startMs = startMs;
  }
}
