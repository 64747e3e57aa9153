/**
 * The two sockets of one tapped connection: moves bytes between them and the state machine, respects their backpressure, and
 * closes them in the order that loses nothing. Decides nothing about streams.
 */
import { connect, type Socket } from "node:net";
import type { Log } from "../../observe/log.ts";
import { cannotDial, connectionLost, stopping } from "./runtime-gone.ts";
import type { TapMachine } from "./tap-machine.ts";
import { keepReadingAfterWriteErrors } from "./upstream-socket.ts";
import { writePieces } from "./write-pieces.ts";

/** What a link connects, and whom it tells. */
export interface LinkOptions {
  readonly client: Socket;
  readonly machine: TapMachine;
  readonly upstreamPath: string;
  readonly connectionId: number;
  readonly log: Log;
  readonly stallProbeMs: number;
  onClosed(): void;
  /** The runtime took the connection, or it did not, or it closed it with calls open: `lost` says how. */
  onRuntime(state: "there" | "away" | "lost", reason: string): void;
}

/** connect(2) says EAGAIN while the listener's queue is full: a busy runtime, not an absent one. */
const BUSY_RETRY_MS = 20;
const BUSY_RETRIES = 100;
/** How long a client is still answered after its first failed call, before it is sent off to dial anew. */
const STAND_IN_MS = 200;
/** The same for a client that makes no call at all. */
const STAND_IN_IDLE_MS = 2_000;
/** For what the other side still has to do with a connection that we have ended. */
const FAREWELL_MS = 2_000;
/** Upstream takes no bytes any more: this long what it still has to say is awaited. */
const LAST_WORDS_MS = 500;
/** Unread answers of ours to a client that keeps asking: beyond this its requests wait. */
const CONTROL_BACKLOG_BYTES = 1 << 20;

