/**
 * SETTINGS and their acknowledgements, in order and by owner (RFC 9113, section 6.5.3): what a side announces takes effect
 * when the other side's acknowledgement goes on, and acknowledgements of our fences go no further.
 */
import { answerFenced } from "./denial.ts";
import type { Frame } from "./frame-reader.ts";
import { Flag, FRAME_HEADER_BYTES, Setting } from "./frames.ts";
import { applyInitialWindow, settleStream } from "./ledger.ts";
import { malformed, type Side } from "./malformed.ts";
import { flushStream } from "./sender.ts";
import type { AwaitedByClient, AwaitedByUpstream, TapState } from "./tap-state.ts";

const ENTRY_BYTES = 6;
const MAX_WINDOW_BYTES = 0x7fff_ffff;

interface Announced {
  headerTableBytes: number | undefined;
  /** The lowest where it is given more than once: an encoder must say that it went there (RFC 7541, section 4.2). */
  lowestTableBytes: number | undefined;
  initialWindowBytes: number | undefined;
  maxFrameBytes: number | undefined;
}

function parse(side: Side, frame: Frame): Announced {
  const found: Announced = {
    headerTableBytes: undefined,
    lowestTableBytes: undefined,
    initialWindowBytes: undefined,
    maxFrameBytes: undefined,
  };
  if (frame.length % ENTRY_BYTES !== 0) throw malformed(side, `a SETTINGS frame of ${frame.length} octets`);
  for (let at = frame.start + FRAME_HEADER_BYTES; at < frame.end; at += ENTRY_BYTES) {
    const id = frame.buffer.readUInt16BE(at);
    const value = frame.buffer.readUInt32BE(at + 2);
    if (id === Setting.headerTableSize) {
      found.headerTableBytes = value;
      found.lowestTableBytes = Math.min(value, found.lowestTableBytes ?? value);
    } else if (id === Setting.initialWindowSize) found.initialWindowBytes = value;
    else if (id === Setting.maxFrameSize) found.maxFrameBytes = value;
  }
  if ((found.initialWindowBytes ?? 0) > MAX_WINDOW_BYTES)
    throw malformed(side, "an initial window above 2^31-1");
  return found;
}

function isAck(side: Side, frame: Frame): boolean {
  if (frame.streamId !== 0) throw malformed(side, `SETTINGS on stream ${frame.streamId}`);
  const ack = (frame.flags & Flag.ack) !== 0;
  if (ack && frame.length > 0) throw malformed(side, "a SETTINGS acknowledgement with a payload");
  return ack;
}

/** A SETTINGS frame, or an acknowledgement, from the client. */
export function onClientSettings(tap: TapState, frame: Frame): void {
  if (isAck("client", frame)) {
    const settled = tap.awaitedByClient.shift();
    if (settled === undefined) throw malformed("client", "a SETTINGS acknowledgement for nothing");
    tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
    applyUpstreamSettings(tap, settled);
    return;
  }
  const found = parse("client", frame);
  tap.clientSettingsSeen = true;
  tap.clientMaxFrameBytes = Math.max(tap.clientMaxFrameBytes, found.maxFrameBytes ?? 0);
  // An encoder may use more as soon as it knows; that it must use less, it owes only after its acknowledgement.
  if ((found.headerTableBytes ?? 0) > tap.responseDecoder.limitBytes) {
    tap.responseDecoder.setLimit(found.headerTableBytes ?? 0);
  }
  tap.awaitedByUpstream.push({ owner: "client", ...found });
  tap.toUpstream.verbatim(frame.buffer, frame.start, frame.end);
}

/** The client counts by upstream's settings from here on. */
function applyUpstreamSettings(tap: TapState, settled: AwaitedByClient): void {
  if (settled.headerTableBytes !== undefined) tap.requestDecoder.setLimit(settled.headerTableBytes);
  if (settled.initialWindowBytes === undefined) return;
  applyInitialWindow(tap, settled.initialWindowBytes);
  // Behind the acknowledgement: upstream counts by the new window from there on.
  for (const stream of [...tap.blocked]) flushStream(tap, stream);
}

/** A SETTINGS frame, or an acknowledgement, from upstream. */
export function onUpstreamSettings(tap: TapState, frame: Frame): void {
  if (isAck("upstream", frame)) {
    const settled = tap.awaitedByUpstream.shift();
    if (settled === undefined) throw malformed("upstream", "a SETTINGS acknowledgement for nothing");
    if (settled.owner === "tap") {
      answerFenced(tap, settled.fenced);
      return;
    }
    tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
    applyClientSettings(tap, settled);
    return;
  }
  const found = parse("upstream", frame);
  tap.upstreamMaxFrameBytes = Math.max(tap.upstreamMaxFrameBytes, found.maxFrameBytes ?? 0);
  if ((found.headerTableBytes ?? 0) > tap.requestDecoder.limitBytes) {
    tap.requestDecoder.setLimit(found.headerTableBytes ?? 0);
  }
  tap.awaitedByClient.push(found);
  tap.toClient.verbatim(frame.buffer, frame.start, frame.end);
  if (tap.upstreamSettingsSeen) return;
  tap.upstreamSettingsSeen = true;
  for (const stream of tap.streams.values()) settleStream(tap, stream); // a client need not wait for SETTINGS
}

/** Whoever sends header blocks to the client, upstream or the tap, does so by the client's settings from here on. */
export function applyClientSettings(tap: TapState, settled: AwaitedByUpstream): void {
  if (settled.owner !== "client" || settled.headerTableBytes === undefined) return;
  tap.responseDecoder.setLimit(settled.headerTableBytes);
  const lowest = settled.lowestTableBytes ?? settled.headerTableBytes;
  if (lowest < tap.responseDecoder.tableMaxBytes) {
    tap.tableFloorBytes = Math.min(lowest, tap.tableFloorBytes ?? lowest);
  }
}
