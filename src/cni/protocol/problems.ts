/** Collects what is wrong with a network configuration, so that one message names all of it. */
import { TrivetError } from "../../errors.ts";

/** The collection, for one configuration. */
export interface Problems {
  /** A value that can never be right: code 7. */
  invalid(key: string, value: unknown, why: string): void;
  /** A value with a meaning that this release does not offer: code 2, which must name key and value. */
  unsupported(key: string, value: unknown, why: string): void;
  /** Throws one error with all problems. It is `unsupported` only if nothing is plainly wrong. */
  throwIfAny(): void;
}

const MAX_VALUE_LENGTH = 120;

function show(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}…` : text;
}

/** `network` names the configuration in the message. */
export function createProblems(network: string): Problems {
  const found: { readonly kind: "invalid" | "unsupported"; readonly key: string; readonly text: string }[] =
    [];
  const add = (kind: "invalid" | "unsupported", key: string, value: unknown, why: string) => {
    found.push({ kind, key, text: `${key} is ${show(value)}: ${why}` });
  };
  return {
    invalid: (key, value, why) => add("invalid", key, value, why),
    unsupported: (key, value, why) => add("unsupported", key, value, why),
    throwIfAny() {
      const [first] = found;
      if (!first) return;
      throw new TrivetError({
        kind: found.some(({ kind }) => kind === "invalid") ? "invalid" : "unsupported",
        op: "netconf.parse",
        subject: first.key,
        message: `network configuration "${network}": ${found.map(({ text }) => text).join("; ")}`,
      });
    },
  };
}

/** What JSON calls an object, before anything is known of its fields. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Neither null nor a list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

interface Keys {
  readonly value: JsonObject;
  readonly path: string;
  readonly known: readonly string[];
  readonly problems: Problems;
}

/** A misspelt `rangeStart` would otherwise lease addresses that belong to others. */
export function refuseUnknownKeys({ value, path, known, problems }: Keys): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    problems.unsupported(`${path}.${key}`, value[key], `trivet knows ${known.join(", ")} here`);
  }
}