/** Lives from the accepted socket until both sockets are closed; `onClosed` is its last act. */
export class Link {
  readonly #options: LinkOptions;
  readonly #client: Socket;
  readonly #machine: TapMachine;
  #upstream: Socket | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  #standInEnds: "not set" | "when idle" | "after call" = "not set";
  #clientPaused = true;
  #upstreamPaused = false;
  #probing = false;
  #ended = false;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#machine = options.machine;
    this.#client.pause();
    this.#client.on("data", (chunk: Buffer) => {
      this.#machine.clientBytes(chunk);
      this.#flush();
    });
    this.#client.pause(); // a data listener sets the socket flowing
    this.#client.on("drain", () => this.#throttle());
    this.#client.on("error", () => this.#client.destroy());
    this.#client.on("end", () => this.#clientGone());
    this.#client.on("close", () => this.#clientGone());
    this.#dial(BUSY_RETRIES);
  }

  get machine(): TapMachine {
    return this.#machine;
  }

  /** A decision was made meanwhile. */
  onDecided(): void {
    this.#flush();
  }

  drain(): void {
    this.#machine.drain();
    this.#flush();
  }

  /** Answers what is open, and ends the connection. */
  abandon(): void {
    this.#machine.abandon(stopping);
    this.#flush();
  }

  destroy(): void {
    this.#machine.clientGone();
    this.#upstream?.destroy();
    this.#client.destroy();
    this.#settle();
  }

  #dial(retries: number): void {
    const upstream = connect({ path: this.#options.upstreamPath, allowHalfOpen: true });
    let connected = false;
    let lost: string | undefined;
    this.#upstream = upstream;
    keepReadingAfterWriteErrors(upstream, (code) => {
      lost ??= code;
      this.#awaitLastWords(upstream);
    });
    upstream.on("error", (error: NodeJS.ErrnoException) => {
      lost ??= error.code;
    });
    upstream.on("connect", () => {
      connected = true;
      this.#options.onRuntime("there", "");
      this.#throttle();
    });
    upstream.on("data", (chunk: Buffer) => {
      this.#machine.upstreamBytes(chunk);
      this.#flush();
    });
    upstream.on("drain", () => this.#throttle());
    upstream.on("end", () => upstream.destroy()); // no answer can come any more, so nothing more need be sent
    upstream.on("close", () => {
      if (this.#upstream !== upstream) return;
      this.#readRest(upstream);
      if (!connected && lost === "EAGAIN" && retries > 0 && this.#machine.phase === "live") {
        this.#upstream = undefined;
        this.#later(BUSY_RETRY_MS, () => this.#dial(retries - 1));
        return;
      }
      this.#upstreamGone(connected, lost);
    });
  }

  /** A reset destroys the socket over what it has read and not handed on yet, as it does when the client is slow. */
  #readRest(upstream: Socket): void {
    for (let rest = upstream.read(); rest !== null; rest = upstream.read()) this.#machine.upstreamBytes(rest);
  }

  /** Upstream takes nothing more. What it said is still read, until it is silent though nothing holds it up. */
  #awaitLastWords(upstream: Socket): void {
    const before = upstream.bytesRead;
    const check = () => {
      if (this.#upstreamPaused || upstream.bytesRead !== before) this.#awaitLastWords(upstream);
      else upstream.destroy();
    };
    // A process that was starved finds its timers due before it has looked at its sockets.
    this.#later(LAST_WORDS_MS, () => setImmediate(check));
  }

  #upstreamGone(connected: boolean, code: string | undefined): void {
    this.#upstream = undefined;
    const path = this.#options.upstreamPath;
    if (this.#machine.phase === "live") {
      const status = connected ? connectionLost(path, code) : cannotDial(path, code ?? "closed");
      this.#options.onRuntime(connected ? "lost" : "away", status.message);
      this.#machine.upstreamGone(status);
    }
    this.#flush();
  }

  #clientGone(): void {
    this.#machine.clientGone();
    this.#flush();
    if (this.#client.destroyed) this.#settle();
  }

  /** Writes what the machine has for either side, then looks at how the sockets stand. */
  #flush(): void {
    const forUpstream = this.#machine.takeForUpstream();
    // Upstream first: what the client gets may make it send more.
    if (this.#upstream !== undefined) writePieces(this.#upstream, forUpstream);
    writePieces(this.#client, this.#machine.takeForClient());
    if (this.#machine.phase === "outage") this.#limitStandIn();
    if (this.#machine.phase === "over") this.#end();
    this.#throttle();
  }

  /** The first failed call, or a while without any, puts an end to the stand-in's service. */
  #limitStandIn(): void {
    const called = this.#machine.answered > 0;
    const when = called ? "after call" : "when idle";
    if (this.#standInEnds === when) return;
    this.#standInEnds = when;
    this.#later(called ? STAND_IN_MS : STAND_IN_IDLE_MS, () => {
      this.#machine.sendAway();
      this.#flush();
    });
  }

  /** A side that does not take what is for it stops the other side from sending more. */
  #throttle(): void {
    const upstream = this.#upstream;
    // Nothing is read before there is somebody to pass it to.
    const dialing = upstream?.connecting ?? false;
    const over = this.#machine.phase === "over";
    const stopClient =
      !over &&
      (dialing ||
        (upstream?.writableNeedDrain ?? this.#machine.phase === "live") ||
        this.#client.writableLength > CONTROL_BACKLOG_BYTES);
    if (stopClient !== this.#clientPaused) {
      this.#clientPaused = stopClient;
      if (stopClient) this.#stopClient();
      else this.#client.resume();
    }
    const stopUpstream = this.#client.writableNeedDrain && !over;
    if (upstream !== undefined && stopUpstream !== this.#upstreamPaused) {
      this.#upstreamPaused = stopUpstream;
      if (stopUpstream) upstream.pause();
      else upstream.resume();
    }
  }

  /**
   * A socket that is not read does not tell that its peer is gone. So that a runtime which hangs does not collect connections
   * of clients that gave up, one read is allowed now and then: what it may bring is bounded by the windows.
   */
  #stopClient(): void {
    this.#client.pause();
    if (this.#probing || this.#upstream === undefined || this.#upstream.connecting) return;
    this.#probing = true;
    this.#later(this.#options.stallProbeMs, () => {
      this.#probing = false;
      if (!this.#clientPaused) return;
      this.#clientPaused = false;
      this.#client.resume();
      // Whatever comes of it, the pause is due again.
      setImmediate(() => this.#throttle());
    });
  }

  /** end() and not destroy() towards the client: answers may still be on their way to it. */
  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const { failure } = this.#machine;
    if (failure !== undefined) {
      this.#options.log.warn("connection closed", {
        connection: this.#options.connectionId,
        reason: failure.message,
        kind: failure.kind,
      });
    }
    this.#upstream?.destroySoon();
    this.#client.end();
    this.#awaitFarewell(this.#client.writableLength);
  }

  /** The client has this long to close, from when it last took something. */
  #awaitFarewell(unsentBytes: number): void {
    this.#later(FAREWELL_MS, () => {
      const left = this.#client.writableLength;
      if (left < unsentBytes) this.#awaitFarewell(left);
      else this.#client.destroy();
    });
  }

  #settle(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    const upstream = this.#upstream;
    if (upstream !== undefined && !upstream.destroyed) {
      upstream.destroySoon();
      setTimeout(() => upstream.destroy(), FAREWELL_MS).unref();
    }
    this.#options.onClosed();
  }

  #later(ms: number, act: () => void): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }
}
