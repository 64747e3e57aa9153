import http2 from "node:http2";
import { duplexPair } from "node:stream";
import { describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE } from "../frames.ts";
import { HpackWriter } from "../testing/hpack-writer.ts";
import { createRandom, type Random } from "../testing/random.ts";
import { rawFrame, settings } from "../testing/raw-frames.ts";
import { HpackDecoder } from "./decoder.ts";

type Field = [name: string, value: string];

const BLOCKS = 150;

function fieldsOf(random: Random, at: number): Field[] {
  const more = Array.from({ length: random.below(5) }, (): Field => {
    const value = random.bytes(random.below(30)).toString(random.chance(2) ? "hex" : "base64");
    return [`x-${random.below(6)}`, value];
  });
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", `/t.T/${at % 20}`],
    [":authority", "localhost"],
    ...more,
    ["grpc-timeout", `${random.below(50)}S`],
  ];
}

/** What Node's stack (nghttp2) reads from blocks that are written in any way there is. */
async function readByNode(blocks: readonly Buffer[]): Promise<Field[][]> {
  const [near, far] = duplexPair();
  const seen: Field[][] = [];
  const server = http2.createServer({ settings: { maxConcurrentStreams: 10 * BLOCKS } });
  const all = new Promise<void>((resolve, reject) => {
    server.on("sessionError", reject);
    server.on("stream", (stream, _headers, _flags, rawHeaders: string[]) => {
      stream.on("error", () => undefined);
      const pairs = Array.from(
        { length: rawHeaders.length / 2 },
        (_, at): Field => [rawHeaders[2 * at] ?? "", rawHeaders[2 * at + 1] ?? ""],
      );
      seen.push(pairs);
      if (seen.length === blocks.length) resolve();
    });
  });
  near.resume();
  server.emit("connection", far);
  near.write(Buffer.concat([PREFACE, settings()]));
  const flags = Flag.endHeaders | Flag.endStream;
  blocks.forEach((payload, at) => {
    near.write(rawFrame(FrameType.headers, flags, { streamId: 1 + 2 * at, payload }));
  });
  await all;
  for (const end of [near, far]) end.destroy();
  return seen;
}

describe("header blocks written in every way there is", () => {
  it.each([1, 2, 3, 4])(
    "are read alike by nghttp2, by the decoder, and as they were meant (%i)",
    async (seed) => {
      const random = createRandom(seed);
      const writer = new HpackWriter(random);
      const meant = Array.from({ length: BLOCKS }, (_, at) => fieldsOf(random, at));
      const blocks = meant.map((fields) => writer.block(fields));
      const decoder = new HpackDecoder();
      const ours = blocks.map((block) => {
        const fields: Field[] = [];
        decoder.decode(block, { start: 0, end: block.length }, { field: (...field) => fields.push(field) });
        return fields;
      });
      expect(ours).toEqual(meant);
      expect(await readByNode(blocks)).toEqual(meant);
    },
  );
});
