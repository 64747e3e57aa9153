/** A wire past its opening: both sides have exchanged SETTINGS, and what they said is off the record. */
import { PREFACE } from "../frames.ts";
import { settings, settingsAck } from "./raw-frames.ts";
import { Wire, type WireOptions } from "./wire.ts";

interface Opening extends WireOptions {
  readonly client?: Readonly<Record<number, number>>;
  readonly upstream?: Readonly<Record<number, number>>;
}

/** `client` and `upstream` are what each side says in its SETTINGS, by number. */
export function startWire(options: Opening = {}): Wire {
  const wire = new Wire(options);
  const kept = wire.onUpstreamBytes;
  // The preface is not a frame: let the first bytes by, then cut.
  let skip = PREFACE.length;
  wire.onUpstreamBytes = (bytes) => {
    const from = Math.min(skip, bytes.length);
    skip -= from;
    kept(bytes.subarray(from));
  };
  wire.fromClient(PREFACE, settings(options.client));
  wire.fromUpstream(settings(options.upstream), settingsAck);
  wire.fromClient(settingsAck);
  wire.clientFrames();
  wire.upstreamFrames();
  return wire;
}
