/**
 * The ledger of flow-control windows, for the connection and for every stream: `up` is what we may send upstream, `cli` what
 * the client may send us, `queued` what is ready but unsent. What the client may send beyond what upstream granted is
 * what we have swallowed; so after each event `up - queued - cli`, where positive, is credited to the client, and
 * where negative, later grants of upstream are absorbed until it is made up.
 */
import { windowIncrement } from "./data-frame.ts";
import type { Frame } from "./frame-reader.ts";
import { windowUpdateFrame } from "./frames.ts";
import type { TapState } from "./tap-state.ts";
import type { TapStream } from "./tap-stream.ts";

/** Credits the client on the connection, if something is owed. Once at the end of each event. */
export function settleConnection(tap: TapState): void {
  if (!tap.upstreamSettingsSeen) return; // which must be the first that the client gets
  const credit = tap.connUp - tap.connQueuedBytes - tap.connCli;
  if (credit <= 0) return;
  tap.connCli += credit;
  tap.toClient.own(windowUpdateFrame(0, credit));
}

/** Credits the client on a stream, if something is owed and it may still send. */
export function settleStream(tap: TapState, stream: TapStream): void {
  if (stream.clientEnded || !tap.upstreamSettingsSeen) return;
  const credit = stream.up - stream.queuedBytes - stream.cli;
  if (credit <= 0) return;
  stream.cli += credit;
  tap.toClient.own(windowUpdateFrame(stream.id, credit));
}

/** Hands on upstream's grant for the connection: as it came where nothing is swallowed, else as far as it is owed. */
export function grantConnection(tap: TapState, frame: Frame): void {
  const credit = tap.connUp - tap.connQueuedBytes - tap.connCli;
  if (credit !== windowIncrement("upstream", frame)) {
    settleConnection(tap);
    return;
  }
  tap.connCli += credit;
  tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
}

/** The same for a stream. After the client's END_STREAM only what nobody altered goes on. */
export function grantStream(tap: TapState, stream: TapStream, frame: Frame): void {
  const credit = stream.up - stream.queuedBytes - stream.cli;
  if (credit !== windowIncrement("upstream", frame)) {
    settleStream(tap, stream);
    return;
  }
  stream.cli += credit;
  tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
}

/** Upstream's INITIAL_WINDOW_SIZE, at the moment that the client's acknowledgement goes on: both sides count from here. */
export function applyInitialWindow(tap: TapState, bytes: number): void {
  const change = bytes - tap.initialWindowBytes;
  tap.initialWindowBytes = bytes;
  if (change === 0) return;
  for (const stream of tap.streams.values()) {
    stream.up += change;
    stream.cli += change;
  }
}
