/**
 * What CRI v1 knows: messages, fields, enums and methods by name and number. A line of the table becomes an object when
 * somebody asks for it, so that a proxy that changes one method keeps the descriptors of one method.
 */
import { TrivetError } from "../../errors.ts";
import { descriptorTable } from "./descriptor-table.ts";

const scalarKinds = ["string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double"] as const;
export type ScalarKind = (typeof scalarKinds)[number];
/** The kind of a value. A map of CRI is one of strings by strings: its kind is `string`. */
export type FieldKind = ScalarKind | "enum" | "message";

export interface Field {
  /** As the .proto has it, such as `memory_limit_in_bytes`. */
  readonly name: string;
  readonly number: number;
  /** Of the value; of each element in a list, and of each value in a map. */
  readonly kind: FieldKind;
  readonly repeated: boolean;
  readonly map: boolean;
  /** The type's name where the kind is `message`. */
  readonly message: string | undefined;
  /** The type's name where the kind is `enum`. */
  readonly enumName: string | undefined;
  /** Never to be shown: `debug_redact` of the API, or ours (see hack/descriptors.ts). */
  readonly redact: boolean;
}

export interface MessageType {
  /** Without the package, such as `CreateContainerRequest`. */
  readonly name: string;
  /** In the order of the .proto. */
  readonly fields: readonly Field[];
  readonly byName: ReadonlyMap<string, Field>;
  readonly byNumber: ReadonlyMap<number, Field>;
}

export interface EnumType {
  readonly name: string;
  readonly numberOf: ReadonlyMap<string, number>;
  readonly nameOf: ReadonlyMap<number, string>;
}

export interface Method {
  /** Such as `CreateContainer`; no two services share one. */
  readonly name: string;
  /** `RuntimeService` or `ImageService`. */
  readonly service: string;
  readonly request: string;
  readonly response: string;
  readonly serverStreaming: boolean;
}

interface Index {
  readonly messages: ReadonlyMap<string, string>;
  readonly enums: ReadonlyMap<string, string>;
  readonly methods: ReadonlyMap<string, Method>;
}

function readIndex(): Index {
  const messages = new Map<string, string>();
  const enums = new Map<string, string>();
  const methods = new Map<string, Method>();
  for (const line of descriptorTable.split("\n")) {
    const [mark, name = "", method = "", request = "", response = "", stream] = line.split(" ", 6);
    if (mark === "M") messages.set(name, line);
    else if (mark === "E") enums.set(name, line);
    else if (mark === "R") {
      methods.set(method, { name: method, service: name, request, response, serverStreaming: !!stream });
    }
  }
  return { messages, enums, methods };
}

let index: Index | undefined;
const types = new Map<string, MessageType>();
const enums = new Map<string, EnumType>();

function indexed(): Index {
  index ??= readIndex();
  return index;
}

function unknownName(name: string): TrivetError {
  const message = `${name} is no type of CRI v1`;
  return new TrivetError({ kind: "bug", op: "protobuf.describe", subject: name, message });
}

function readField(text: string): Field {
  const [, name = "", number = "", type = "", list, mark] =
    /^(\w+):(\d+):([\w.]+)(\*)?(!)?$/.exec(text) ?? [];
  const { messages, enums: enumLines } = indexed();
  const common = { name, number: Number(number), repeated: list !== undefined, redact: mark !== undefined };
  const none = { message: undefined, enumName: undefined, map: false };
  if (type === "map") return { ...common, ...none, kind: "string", map: true };
  if (messages.has(type)) return { ...common, ...none, kind: "message", message: type };
  if (enumLines.has(type)) return { ...common, ...none, kind: "enum", enumName: type };
  const kind = scalarKinds.find((scalar) => scalar === type);
  if (!kind) throw unknownName(type);
  return { ...common, ...none, kind };
}

/** The message of this name, without its package. A name that CRI does not have is an error of kind `bug`. */
export function messageType(name: string): MessageType {
  const known = types.get(name);
  if (known) return known;
  const line = indexed().messages.get(name);
  if (line === undefined) throw unknownName(name);
  const fields = line.split(" ").slice(2).map(readField);
  const type = {
    name,
    fields,
    byName: new Map(fields.map((field) => [field.name, field])),
    byNumber: new Map(fields.map((field) => [field.number, field])),
  };
  types.set(name, type);
  return type;
}

/** The enum of this name. A name that CRI does not have is an error of kind `bug`. */
export function enumType(name: string): EnumType {
  const known = enums.get(name);
  if (known) return known;
  const line = indexed().enums.get(name);
  if (line === undefined) throw unknownName(name);
  const values = line
    .split(" ")
    .slice(2)
    .map((text): [string, number] => {
      const [value = "", number = ""] = text.split(":");
      return [value, Number(number)];
    });
  const type = {
    name,
    numberOf: new Map(values),
    nameOf: new Map(values.map(([value, number]) => [number, value])),
  };
  enums.set(name, type);
  return type;
}

/** The method of this name, such as `CreateContainer`; undefined for one that our CRI does not have. */
export function methodOf(name: string): Method | undefined {
  return indexed().methods.get(name);
}

/** The names of all messages. */
export function messageNames(): readonly string[] {
  return [...indexed().messages.keys()];
}

/** All methods, in the order of the .proto. */
export function allMethods(): readonly Method[] {
  return [...indexed().methods.values()];
}
