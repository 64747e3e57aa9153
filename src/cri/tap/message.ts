/** One gRPC message on the wire (gRPC over HTTP/2, "Length-Prefixed-Message"): its prefix, and its decompression. */
import { gunzipSync, inflateSync } from "node:zlib";
import type { OwnStatus } from "./tap-stream.ts";

/** One octet of compression flag, four of length. */
export const MESSAGE_PREFIX_BYTES = 5;

/** gRPC status codes that the tap gives itself. */
export const GrpcStatus = { resourceExhausted: 8, unimplemented: 12, internal: 13, unavailable: 14 } as const;

const decompressors = new Map([
  ["gzip", gunzipSync],
  ["deflate", inflateSync],
]);

/** Octets of the whole message, prefix included, as the prefix at `at` says. */
export function framedBytes(buffer: Buffer, at: number): number {
  return MESSAGE_PREFIX_BYTES + buffer.readUInt32BE(at + 1);
}

/** Whether `gathered[0, length)` is one message and no more. */
export function isWhole(gathered: Buffer, length: number): boolean {
  return length >= MESSAGE_PREFIX_BYTES && length === framedBytes(gathered, 0);
}

/**
 * `gathered[0, length)` with `bytes` behind: in the same buffer, or in a new one where that is full. It doubles up to what the
 * prefix says: the prefix alone must not make us allocate what may never come.
 */
export function appended(gathered: Buffer | undefined, length: number, bytes: Buffer): Buffer {
  const needed = length + bytes.length;
  let into = gathered;
  if (into === undefined || into.length < needed) {
    const first = into ?? bytes;
    const known = (into === undefined ? bytes.length : length) >= MESSAGE_PREFIX_BYTES;
    const whole = known ? framedBytes(first, 0) : MESSAGE_PREFIX_BYTES;
    into = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(whole, 2 * needed)));
    gathered?.copy(into, 0, 0, length);
  }
  bytes.copy(into, length);
  return into;
}

/** The prefix of an uncompressed message. */
export function messagePrefix(bytes: number): Buffer {
  const prefix = Buffer.alloc(MESSAGE_PREFIX_BYTES);
  prefix.writeUInt32BE(bytes, 1);
  return prefix;
}

/** The protobuf bytes of a framed message, or why they cannot be had. `maxBytes` bounds what it may decompress to. */
export function unframe(
  framed: Buffer,
  { encoding, maxBytes }: { encoding: string; maxBytes: number },
): Buffer | OwnStatus {
  const payload = framed.subarray(MESSAGE_PREFIX_BYTES);
  if (framed[0] === 0) return payload;
  if (framed[0] !== 1) return internal(`a request message with compression flag ${framed[0]}`);
  if (encoding === "identity") return internal("a compressed request message without grpc-encoding");
  const unpack = decompressors.get(encoding);
  if (unpack === undefined) {
    return {
      status: GrpcStatus.unimplemented,
      message: `trivet: grpc-encoding ${encoding} is not known: send requests that policies look at as gzip, deflate or identity`,
    };
  }
  try {
    return unpack(payload, { maxOutputLength: maxBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") return tooLarge(maxBytes);
    return internal(`a request message that is not valid ${encoding}`);
  }
}

/** What gRPC servers say of a message beyond their limit. */
export function tooLarge(maxBytes: number): OwnStatus {
  return {
    status: GrpcStatus.resourceExhausted,
    message: `trivet: the request message is larger than ${maxBytes} bytes`,
  };
}

/** For what a conforming client never sends, and for bugs of ours. */
export function internal(what: string): OwnStatus {
  return { status: GrpcStatus.internal, message: `trivet: ${what}` };
}
