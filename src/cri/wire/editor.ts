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
    const edited: Submessage[] = [];
    for (const [number, child] of children) {
      const bytes = child.finish();
      if (!bytes) continue;
      const head = Buffer.concat([tag(number, wireType.bytes), varint(bytes.length)]);
      edited.push({ number, head, bytes, placed: false });
    }
    if (edited.length > 0) this.accept(withSubmessages(this.#bytes, edited));
  }
}

interface Submessage {
  readonly number: number;
  /** Tag and length. */
  readonly head: Buffer;
  readonly bytes: Buffer;
  placed: boolean;
}

/** `message` with these submessages in the place of all occurrences of theirs. They are few. */
function withSubmessages(message: Buffer, edited: readonly Submessage[]): Buffer | undefined {
  const splicer = new Splicer(message);
  const walk = new FieldWalk(message);
  while (walk.next()) {
    if (walk.type !== wireType.bytes) continue;
    for (const one of edited) {
      if (one.number !== walk.number) continue;
      if (one.placed) splicer.replace(walk.start, walk.end);
      else splicer.replace(walk.start, walk.end, one.head, one.bytes);
      one.placed = true;
    }
  }
  const tail: Buffer[] = [];
  for (const { placed, head, bytes } of edited) if (!placed) tail.push(head, bytes);
  return splicer.finish(...tail);
}
