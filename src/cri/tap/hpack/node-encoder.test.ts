import http2 from "node:http2";
import { duplexPair } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE } from "../frames.ts";
import { FrameCutter } from "../testing/raw-frames.ts";
import { HpackDecoder } from "./decoder.ts";

type Fields = Record<string, string>;

/** What Node's client sends for these requests, field by field, decoded by ours; and the size of our table at the end. */
async function capture(
  requests: readonly Fields[],
  tableBytes: number,
): Promise<{ seen: Fields[]; tableBytes: number }> {
  const [clientEnd, near] = duplexPair();
  const [serverEnd, far] = duplexPair();
  const server = http2.createServer({ settings: { headerTableSize: tableBytes } });
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200 }, { endStream: true });
  });
  server.emit("connection", serverEnd);
  const decoder = new HpackDecoder();
  const cutter = new FrameCutter();
  const seen: Fields[] = [];
  let skip = PREFACE.length;
  near.on("data", (chunk: Buffer) => {
    far.write(chunk);
    const from = Math.min(skip, chunk.length);
    skip -= from;
    for (const frame of cutter.push(chunk.subarray(from))) {
      if (frame.type === FrameType.settings && (frame.flags & Flag.ack) !== 0) decoder.setLimit(tableBytes);
      if (frame.type !== FrameType.headers) continue;
      const fields: Fields = {};
      const start = (frame.flags & Flag.priority) === 0 ? 0 : 5;
      const range = { start, end: frame.payload.length };
      decoder.decode(frame.payload, range, {
        field(name, value) {
          fields[name] = value;
        },
      });
      seen.push(fields);
    }
  });
  far.on("data", (chunk: Buffer) => near.write(chunk));
  const session = http2.connect("http://localhost", { createConnection: () => clientEnd });
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  for (const fields of requests) {
    await new Promise((resolve) => {
      const stream = session.request(
        { ":method": "POST", ":path": "/t.T/Echo", ...fields },
        { endStream: true },
      );
      stream.on("close", resolve);
      stream.resume();
    });
  }
  session.destroy();
  for (const end of [near, far, clientEnd, serverEnd]) end.destroy();
  return { seen, tableBytes: decoder.tableMaxBytes };
}

/** Every octet that Node lets into a header value: all of latin-1 but the control characters. */
const everyOctet = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet))
  .filter((character) => character >= " " && character !== "\x7f")
  .join("")
  .trim();

describe("header blocks of Node's encoder", () => {
  it.each([4096, 256, 0, 65_536])(
    "decode to what was sent, with a table of %i octets",
    async (tableBytes) => {
      const requests = Array.from({ length: 60 }, (_, at) => ({
        "grpc-timeout": `${at}00m`,
        "x-all": everyOctet.slice(at % 7),
        [`x-key-${at % 5}`]: "v".repeat(at * 3),
        "user-agent": "grpc-go/1.51.0",
      }));
      const { seen, tableBytes: used } = await capture(requests, tableBytes);
      expect(seen).toHaveLength(requests.length);
      seen.forEach((fields, at) => {
        expect(fields).toEqual({
          ":method": "POST",
          ":path": "/t.T/Echo",
          ":scheme": "http",
          ":authority": "localhost:80",
          ...requests[at],
        });
      });
      expect(used).toBeLessThanOrEqual(Math.max(tableBytes, 0));
    },
  );

  it("decode for arbitrary fields", async () => {
    const text = fc.string({ unit: fc.constantFrom(...everyOctet.replaceAll(" ", "")), maxLength: 60 });
    const name = fc.string({
      unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz-0123456789"),
      minLength: 1,
    });
    const all = fc.sample(
      fc.dictionary(
        name.map((tail) => `x${tail}`),
        text,
        { maxKeys: 8, noNullPrototype: true },
      ),
      { numRuns: 80, seed: 7541 },
    );
    const { seen } = await capture(all, 4096);
    seen.forEach((fields, at) => {
      for (const [key, value] of Object.entries(all[at] ?? {}))
        expect([key, fields[key]]).toEqual([key, value]);
    });
    expect(seen).toHaveLength(all.length);
  });
});
