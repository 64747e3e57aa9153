/**
 * Looks for what our CRI does not know: methods, and fields in messages that pass by anyway. It tells an operator what an
 * upgrade of kubelet or runtime has brought before a policy misses it.
 */
import { messageType, methodOf } from "../wire/descriptors.ts";
import { FieldWalk, wireType } from "../wire/fields.ts";

export interface SkewOptions {
  /** A field by its message and number, such as `ContainerConfig.19`. */
  onField(field: string): void;
}

export interface Skew {
  /** A message of a method, as it passed by. Never throws. */
  request(method: string, message: Uint8Array): void;
  response(method: string, message: Uint8Array): void;
}

/** What is new is in each message of a kind, or in one of some: after the first ones, a part of them will do. */
const ALWAYS_FIRST = 20;
const THEN_EVERY = 16;
/** A message may be 16 MiB of tiny fields: so many are looked at. */
const MAX_FIELDS = 5_000;
const MAX_DEPTH = 16;

/** Whether our CRI has the method of this name. */
export function isKnownMethod(name: string): boolean {
  return methodOf(name) !== undefined;
}

export function createSkew({ onField }: SkewOptions): Skew {
  const seen = new Map<string, number>();
  const look = (name: string, message: Uint8Array) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    if (count > ALWAYS_FIRST && count % THEN_EVERY !== 0) return;
    try {
      eachUnknownField(name, message, onField);
    } catch {
      // What is no protobuf tells nothing about versions.
    }
  };
  return {
    request(method, message) {
      const known = methodOf(method);
      if (known) look(known.request, message);
    },
    response(method, message) {
      const known = methodOf(method);
      if (known) look(known.response, message);
    },
  };
}

/** Calls `report` for each field of the message, and of those in it, that its type does not have. */
export function eachUnknownField(
  name: string,
  message: Uint8Array,
  report: (field: string) => void,
  budget = { fields: MAX_FIELDS },
  depth = 0,
): void {
  const { byNumber } = messageType(name);
  const walk = new FieldWalk(message);
  while (budget.fields > 0 && walk.next()) {
    budget.fields -= 1;
    const field = byNumber.get(walk.number);
    if (!field) report(`${name}.${walk.number}`);
    else if (field.message !== undefined && walk.type === wireType.bytes && depth < MAX_DEPTH)
      eachUnknownField(field.message, message.subarray(walk.valueStart, walk.end), report, budget, depth + 1);
  }
}
