/** Changes to messages, compiled once and applied to the bytes. */
import type { ResolvedPath } from "./field-path.ts";

export const mutationOps = ["set", "add", "remove", "removeWhere", "replaceWhere"] as const;
export type MutationOp = (typeof mutationOps)[number];

/** Whether an element of a list is meant: its message's bytes, a string's UTF-8, or a number as it is on the wire. */
export type ItemPredicate = (item: Uint8Array) => boolean;

export interface MutationSpec {
  readonly op: MutationOp;
  /** In the message, as `resolvePath` reads it. */
  readonly path: string;
  /** The field, element or entry: what YAML or CEL gives (text, numbers, bigint, lists, mappings, Map, bytes); `laterValue`. */
  readonly value?: unknown;
  /** Several entries or fields below `path`, by key or name. Instead of `value`. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** For removeWhere and replaceWhere. */
  readonly where?: ItemPredicate;
}

/** What became of one field. `before` and `after` are JSON texts, redacted and bounded. */
export interface FieldChange {
  /** Such as `config.envs[HTTP_PROXY]`. */
  readonly field: string;
  readonly outcome: "added" | "changed" | "removed" | "kept";
  readonly before?: string;
  readonly after?: string;
}

export interface CompiledMutation {
  readonly spec: MutationSpec;
  readonly path: ResolvedPath;
}
