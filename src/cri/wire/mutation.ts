/**
 * Changes to messages by field path: compiled once, when a policy is loaded, and applied to the bytes of each message.
 * Fields that are not named, known to us or not, stay byte for byte and in their order.
 */
import { ChangeList, type FieldChange } from "./changes.ts";
import { runTarget } from "./edit.ts";
import { MessageEditor } from "./editor.ts";
import { type ResolvedPath, resolvePath } from "./field-path.ts";
import { asBuffer } from "./read.ts";
import { checkShape, type Target, targetsOf } from "./targets.ts";

export type { FieldChange } from "./changes.ts";

export const mutationOps = ["set", "add", "remove", "removeWhere", "replaceWhere"] as const;
/**
 * `set`: the field is this, whatever it was. `add`: what is there stays; lists get what they lack. `remove`: the field,
 * entry or element goes. `removeWhere`, `replaceWhere`: each element of a list that `where` means.
 */
export type MutationOp = (typeof mutationOps)[number];

/** Whether an element is meant: a message's bytes, a string's UTF-8, or a number as it is on the wire; and its index. */
export type ItemPredicate = (item: Uint8Array, index: number) => boolean;

export interface MutationSpec {
  readonly op: MutationOp;
  /** In the message, as `resolvePath` reads it. */
  readonly path: string;
  /**
   * What YAML or CEL gives: text, numbers, bigint, lists, mappings, Map, bytes. With `add` to a list: one element or a
   * list of them. `laterValue` where it is not known yet.
   */
  readonly value?: unknown;
  /** Several entries or fields below `path`, by key or name. Instead of `value`. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** For replaceWhere, instead of `values`: those of each element that is meant, by its index. */
  readonly valuesOf?: (index: number) => Readonly<Record<string, unknown>>;
  /** For removeWhere and replaceWhere. */
  readonly where?: ItemPredicate;
}

/** Stands for a value that `withValue` gives for each message. */
export const laterValue: unique symbol = Symbol("laterValue");

export interface CompiledMutation {
  readonly spec: MutationSpec;
  /** Its last step has the field, and so the type that predicates and later values need. */
  readonly path: ResolvedPath;
  /** Undefined until the value is given. */
  readonly targets: readonly Target[] | undefined;
}

/** Checks a mutation of the message of this name; what is wrong with it is an error of kind `invalid`. */
export function compileMutation(messageName: string, spec: MutationSpec): CompiledMutation {
  const path = resolvePath(messageName, spec.path);
  checkShape(path, spec);
  return { spec, path, targets: spec.value === laterValue ? undefined : targetsOf(path, spec) };
}

/** The mutation with its value: for one that was compiled with `laterValue`. */
export function withValue({ spec, path }: CompiledMutation, value: unknown): CompiledMutation {
  const given = { ...spec, value };
  return { spec: given, path, targets: targetsOf(path, given) };
}

export interface MutationResult {
  /** The new message; undefined if nothing changed. */
  readonly message: Uint8Array | undefined;
  readonly changes: readonly FieldChange[];
}

/**
 * Applies the mutations one after another; each sees what those before it did. Throws an error of kind `decode` where
 * the message cannot be read as far as it must be, and then nothing has been done.
 */
export function applyMutations(message: Uint8Array, mutations: readonly CompiledMutation[]): MutationResult {
  const original = asBuffer(message);
  const root = new MessageEditor(original);
  const list = new ChangeList();
  for (const { targets = [] } of mutations) for (const target of targets) runTarget(root, target, list);
  const edited = root.finish();
  return { message: edited && !edited.equals(original) ? edited : undefined, changes: list.finish() };
}
