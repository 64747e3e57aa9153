/** The frame reader against a plain cutter: same frames for any cutting of any bytes, or an error where there must be one. */

import { type Frame, FrameReader } from "../../src/cri/tap/frame-reader.ts";
import { FRAME_HEADER_BYTES, PREFACE } from "../../src/cri/tap/frames.ts";
import type { Random } from "../../src/cri/tap/testing/random.ts";
import { rawFrame } from "../../src/cri/tap/testing/raw-frames.ts";
import { isKind } from "../../src/errors.ts";
import { check, type FuzzTarget, mutate, pieces, type Verdict } from "./target.ts";

const MAX_PAYLOAD = 300;

interface Expected {
  /** Where each complete frame starts and ends. */
  readonly frames: readonly (readonly [start: number, end: number])[];
  readonly prefaces: number;
  readonly fails: boolean;
}

/** What must come of the bytes, looked at as a whole. */
function expected(bytes: Buffer, preface: Buffer): Expected {
  const begun = bytes.subarray(0, preface.length);
  if (!begun.equals(preface.subarray(0, begun.length))) return { frames: [], prefaces: 0, fails: true };
  const prefaces = preface.length > 0 && begun.length === preface.length ? 1 : 0;
  const frames: [number, number][] = [];
  let at = begun.length;
  while (bytes.length - at >= FRAME_HEADER_BYTES) {
    const length = bytes.readUIntBE(at, 3);
    if (length > MAX_PAYLOAD) return { frames, prefaces, fails: true };
    const end = at + FRAME_HEADER_BYTES + length;
    if (end > bytes.length) break;
    frames.push([at, end]);
    at = end;
  }
  return { frames, prefaces, fails: false };
}

function randomBytes(random: Random, preface: Buffer): Buffer {
  if (random.chance(10)) return random.bytes(random.below(200));
  const frames = Array.from({ length: random.below(8) }, () =>
    rawFrame(random.below(256), random.below(256), {
      streamId: random.below(2 ** 31),
      payload: random.bytes(random.below(random.chance(4) ? MAX_PAYLOAD + 2 : 20)),
    }),
  );
  const valid = Buffer.concat([preface, ...frames]);
  return random.chance(2) ? mutate(random, valid) : valid;
}

function attempt(random: Random): Verdict {
  const side = random.chance(2) ? "client" : "upstream";
  const preface = side === "client" ? PREFACE : Buffer.alloc(0);
  const bytes = randomBytes(random, preface);
  const wanted = expected(bytes, preface);
  let frames = 0;
  let prefaces = 0;
  const onFrame = (frame: Frame) => {
    const [start, end] = wanted.frames[frames++] ?? [0, 0];
    check(end > 0, "a frame too many");
    check(
      bytes.compare(frame.buffer, frame.start, frame.end, start, end) === 0,
      "another frame than was sent",
    );
    const says = [frame.length, frame.type, frame.flags, frame.streamId].join();
    const id = bytes.readUInt32BE(start + 5) & 0x7fff_ffff;
    check(says === [end - start - 9, bytes[start + 3], bytes[start + 4], id].join(), "another header");
  };
  const reader = new FrameReader(side, {
    onPreface: () => prefaces++,
    onFrame,
    maxPayloadBytes: () => MAX_PAYLOAD,
  });
  let failed = false;
  try {
    for (const piece of pieces(random, bytes)) reader.push(piece);
  } catch (error) {
    if (!isKind(error, "decode")) throw error;
    failed = true;
  }
  check(failed === wanted.fails, failed ? "refused" : "not refused");
  check(prefaces === wanted.prefaces, "the preface was told wrongly");
  check(frames === wanted.frames.length, `${frames} of ${wanted.frames.length} frames`);
  return failed ? "refused" : "accepted";
}

export const frameReaderTarget: FuzzTarget = { name: "frame-reader", share: 40, attempt };
