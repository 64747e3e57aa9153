/** Finds the fields of a message that our API does not know: a sign that the kubelet or the runtime is newer than we are. */
import { messageType } from "./descriptors.ts";
import { FieldWalk, wireType } from "./fields.ts";
import { asBuffer } from "./read.ts";

export interface UnknownField {
  /** The type of the message that holds it. */
  readonly message: string;
  readonly number: number;
}

/**
 * The unknown fields of `bytes`, a message of the type `messageName`, and of those within it; each is told once, and
 * `limit` of them at most. Throws an error of kind `decode`.
 */
export function unknownFields(messageName: string, bytes: Uint8Array, limit: number): UnknownField[] {
  const found = new Map<string, UnknownField>();
  const message = asBuffer(bytes);
  const visit = (name: string, from: number, to: number): void => {
    const { byNumber } = messageType(name);
    const walk = new FieldWalk(message, from, to);
    while (walk.next() && found.size < limit) {
      const { number } = walk;
      const field = byNumber.get(number);
      if (!field) found.set(`${name}.${number}`, { message: name, number });
      else if (field.message !== undefined && walk.type === wireType.bytes) {
        visit(field.message, walk.valueStart, walk.end);
      }
    }
  };
  visit(messageName, 0, message.length);
  return [...found.values()];
}
