/**
 * All that a tapped connection knows: streams, windows, HPACK mirrors, outstanding SETTINGS, and the two outlets. Data with
 * almost no behaviour; the modules beside this one are the rules that move it. No sockets, no timers.
 */
import { DEFAULT_WINDOW_BYTES, MAX_STREAM_ID, OWN_FRAME_BYTES } from "./frames.ts";
import { HeaderBlock } from "./header-block.ts";
import type { TapHooks } from "./hooks.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import type { HeldBudget, TapLimits } from "./limits.ts";
import { Outlet } from "./outlet.ts";
import type { TapStream } from "./tap-stream.ts";

/** What a connection gets from the process around it. */
export interface TapDeps {
  readonly connectionId: number;
  /** The name of an extra listener. */
  readonly listener?: string | undefined;
  readonly hooks: TapHooks;
  readonly limits: TapLimits;
  readonly budget: HeldBudget;
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** A hook threw: the call fails closed, the connection goes on. */
  onHookError(error: unknown, hook: string): void;
  /** A decision that was waited for is made: there may be bytes to take, and the phase may have changed. */
  onDecided(): void;
}

/** SETTINGS of the client, or an empty one of ours (a fence), that upstream has to acknowledge. In order of sending. */
export type AwaitedByUpstream =
  | {
      readonly owner: "client";
      readonly headerTableBytes: number | undefined;
      /** The lowest of several in one frame. */
      readonly lowestTableBytes: number | undefined;
    }
  | { readonly owner: "tap"; readonly fenced: readonly TapStream[] };

/** SETTINGS of upstream that the client has to acknowledge. */
export interface AwaitedByClient {
  readonly headerTableBytes: number | undefined;
  readonly initialWindowBytes: number | undefined;
}

const REQUEST_FIELDS: ReadonlySet<string> = new Set([
  ":path",
  "grpc-encoding",
  "grpc-timeout",
  "content-length",
]);
const RESPONSE_FIELDS: ReadonlySet<string> = new Set([
  ":status",
  "grpc-status",
  "grpc-message",
  "grpc-encoding",
]);

/** The books of one connection. Only the modules of this folder write to them. */
export class TapState {
  readonly deps: TapDeps;
  readonly toClient = new Outlet();
  readonly toUpstream = new Outlet();

  readonly streams = new Map<number, TapStream>();
  /** Streams with queued DATA, longest waiting first. */
  readonly blocked = new Set<TapStream>();
  /** Streams in mode `discard`, oldest first: the tombstones. */
  readonly discarding = new Set<TapStream>();
  /** Streams in mode `pending`. */
  readonly pending = new Set<TapStream>();
  highestStreamId = 0;

  /** Flow control of the connection: see `ledger.ts`. */
  connUp = DEFAULT_WINDOW_BYTES;
  connCli = DEFAULT_WINDOW_BYTES;
  connQueuedBytes = 0;
  /** Upstream's INITIAL_WINDOW_SIZE as last acknowledged by the client. */
  initialWindowBytes = DEFAULT_WINDOW_BYTES;

  /** This connection's share of the held-bytes budget. */
  heldBytes = 0;
  /** A stream was held once. Until then DATA of unknown streams is passed on, as if the tap were not there. */
  everHeld = false;

  /** The client's header block at hand: it may be half there when the stand-in takes over. */
  readonly requestBlock: HeaderBlock;
  readonly requestDecoder = new HpackDecoder(REQUEST_FIELDS);
  /** Mirrors the client's decoder, blocks of our own included. */
  readonly responseDecoder = new HpackDecoder(RESPONSE_FIELDS);
  /** The size update that the next block to the client must open with, if it is ours. */
  tableFloorBytes: number | undefined;

  readonly awaitedByUpstream: AwaitedByUpstream[] = [];
  readonly awaitedByClient: AwaitedByClient[] = [];
  /** Streams denied since the last fence was sent. */
  fenced: TapStream[] = [];
  upstreamSettingsSeen = false;
  clientSettingsSeen = false;
  /** Largest payload that each side said it accepts. */
  upstreamMaxFrameBytes = OWN_FRAME_BYTES;
  clientMaxFrameBytes = OWN_FRAME_BYTES;

  /** The lowest last-stream-id of the GOAWAYs that the client got; what it says never rises again. */
  goawayId = MAX_STREAM_ID;
  drain: "no" | "asked" | "announced" | "final" = "no";

  /** Runs `act` as an event of its own, brought by neither peer; set by the machine, which knows what ends an event. */
  asEvent: (act: () => void) => void = (act) => act();

  constructor(deps: TapDeps) {
    this.deps = deps;
    this.requestBlock = new HeaderBlock("client", deps.limits.maxHeaderBlockBytes);
  }
}
