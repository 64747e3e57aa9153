/**
 * Everything that an API says about the wire, as flat facts: a name such as `message Volume.capacity_bytes` and what
 * holds for it, such as `1 int64`. The fixtures and the .proto files are both brought into this form, so that their
 * difference can be told by name.
 */

export type Facts = ReadonlyMap<string, string>;

type Marks = readonly string[];

interface EnumFixture {
  readonly [value: string]: number;
}

interface MessageFixture {
  readonly fields?: Readonly<Record<string, readonly [number: number, type: string, ...marks: string[]]>>;
  readonly messages?: Readonly<Record<string, MessageFixture>>;
  readonly enums?: Readonly<Record<string, EnumFixture>>;
  readonly enumValueOptions?: Readonly<Record<string, Readonly<Record<string, Marks>>>>;
  readonly options?: Marks;
  readonly reserved?: readonly (string | number | readonly [number, number])[];
}

/**
 * A file of `test/fixtures/spec`. Types are the proto types, with `repeated` or `map<key, value>` where that holds;
 * `stream` follows a streamed message; marks are the options that are switched on, and `oneof NAME`.
 */
export interface Fixture extends MessageFixture {
  readonly package: string;
  readonly syntax: string;
  readonly extensions?: Readonly<Record<string, readonly [number: number, type: string, extendee: string]>>;
  readonly services: Readonly<
    Record<string, Readonly<Record<string, readonly [request: string, response: string, ...marks: string[]]>>>
  >;
  readonly serviceOptions?: Readonly<Record<string, Marks>>;
}

/** What is said of something, and its marks in an order that does not depend on the source. */
export function describe(parts: readonly (string | number)[], marks: Marks = []): string {
  const all = [...parts, ...(marks.length > 0 ? [`[${[...marks].sort().join(", ")}]`] : [])];
  return all.join(" ") || "present";
}

export function factsOfFixture(fixture: Fixture): Facts {
  const facts = new Map<string, string>([
    ["package", fixture.package],
    ["syntax", fixture.syntax],
  ]);
  for (const [name, extension] of Object.entries(fixture.extensions ?? {})) {
    facts.set(`extension ${name}`, describe(extension));
  }
  for (const [service, methods] of Object.entries(fixture.services)) {
    facts.set(`service ${service}`, describe([], fixture.serviceOptions?.[service]));
    for (const [method, [request, response, ...marks]] of Object.entries(methods)) {
      facts.set(`method ${service}.${method}`, describe([request, "->", response], marks));
    }
  }
  addScope(facts, "", fixture);
  return facts;
}

function addScope(facts: Map<string, string>, prefix: string, scope: MessageFixture): void {
  for (const [name, values] of Object.entries(scope.enums ?? {})) {
    facts.set(`enum ${prefix}${name}`, describe([]));
    for (const [value, number] of Object.entries(values)) {
      const marks = scope.enumValueOptions?.[name]?.[value];
      facts.set(`enum ${prefix}${name}.${value}`, describe([number], marks));
    }
  }
  for (const [name, message] of Object.entries(scope.messages ?? {})) {
    facts.set(`message ${prefix}${name}`, describe([], message.options));
    for (const [field, [number, type, ...marks]] of Object.entries(message.fields ?? {})) {
      facts.set(`field ${prefix}${name}.${field}`, describe([number, type], marks));
    }
    if (message.reserved) facts.set(`reserved ${prefix}${name}`, JSON.stringify(message.reserved));
    addScope(facts, `${prefix}${name}.`, message);
  }
}

/** One line for each fact that differs: what the fixture says, and what the .proto file says. */
export function compareFacts(fixture: Facts, proto: Facts): string[] {
  const differences: string[] = [];
  for (const [name, expected] of fixture) {
    const found = proto.get(name);
    if (found === undefined) differences.push(`${name}: missing (${expected})`);
    else if (found !== expected) differences.push(`${name}: ${found}, should be ${expected}`);
  }
  for (const [name, found] of proto) {
    if (!fixture.has(name)) differences.push(`${name}: should not be there (${found})`);
  }
  return differences;
}
