/**
 * Paths into a message as people write them, `config.linux.resources.cpu_quota` or `config.envs[HTTP_PROXY]`, checked
 * against the descriptors once. A field that our API does not know yet goes by its number: `config.#99`.
 */
import { TrivetError } from "../../errors.ts";
import { type Field, type MessageType, messageType } from "./descriptors.ts";
import { nearestName } from "./nearest.ts";

/** One entry of a map, or one element of a list. */
export type Selector =
  /** Of a map; of a list of messages by the field that names them; of a list of scalars by what they are. */
  { readonly by: "key"; readonly key: string } | { readonly by: "index"; readonly index: number };

export interface Step {
  readonly number: number;
  /** Undefined for a field that our API does not know. */
  readonly field: Field | undefined;
  readonly selector: Selector | undefined;
}

export interface ResolvedPath {
  /** The message that the path starts in. */
  readonly message: string;
  /** As it was written. */
  readonly text: string;
  readonly steps: readonly Step[];
  /** The last step. */
  readonly last: Step;
}

/** By which field an element of a list is named: `mounts[/data]` is the mount at /data. */
const keyFields: Readonly<Record<string, string>> = {
  KeyValue: "key",
  Mount: "container_path",
  Device: "container_path",
  CDIDevice: "name",
  HugepageLimit: "page_size",
  RuntimeHandler: "name",
  RuntimeCondition: "type",
};

/** The field that names the elements of this list, such as `container_path` of mounts; undefined where none does. */
export function keyFieldOf(list: Field): Field | undefined {
  const name = list.repeated && list.message !== undefined ? keyFields[list.message] : undefined;
  return name === undefined ? undefined : messageType(list.message ?? "").byName.get(name);
}

/** `app` as `[app]`; in quotes where it could be read as something else. */
export function keyText(key: string): string {
  const bare = /^[\x21-\x7e]+$/.test(key) && !/^\d+$/.test(key) && !/["\]]/.test(key);
  return `[${bare ? key : JSON.stringify(key)}]`;
}

/** An error of kind `invalid` about a path or the value for it. */
export function pathError(path: string, why: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "field.path", subject: path, message: `${path}: ${why}` });
}

interface Segment {
  /** A name, or `#` and a number. */
  readonly name: string;
  readonly selector: { readonly text: string; readonly quoted: boolean } | undefined;
  /** The path up to the name, and up to the selector. */
  readonly upToName: string;
  readonly upTo: string;
}

const NAME = /#\d+|\w+/y;
const QUOTED = /\[("(?:[^"\\]|\\.)*")\]/y;
const BARE = /\[([^\]"][^\]]*)\]/y;

function match(pattern: RegExp, text: string, from: number): RegExpExecArray | null {
  pattern.lastIndex = from;
  return pattern.exec(text);
}

function unquote(path: string, quoted: string): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    throw pathError(path, `${quoted} is no quoted text`);
  }
}

const MAX_PATH = 1024;

function parse(path: string): Segment[] {
  if (path.length > MAX_PATH)
    throw pathError(`${path.slice(0, 40)}…`, `is longer than ${MAX_PATH} characters`);
  const segments: Segment[] = [];
  let offset = 0;
  while (true) {
    const [name] = match(NAME, path, offset) ?? [];
    if (name === undefined) throw pathError(path, `a field's name is missing at character ${offset + 1}`);
    offset += name.length;
    const upToName = path.slice(0, offset);
    const quoted = match(QUOTED, path, offset);
    const found = quoted ?? match(BARE, path, offset);
    if (!found && path[offset] === "[") {
      throw pathError(path, `the bracket at character ${offset + 1} is empty or has no end`);
    }
    offset += found?.[0].length ?? 0;
    const text = found?.[1] ?? "";
    const selector = found
      ? { text: quoted ? unquote(path, text) : text, quoted: quoted !== null }
      : undefined;
    segments.push({ name, selector, upToName, upTo: path.slice(0, offset) });
    if (offset === path.length) return segments;
    if (path[offset] !== ".") throw pathError(path, `expected a dot at character ${offset + 1}`);
    offset += 1;
  }
}

