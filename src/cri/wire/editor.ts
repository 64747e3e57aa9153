/**
 * One message that is being edited, and the submessages below it that are. A submessage that comes in several pieces is
 * joined, as merging wants, and written where its first piece was; everything that is not edited stays byte for byte.
 * Edits are spliced in rather than appended behind the message: both read the same by the rules of protobuf, but there
 * are decoders that do not merge, and one copy is made either way.
 */
import { tag, varint } from "./encode.ts";
import { FieldWalk, joined, wireType } from "./fields.ts";
import { Splicer } from "./splice.ts";

export class MessageEditor {
  /** Without the edits of the submessages in `#children`. */
  #bytes: Buffer;
  #changed = false;
  readonly #children = new Map<number, MessageEditor>();

  constructor(bytes: Buffer | undefined) {
    this.#bytes = bytes ?? Buffer.alloc(0);
  }

  /** The submessage of this number, which is made where it is missing as soon as something is put into it. */
  child(number: number): MessageEditor {
    const known = this.#children.get(number);
    if (known) return known;
    const child = new MessageEditor(joined(this.#bytes, number));
    this.#children.set(number, child);
    return child;
  }

  /** The message as it is now as far as field `number` is concerned: other submessages may be as they were. */
  bytesFor(number: number): Buffer {
    const child = this.#children.get(number);
    if (child) {
      this.#children.delete(number);
      this.#settle(new Map([[number, child]]));
    }
    return this.#bytes;
  }

  /** Takes `bytes`, made of what `bytesFor` gave, as the message; nothing if they are undefined. */
  accept(bytes: Buffer | undefined): void {
    if (!bytes) return;
    this.#bytes = bytes;
    this.#changed = true;
  }

  /** The message with all edits; undefined where there were none. */
  finish(): Buffer | undefined {
    this.#settle(this.#children);
    this.#children.clear();
    return this.#changed ? this.#bytes : undefined;
  }

  #settle(children: ReadonlyMap<number, MessageEditor>): void {
    if (children.size === 0) return;
    const fields = new Map<number, Submessage>();
    for (const [number, child] of children) {
      const bytes = child.finish();
      if (bytes) {
        fields.set(number, {
          head: Buffer.concat([tag(number, wireType.bytes), varint(bytes.length)]),
          bytes,
        });
      }
    }
    if (fields.size > 0) this.accept(withSubmessages(this.#bytes, fields));
  }
}

interface Submessage {
  /** Tag and length. */
  readonly head: Buffer;
  readonly bytes: Buffer;
}

/** `message` with these submessages, by number, in the place of all occurrences of theirs. */
function withSubmessages(message: Buffer, fields: ReadonlyMap<number, Submessage>): Buffer | undefined {
  const splicer = new Splicer(message);
  const missing = new Set(fields.keys());
  const walk = new FieldWalk(message);
  while (walk.next()) {
    if (walk.type !== wireType.bytes) continue;
    const field = fields.get(walk.number);
    if (!field) continue;
    if (missing.delete(walk.number)) splicer.replace(walk.start, walk.end, field.head, field.bytes);
    else splicer.replace(walk.start, walk.end);
  }
  const tail: Buffer[] = [];
  for (const number of missing) {
    const field = fields.get(number);
    if (field) tail.push(field.head, field.bytes);
  }
  return splicer.finish(...tail);
}
