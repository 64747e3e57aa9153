/** What tests of the state machine say over and over: frames as short texts, and the usual decisions. */
import { Flag, FrameType } from "../frames.ts";
import type { EditDecision } from "../hooks.ts";
import type { RawFrame } from "./raw-frames.ts";
import type { Wire } from "./wire.ts";

const names = Object.fromEntries(Object.entries(FrameType).map(([name, type]) => [type, name]));

/** A frame as a short text: `data 1 END 12`, `windowUpdate 0 +100`. */
export function show(frame: RawFrame): string {
  const flagged = frame.type === FrameType.data || frame.type === FrameType.headers;
  const end = flagged && (frame.flags & Flag.endStream) !== 0 ? " END" : "";
  const ack = !flagged && (frame.flags & Flag.ack) !== 0 ? " ACK" : "";
  const tail: Record<number, () => string> = {
    [FrameType.data]: () => ` ${frame.payload.length}`,
    [FrameType.windowUpdate]: () => ` +${frame.payload.readUInt32BE(0)}`,
    [FrameType.rstStream]: () => ` ${frame.payload.readUInt32BE(0)}`,
    [FrameType.goaway]: () => ` ${frame.payload.readUInt32BE(0)}`,
  };
  return `${names[frame.type]} ${frame.streamId}${end}${ack}${tail[frame.type]?.() ?? ""}`;
}

export const toUpstream = (wire: Wire) => wire.upstreamFrames().map(show);
export const toClient = (wire: Wire) => wire.clientFrames().map(show);

export const append =
  (bytes: Uint8Array) =>
  (before: Uint8Array): EditDecision => ({
    action: "replace",
    message: Buffer.concat([before, bytes]),
  });
export const forward = (): EditDecision => ({ action: "forward" });
export const deny = (): EditDecision => ({ action: "deny", status: 7, message: "trivet: no 100% ü" });
export const PATH = "/runtime.v1.RuntimeService/CreateContainer";
