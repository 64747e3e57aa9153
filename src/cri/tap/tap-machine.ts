/**
 * One tapped connection as a pure state machine: bytes and events of either side go in, bytes for either side come out
 * through the two outlets, and hooks are called on the way. No sockets, no timers; what a call waits for, nothing else does.
 */
import { asTrivetError, type TrivetError } from "../../errors.ts";
import { reportEnd } from "./call-end.ts";
import { ClientSide } from "./client-side.ts";
import { sendFences } from "./denial.ts";
import { announceDrain, sendGoaway } from "./drain.ts";
import { type Frame, FrameReader, type FrameSink } from "./frame-reader.ts";
import { ErrorCode } from "./frames.ts";
import { settleConnection } from "./ledger.ts";
import { goawayCode, type Side } from "./malformed.ts";
import { GrpcStatus } from "./message.ts";
import { Outage } from "./outage.ts";
import { removeStream } from "./stream-end.ts";
import { type TapDeps, TapState } from "./tap-state.ts";
import type { OwnStatus } from "./tap-stream.ts";
import { UpstreamSide } from "./upstream-side.ts";

/**
 * `live`: both sides are connected. `outage`: upstream is gone, calls are answered here. `over`: nothing more will be written;
 * what is in the outlet for the client is to be flushed, then both sockets to be closed.
 */
export type Phase = "live" | "outage" | "over";

/** Feed it, then take what it has for either side; its phase says what to do with the sockets. */
export class TapMachine {
  readonly #tap: TapState;
  readonly #fromClient: FrameReader;
  readonly #fromUpstream: FrameReader;
  /** Who gets the client's frames: the rules of a live connection, or the stand-in for a runtime that is gone. */
  #clientSink: FrameSink;
  #outage: Outage | undefined;
  #phase: Phase = "live";
  #failure: TrivetError | undefined;

  constructor(deps: TapDeps) {
    this.#tap = new TapState(deps);
    this.#tap.asEvent = (act) => this.#onDecision(act);
    this.#clientSink = new ClientSide(this.#tap);
    this.#fromClient = new FrameReader("client", {
      onPreface: () => this.#clientSink.onPreface(),
      onFrame: (frame: Frame) => this.#clientSink.onFrame(frame),
      maxPayloadBytes: () => this.#clientSink.maxPayloadBytes(),
    });
    this.#fromUpstream = new FrameReader("upstream", new UpstreamSide(this.#tap));
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Why the connection is over, where that is a peer's fault or a limit's. */
  get failure(): TrivetError | undefined {
    return this.#failure;
  }

  get streams(): number {
    return this.#tap.streams.size;
  }

  /** Calls that the stand-in answered. */
  get answered(): number {
    return this.#outage?.answered ?? 0;
  }

  /** Bytes for the client, in order, since the last call. */
  takeForClient(): readonly Buffer[] {
    return this.#tap.toClient.take();
  }

  takeForUpstream(): readonly Buffer[] {
    return this.#tap.toUpstream.take();
  }

  /** The chunk must not change afterwards: it may leave as it is. */
  clientBytes(chunk: Buffer): void {
    if (this.#phase === "over") return;
    try {
      this.#fromClient.push(chunk);
      this.#endEvent();
    } catch (error) {
      this.#fail(asTrivetError(error, "tap.client", "connection"), "client");
    }
  }

  /** The same for upstream. Once upstream is given up, what it still says is dropped. */
  upstreamBytes(chunk: Buffer): void {
    if (this.#phase !== "live") return;
    try {
      this.#fromUpstream.push(chunk);
      this.#endEvent();
    } catch (error) {
      this.#fail(asTrivetError(error, "tap.upstream", "connection"), "upstream");
    }
  }

  /**
   * Upstream could not be reached or has closed; all that it sent was given to `upstreamBytes` before. A client that knows
   * upstream's SETTINGS is sent away at once; one that has seen nothing yet is served the status until `sendAway`, since a
   * connection that closes before its first call is only tried again.
   */
  upstreamGone(status: OwnStatus): void {
    if (this.#phase !== "live") return;
    const begun = this.#tap.upstreamSettingsSeen;
    this.#standIn(status);
    if (begun) this.sendAway();
  }

  /** Ends the connection with a GOAWAY; calls that are open get `status`. */
  abandon(status: OwnStatus): void {
    if (this.#phase === "live") this.#standIn(status);
    this.sendAway();
  }

  /** Ends the stand-in's service. */
  sendAway(): void {
    if (this.#phase !== "outage") return;
    sendGoaway(this.#tap, ErrorCode.noError);
    this.#finish();
  }

  /** Lets the streams finish, takes no new ones, then is over. */
  drain(): void {
    if (this.#phase === "outage") {
      this.sendAway();
      return;
    }
    if (this.#phase === "over") return;
    announceDrain(this.#tap);
    this.#endEvent();
  }

  /** The client has closed: its calls are over without an answer. */
  clientGone(): void {
    this.#finish();
  }

  /** A decision that a call waited for: an event like bytes of a peer, whose output nobody is about to take. */
  #onDecision(act: () => void): void {
    if (this.#phase !== "live") return;
    try {
      act();
      this.#endEvent();
    } catch (error) {
      this.#fail(asTrivetError(error, "tap.decide", "connection"), "upstream");
    }
    this.#tap.deps.onDecided();
  }

  #standIn(status: OwnStatus): void {
    this.#phase = "outage";
    this.#fromUpstream.stop();
    this.#outage = new Outage(this.#tap, status);
    this.#clientSink = this.#outage;
    this.#outage.begin();
  }

  #endEvent(): void {
    const tap = this.#tap;
    if (this.#phase !== "live") return;
    sendFences(tap);
    settleConnection(tap);
    if (tap.drain === "no") return;
    announceDrain(tap);
    if (tap.drain === "final" && tap.streams.size === 0) this.#finish();
  }

  /** A peer broke the protocol, or a limit was reached: this connection is over, and the calls on it are told. */
  #fail(error: TrivetError, from: Side): void {
    this.#failure = error;
    const clientAtFault = from === "client" && error.kind === "decode";
    if (!clientAtFault && this.#phase === "live") {
      const status = error.kind === "exhausted" ? GrpcStatus.resourceExhausted : GrpcStatus.unavailable;
      this.#standIn({ status, message: `trivet: ${error.message}` });
    }
    if (this.#tap.clientSettingsSeen) sendGoaway(this.#tap, goawayCode(error));
    this.#finish();
  }

  #finish(): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.#fromClient.stop();
    this.#fromUpstream.stop();
    for (const stream of [...this.#tap.streams.values()]) {
      reportEnd(this.#tap, stream, { reset: "connection" });
      removeStream(this.#tap, stream);
    }
  }
}
