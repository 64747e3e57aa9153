/** Messages with something in every field: what must not be shown has a value of its own, which can be searched for. */
import { messageType } from "../../wire/descriptors.ts";
import { bytesField, entryField, tag, varint } from "../../wire/encode.ts";

export interface FilledMessage {
  readonly bytes: Buffer;
  /** The values of the fields that must never be shown. */
  readonly secrets: readonly string[];
}

let made = 0;

/** A message of this type; its secrets begin with `prefix` and are found nowhere else. */
export function filledMessage(name: string, prefix = "hunter2"): FilledMessage {
  const secrets: string[] = [];
  const secret = (field: string) => {
    made += 1;
    const value = `${prefix}-${field}-${made}-"quoted"`;
    secrets.push(value);
    return value;
  };
  return { bytes: fill(name, secret), secrets };
}

function fill(name: string, secret: (field: string) => string): Buffer {
  const parts = messageType(name).fields.flatMap((field): Buffer[] => {
    const { number } = field;
    if (field.map) {
      const marked = entryField(number, "info", field.redact ? secret(field.name) : "shown");
      // Keys that say what they hold, in any map.
      return [marked, entryField(number, "example.org/api-token", secret(`${field.name}-token`))];
    }
    if (field.message !== undefined) return [bytesField(number, fill(field.message, secret))];
    if (field.kind === "string" || field.kind === "bytes")
      return [bytesField(number, field.redact ? secret(field.name) : `shown-${field.name}`)];
    return field.kind === "double" || field.repeated ? [] : [Buffer.concat([tag(number, 0), varint(1)])];
  });
  return Buffer.concat(parts);
}
