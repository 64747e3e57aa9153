/**
 * Takes a few fields out of a stream of JSON without ever holding a whole object: a list of 5,000 nodes is some 100 MB, of
 * which one name, one network and one address each are wanted. Pure: bytes in, values out. Knows nothing of Kubernetes.
 */
import { TrivetError } from "../errors.ts";

/** What to take: `true` takes the whole value; of a list every element goes by the key `*`. */
export interface Wanted {
  readonly [key: string]: true | Wanted;
}

/** Where values go. A path is written `items.*.metadata.name`; that of the outermost value is empty. */
export interface SelectionSink {
  value(path: string, value: unknown): void;
  /** An object or a list on the way to what is wanted is complete. */
  end(path: string): void;
}

/** Several values may follow one another, as the events of a watch do. */
export interface JsonSelector {
  /** Throws kind `decode` for what is no JSON, as far as it looks. */
  feed(bytes: Buffer): void;
  /** Throws kind `decode` if the last value is not complete. */
  finish(): void;
}

/** The largest value that is taken: an API server that sends more is not believed. */
const MAX_TAKEN_BYTES = 65_536;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

interface Frame {
  readonly isList: boolean;
  readonly wanted: Wanted;
  readonly path: string;
  /** The key whose value comes next; undefined while a key is awaited. */
  key: string | undefined;
}

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const opens = (byte: number): boolean => byte === OPEN_OBJECT || byte === OPEN_LIST;
const closes = (byte: number): boolean => byte === CLOSE_OBJECT || byte === CLOSE_LIST;

/** Reads a stream once. */
export function createJsonSelector(wanted: Wanted, sink: SelectionSink): JsonSelector {
  return new Selector(wanted, sink);
}

class Selector implements JsonSelector {
  readonly #sink: SelectionSink;
  readonly #frames: Frame[];
  /** How deep we are in a value whose structure does not matter. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** A number, `true`, `false` or `null` is running. */
  #inScalar = false;
  /** A key or a value is being taken, in the present chunk from `#from` on. */
  #taking = false;
  #from = 0;
  /** What earlier chunks had of it: mostly nothing, and so nothing is copied. */
  #carried: Buffer[] = [];
  #carriedBytes = 0;

  constructor(wanted: Wanted, sink: SelectionSink) {
    this.#sink = sink;
    this.#frames = [{ isList: true, wanted: { "*": wanted }, path: "", key: undefined }];
  }

  feed(bytes: Buffer): void {
    this.#from = 0;
    for (let index = 0; index < bytes.length; index += 1) {
      const byte = bytes[index] ?? 0;
      if (this.#inString) this.#string(bytes, index, byte);
      else if (this.#depth > 0) this.#nested(bytes, index, byte);
      else this.#structure(bytes, index, byte);
    }
    if (!this.#taking) return;
    this.#bound(bytes.length - this.#from);
    this.#carriedBytes += bytes.length - this.#from;
    this.#carried.push(Buffer.from(bytes.subarray(this.#from))); // the caller may use its buffer again
  }

  finish(): void {
    this.feed(Buffer.from("\n")); // ends a number
    if (this.#frames.length > 1 || this.#depth > 0 || this.#inString)
      throw malformed("it ends in the middle");
  }

  #string(bytes: Buffer, index: number, byte: number): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === BACKSLASH) this.#escaped = true;
    else if (byte === QUOTE) {
      this.#inString = false;
      if (this.#depth === 0) this.#complete(bytes, index + 1);
    }
  }

  #nested(bytes: Buffer, index: number, byte: number): void {
    if (byte === QUOTE) this.#inString = true;
    else if (opens(byte)) this.#depth += 1;
    else if (closes(byte)) {
      this.#depth -= 1;
      if (this.#depth === 0) this.#complete(bytes, index + 1);
    }
  }

  /** Between the values of an object or list that is on the way to something wanted. */
  #structure(bytes: Buffer, index: number, byte: number): void {
    if (this.#inScalar) {
      if (!isSpace(byte) && byte !== COMMA && !closes(byte)) return;
      this.#inScalar = false;
      this.#complete(bytes, index);
    }
    if (isSpace(byte) || byte === COLON) return;
    const frame = this.#top();
    if (byte === COMMA) frame.key = undefined;
    else if (closes(byte)) this.#close(frame, byte);
    else if (!frame.isList && frame.key === undefined) this.#startKey(index, byte);
    else this.#startValue(frame, index, byte);
  }

  #startKey(index: number, byte: number): void {
    if (byte !== QUOTE) throw malformed("an object has a key that is no text");
    this.#inString = true;
    this.#take(index);
  }

  #startValue(frame: Frame, index: number, byte: number): void {
    const key = frame.isList ? "*" : (frame.key ?? "");
    const wanted = Object.hasOwn(frame.wanted, key) ? frame.wanted[key] : undefined;
    if (opens(byte) && typeof wanted === "object") {
      const path = this.#pathOf(frame, key);
      this.#frames.push({ isList: byte === OPEN_LIST, wanted, path, key: undefined });
      return;
    }
    if (wanted === true) this.#take(index);
    if (opens(byte)) this.#depth = 1;
    else if (byte === QUOTE) this.#inString = true;
    else this.#inScalar = true;
  }

  #pathOf(frame: Frame, key: string): string {
    if (this.#frames.length === 1) return "";
    return frame.path === "" ? key : `${frame.path}.${key}`;
  }

  #close(frame: Frame, byte: number): void {
    const matches = frame.isList === (byte === CLOSE_LIST);
    if (!matches || this.#frames.length === 1) throw malformed("brackets do not match");
    this.#frames.pop();
    this.#sink.end(frame.path);
  }

  /** A key or a value has ended before `end`. */
  #complete(bytes: Buffer, end: number): void {
    if (!this.#taking) return;
    const text = this.#takenText(bytes, end);
    this.#taking = false;
    const frame = this.#top();
    if (!frame.isList && frame.key === undefined)
      frame.key = text.includes("\\") ? String(parse(text)) : text.slice(1, -1);
    else this.#sink.value(this.#pathOf(frame, frame.isList ? "*" : (frame.key ?? "")), parse(text));
  }

  #takenText(bytes: Buffer, end: number): string {
    this.#bound(end - this.#from);
    if (this.#carried.length === 0) return bytes.toString("utf8", this.#from, end);
    return Buffer.concat([...this.#carried, bytes.subarray(this.#from, end)]).toString("utf8");
  }

  #top(): Frame {
    const frame = this.#frames.at(-1);
    if (!frame) throw malformed("brackets do not match");
    return frame;
  }

  #take(index: number): void {
    this.#taking = true;
    this.#from = index;
    if (this.#carried.length > 0) this.#carried = [];
    this.#carriedBytes = 0;
  }

  #bound(more: number): void {
    if (this.#carriedBytes + more <= MAX_TAKEN_BYTES) return;
    throw malformed(`a field is longer than ${MAX_TAKEN_BYTES} bytes`);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed(cause instanceof Error ? cause.message : String(cause));
  }
}

function malformed(why: string): TrivetError {
  return new TrivetError({
    kind: "decode",
    op: "json.select",
    subject: "stream",
    message: `malformed JSON: ${why}`,
  });
}
