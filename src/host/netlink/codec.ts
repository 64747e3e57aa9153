/**
 * The bytes of netlink(7): headers, attributes, acknowledgements. Pure: no socket, no meaning of any attribute.
 * Integers are in host byte order, which is little-endian on every processor that Trivet is built for; nf_tables
 * alone uses network order inside attributes and says so by the name of the method.
 */

/** Flags of a request (netlink(7)). */
export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const HEADER_BYTES = 16;

const align = (length: number): number => (length + 3) & ~3;

/** One request before it has a sequence number. `op` and `subject` name it in errors. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  /** The family's fixed header and the attributes. */
  readonly payload: Uint8Array;
  readonly op: string;
  readonly subject: string;
}

/** One message of an answer. */
export interface NetlinkReply {
  readonly type: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

/** The end of a request: `errno` is 0 for success; `detail` is the kernel's extended acknowledgement. */
export interface NetlinkAck {
  readonly sequence: number;
  readonly errno: number;
  readonly detail: string | undefined;
}

/** Collects attributes; nested ones through a callback, so that lengths are always right. */
export class AttributeWriter {
  readonly #chunks: Buffer[] = [];

  bytes(type: number, value: Uint8Array): this {
    const attribute = Buffer.alloc(align(4 + value.length));
    attribute.writeUInt16LE(4 + value.length, 0);
    attribute.writeUInt16LE(type, 2);
    attribute.set(value, 4);
    this.#chunks.push(attribute);
    return this;
  }

  u8(type: number, value: number): this {
    return this.bytes(type, Uint8Array.of(value));
  }

  u32(type: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.bytes(type, bytes);
  }

  /** In network byte order, as nf_tables wants it. */
  u32BigEndian(type: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return this.bytes(type, bytes);
  }

  /** With its closing NUL. */
  text(type: number, value: string): this {
    return this.bytes(type, Buffer.from(`${value}\0`));
  }

  /** `prefix` goes before the nested attributes: VETH_INFO_PEER starts with an ifinfomsg. */
  nest(type: number, fill: (inner: AttributeWriter) => void, prefix: Uint8Array = new Uint8Array()): this {
    const inner = new AttributeWriter();
    fill(inner);
    return this.bytes(type | NLA_F_NESTED, Buffer.concat([prefix, inner.finish()]));
  }

  /** All attributes of another writer, at this level. */
  append(other: AttributeWriter): this {
    this.#chunks.push(other.finish());
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

/** The attributes in `bytes` by type. Of a repeated type the last one stays, as in the kernel's own parser. */
export function readAttributes(bytes: Buffer): Map<number, Buffer> {
  return new Map(listAttributes(bytes));
}

/** The attributes in order, for lists in which one type repeats. What is cut off is ignored. */
export function listAttributes(bytes: Buffer): [type: number, value: Buffer][] {
  const found: [number, Buffer][] = [];
  let offset = 0;
  while (offset + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) break;
    found.push([bytes.readUInt16LE(offset + 2) & NLA_TYPE_MASK, bytes.subarray(offset + 4, offset + length)]);
    offset += align(length);
  }
  return found;
}

/** Text up to its NUL. */
export function attributeText(value: Buffer | undefined): string | undefined {
  if (!value) return undefined;
  const end = value.indexOf(0);
  return value.toString("utf8", 0, end < 0 ? value.length : end);
}

/** Header and payload, padded for the next message of a batch. */
export function encodeMessage(message: NetlinkMessage, sequence: number): Buffer {
  const length = HEADER_BYTES + message.payload.length;
  const bytes = Buffer.alloc(align(length));
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(message.type, 4);
  bytes.writeUInt16LE(message.flags | NLM_F_REQUEST, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.set(message.payload, HEADER_BYTES);
  return bytes;
}

/** Splits what one recv(2) gave into data and acknowledgements (NLMSG_ERROR, and NLMSG_DONE of a dump). */
export function decodeDatagram(bytes: Buffer): { replies: NetlinkReply[]; acks: NetlinkAck[] } {
  const replies: NetlinkReply[] = [];
  const acks: NetlinkAck[] = [];
  let offset = 0;
  while (offset + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > bytes.length) break;
    const type = bytes.readUInt16LE(offset + 4);
    const flags = bytes.readUInt16LE(offset + 6);
    const sequence = bytes.readUInt32LE(offset + 8);
    const payload = bytes.subarray(offset + HEADER_BYTES, offset + length);
    if (type === NLMSG_ERROR) acks.push(decodeError(payload, flags, sequence));
    else if (type === NLMSG_DONE) acks.push({ sequence, errno: doneErrno(payload), detail: undefined });
    else replies.push({ type, sequence, payload });
    offset += align(length);
  }
  return { replies, acks };
}

function doneErrno(payload: Buffer): number {
  return payload.length >= 4 ? -payload.readInt32LE(0) : 0;
}

/** struct nlmsgerr: the errno, the header of the request (all of it unless capped), then attributes. */
function decodeError(payload: Buffer, flags: number, sequence: number): NetlinkAck {
  const errno = -payload.readInt32LE(0);
  if ((flags & NLM_F_ACK_TLVS) === 0) return { sequence, errno, detail: undefined };
  const echoed = flags & NLM_F_CAPPED ? HEADER_BYTES : align(payload.readUInt32LE(4));
  const detail = attributeText(readAttributes(payload.subarray(4 + echoed)).get(NLMSGERR_ATTR_MSG));
  return { sequence, errno, detail };
}
