/** `where: {host_path: /var/run/docker.sock}`: elements of a list by the values of their fields. Pure. */
import { type Field, messageType } from "../wire/descriptors.ts";
import type { ItemPredicate } from "../wire/mutation.ts";
import { nearestName } from "../wire/nearest.ts";
import { scalarValue } from "../wire/scalar.ts";
import { encodeValue } from "../wire/value.ts";
import { type CelMessage, celMessage } from "./cel/cel-message.ts";
import { Meter } from "./cel/cost.ts";

/** Each field must have the value, or one of the values of a list. Throws an Error for fields that do not exist. */
export function mappingPredicate(wanted: Readonly<Record<string, unknown>>, list: Field): ItemPredicate {
  const { message } = list;
  if (message === undefined) {
    throw new Error(
      `where: the elements of ${list.name} have no fields: write an expression, such as item == "x"`,
    );
  }
  const { byName } = messageType(message);
  const entries = Object.entries(wanted);
  if (entries.length === 0) throw new Error("where: names no field");
  const tests = entries.map(([name, value]) => {
    const field = byName.get(name);
    if (!field) throw new Error(`where.${name}: ${unknownField(message, name)}`);
    if (field.repeated || field.map || field.kind === "message") {
      throw new Error(
        `where.${name}: is no single value: write an expression over item instead of a mapping`,
      );
    }
    return fieldTest(field, value);
  });
  return (item) => {
    // An element is small, and nothing here loops: its own meter is only what the reader wants to have.
    const values = celMessage(message, item, { meter: new Meter(), redact: false });
    return tests.every((test) => test(values));
  };
}

function unknownField(message: string, name: string): string {
  const names = [...messageType(message).byName.keys()];
  const near = nearestName(name, names);
  return `${message} has no field ${name}${near === undefined ? ` (it has ${names.join(", ")})` : `, did you mean ${near}?`}`;
}

/** The value as it is read from an element. One that no element can have is an error: it would mean none of them. */
function readAs(field: Field, choice: unknown): unknown {
  if (field.kind === "string" || field.kind === "bytes") return choice;
  const bytes = encodeValue(field, choice, `where.${field.name}`);
  return scalarValue(field, bytes, 0, bytes.length);
}

function fieldTest(field: Field, value: unknown): (item: CelMessage) => boolean {
  const choices = Array.isArray(value) ? value : [value];
  if (choices.length === 0) throw new Error(`where.${field.name}: names no value`);
  const texts = new Set<string>();
  for (const choice of choices) {
    if (!["string", "number", "bigint", "boolean"].includes(typeof choice)) {
      throw new Error(`where.${field.name}: must be a value, or a list of values`);
    }
    const isBool = field.kind === "bool";
    if (isBool !== (typeof choice === "boolean")) {
      throw new Error(`where.${field.name}: ${isBool ? "must be true or false" : "is no true or false"}`);
    }
    texts.add(String(readAs(field, choice)));
  }
  return (item) => texts.has(String(item.read(field)));
}
