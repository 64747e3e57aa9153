import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isKind } from "../../errors.ts";
import { type Frame, FrameReader } from "./frame-reader.ts";
import { PREFACE } from "./frames.ts";
import { rawFrame } from "./testing/raw-frames.ts";

/** Feeds `chunks` to a reader; frames come back as their bytes. */
function read(
  chunks: readonly Buffer[],
  options: { side?: "client" | "upstream"; max?: number; stopAfter?: number } = {},
) {
  const frames: Buffer[] = [];
  const buffers: Buffer[] = [];
  let prefaces = 0;
  const reader = new FrameReader(options.side ?? "upstream", {
    onPreface: () => prefaces++,
    onFrame(frame: Frame) {
      frames.push(Buffer.from(frame.buffer.subarray(frame.start, frame.end)));
      buffers.push(frame.buffer);
      if (frames.length === options.stopAfter) reader.stop();
    },
    maxPayloadBytes: () => options.max ?? 16_384,
  });
  for (const chunk of chunks) reader.push(chunk);
  return { frames, buffers, prefaces };
}

/** Cuts `bytes` at the given places. */
function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...at, bytes.length].map((end, index) => bytes.subarray(at[index - 1] ?? 0, end));
}

const someFrames = [
  rawFrame(0, 1, { streamId: 1, payload: Buffer.from("hello") }),
  rawFrame(4, 1),
  rawFrame(250, 255, { streamId: 0x7fff_ffff, payload: Buffer.alloc(300, 7) }),
  rawFrame(6, 0, { payload: Buffer.alloc(8) }),
];

describe("the frame reader", () => {
  it("finds the same frames in any chunks, the empty one included", () => {
    const bytes = Buffer.concat(someFrames);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 30 }), (places) => {
        expect(read(cutAt(bytes, places)).frames).toEqual(someFrames);
      }),
    );
    expect(read([Buffer.alloc(0), bytes]).frames).toEqual(someFrames);
  });

  it("finds them octet by octet, behind a preface cut likewise", () => {
    const bytes = Buffer.concat([PREFACE, ...someFrames]);
    const octets = Array.from(bytes, (octet) => Buffer.from([octet]));
    const { frames, prefaces } = read(octets, { side: "client" });
    expect(frames).toEqual(someFrames);
    expect(prefaces).toBe(1);
  });

  it("hands frames on in place where a chunk holds them whole", () => {
    const chunk = Buffer.concat(someFrames);
    expect(read([chunk]).buffers.every((buffer) => buffer === chunk)).toBe(true);
  });

  it("ignores the reserved bit of the stream's number", () => {
    const frame = rawFrame(0, 0, { streamId: 5 });
    frame[5] = 0x80;
    let id = 0;
    const sink = {
      onPreface: () => undefined,
      maxPayloadBytes: () => 10,
      onFrame: (found: Frame) => {
        id = found.streamId;
      },
    };
    new FrameReader("upstream", sink).push(frame);
    expect(id).toBe(5);
  });

  it("hands nothing on after it was stopped, not even from the same chunk", () => {
    expect(read([Buffer.concat(someFrames), ...someFrames], { stopAfter: 2 }).frames).toHaveLength(2);
  });

  it.each([
    ["at once", [rawFrame(0, 0, { payload: Buffer.alloc(101) })]],
    [
      "when only its header came, before any memory is spent on it",
      [Buffer.from([255, 255, 255, 0, 0, 0, 0, 0, 1])],
    ],
    ["when even that came in two pieces", [Buffer.from([255, 255, 255, 0]), Buffer.from([0, 0, 0, 0, 1])]],
  ])("refuses a frame that is too large, %s", (_, chunks) => {
    try {
      read(chunks, { max: 100 });
      expect.fail("it was accepted");
    } catch (error) {
      expect(isKind(error, "decode")).toBe(true);
      expect((error as Error).message).toContain("octets where 100 are allowed");
    }
  });

  it.each(["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "\u0016\u0003\u0001"])(
    "refuses the preface %j",
    (text) => {
      expect(() => read([Buffer.from(text, "latin1")], { side: "client" })).toThrow(
        "no HTTP/2 connection preface",
      );
    },
  );
});