const FEW = 12;

function noSuchField(path: string, type: MessageType, { name }: Segment): TrivetError {
  const names = [...type.byName.keys()];
  const near = nearestName(name, names);
  const all = names.length <= FEW ? ` (it has ${names.join(", ") || "none"})` : "";
  const meant = near === undefined ? "" : `, did you mean ${near}?`;
  return pathError(path, `${type.name} has no field ${name}${meant}${all}`);
}

function fieldOf(
  path: string,
  type: MessageType | undefined,
  segment: Segment,
): Pick<Step, "number" | "field"> {
  if (segment.name.startsWith("#")) {
    const number = Number(segment.name.slice(1));
    if (number === 0 || number >= 2 ** 29) throw pathError(path, `#${number} is no field number`);
    return { number, field: type?.byNumber.get(number) };
  }
  if (!type) {
    throw pathError(path, `what is below an unknown field has no names: write #number for ${segment.name}`);
  }
  const field = type.byName.get(segment.name);
  if (!field) throw noSuchField(path, type, segment);
  return { number: field.number, field };
}

function selectorOf(path: string, field: Field | undefined, segment: Segment): Selector | undefined {
  const { selector, upToName } = segment;
  if (!selector) return undefined;
  if (!field) throw pathError(path, `${upToName} is unknown: its elements cannot be told apart`);
  if (field.map) return { by: "key", key: selector.text };
  if (!field.repeated)
    throw pathError(path, `${upToName} is neither a list nor a map: leave out ${keyText(selector.text)}`);
  if (!selector.quoted && /^\d+$/.test(selector.text)) {
    const index = Number(selector.text);
    if (!Number.isSafeInteger(index)) throw pathError(path, `${selector.text} is no index`);
    return { by: "index", index };
  }
  if (field.kind === "message" && !keyFieldOf(field)) {
    throw pathError(path, `the elements of ${upToName} have no names: write an index, as in ${upToName}[0]`);
  }
  return { by: "key", key: selector.text };
}

/** A type in words, for errors: `list of Mount`, `map of strings`, `bool`. */
export function typeText(field: Field): string {
  if (field.map) return "map of strings";
  const name = field.message ?? field.enumName ?? field.kind;
  return field.repeated ? `list of ${name}` : name;
}

/** What can hold fields of its own on the way through `segment`: undefined for an unknown message. */
function typeBelow(path: string, step: Step, segment: Segment): MessageType | undefined {
  const { field, selector } = step;
  if (!field) return undefined;
  if (field.repeated && !selector) {
    const example = keyFieldOf(field) ? `${segment.upTo}[name]` : `${segment.upTo}[0]`;
    throw pathError(path, `${segment.upTo} is a list: say which element, as in ${example}`);
  }
  if (field.message === undefined || field.map) {
    throw pathError(
      path,
      `${segment.upTo} is of the type ${selector ? field.kind : typeText(field)}, which has no fields`,
    );
  }
  return messageType(field.message);
}

/** The path's fields by number, from the message of this name. A path that it does not have is an `invalid` error. */
export function resolvePath(message: string, path: string): ResolvedPath {
  const segments = parse(path);
  const steps: Step[] = [];
  let type: MessageType | undefined = messageType(message);
  for (const [index, segment] of segments.entries()) {
    const { number, field }: Pick<Step, "number" | "field"> = fieldOf(path, type, segment);
    const step: Step = { number, field, selector: selectorOf(path, field, segment) };
    steps.push(step);
    if (index < segments.length - 1) type = typeBelow(path, step, segment);
  }
  const last = steps.at(-1);
  if (!last) throw pathError(path, "names no field");
  return { message, text: path, steps, last };
}

/** The numbers of a path without selectors, for `MessageReader`. */
export function fieldNumbers(message: string, path: string): readonly number[] {
  return resolvePath(message, path).steps.map(({ number }) => number);
}
