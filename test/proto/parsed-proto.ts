/** The wire facts of a .proto file, from the tree of protobufjs' own parser. */
import protobuf from "protobufjs";
import { describe, type Facts } from "./wire-facts.ts";

/** Parses the text of a .proto file and gives its facts. */
export function factsOfProto(source: string): Facts {
  const { root, package: packageName = "" } = protobuf.parse(source, new protobuf.Root(), { keepCase: true });
  const scope = root.lookup(packageName);
  if (!(scope instanceof protobuf.Namespace)) throw new Error(`package ${packageName} holds nothing`);
  const facts = new Map<string, string>([
    ["package", packageName],
    ["syntax", syntaxOf(source)],
  ]);
  addScope(facts, "", scope);
  return facts;
}

/** The parser keeps the syntax to itself; its tokenizer gives the statement, comments left out. */
function syntaxOf(source: string): string {
  const { next } = protobuf.tokenize(source, false);
  const statement = [next(), next(), next(), next()];
  if (statement[0] !== "syntax") throw new Error("the file does not begin with its syntax");
  return String(statement[3]);
}

/** `(csi_secret)` -> `csi_secret`; an option that is not just switched on keeps its value. */
function marksOf(options: { readonly [name: string]: unknown } | undefined): string[] {
  return Object.entries(options ?? {}).map(([name, value]) => {
    const bare = name.replace(/^\((.*)\)$/, "$1");
    return value === true ? bare : `${bare}=${JSON.stringify(value)}`;
  });
}

function addScope(facts: Map<string, string>, prefix: string, scope: protobuf.NamespaceBase): void {
  for (const entry of scope.nestedArray) {
    const name = `${prefix}${entry.name}`;
    if (entry instanceof protobuf.Type) addMessage(facts, name, entry);
    else if (entry instanceof protobuf.Enum) addEnum(facts, name, entry);
    else if (entry instanceof protobuf.Service) addService(facts, name, entry);
    else if (entry instanceof protobuf.Field) {
      facts.set(`extension ${name}`, describe([entry.id, entry.type, String(entry.extend)]));
    } else throw new Error(`${name} is of a kind that the facts do not know`);
  }
}

function typeOf(field: protobuf.Field): string {
  if (field instanceof protobuf.MapField) return `map<${field.keyType}, ${field.type}>`;
  return field.repeated ? `repeated ${field.type}` : field.type;
}

function addMessage(facts: Map<string, string>, name: string, message: protobuf.Type): void {
  facts.set(`message ${name}`, describe([], marksOf(message.options)));
  for (const field of message.fieldsArray) {
    const oneof = field.partOf ? [`oneof ${field.partOf.name}`] : [];
    const marks = [...oneof, ...marksOf(field.options)];
    facts.set(`field ${name}.${field.name}`, describe([field.id, typeOf(field)], marks));
  }
  if (message.reserved?.length) facts.set(`reserved ${name}`, JSON.stringify(message.reserved));
  addScope(facts, `${name}.`, message);
}

function addEnum(facts: Map<string, string>, name: string, { values, valuesOptions }: protobuf.Enum): void {
  facts.set(`enum ${name}`, describe([]));
  for (const [value, number] of Object.entries(values)) {
    facts.set(`enum ${name}.${value}`, describe([number], marksOf(valuesOptions?.[value])));
  }
}

function addService(facts: Map<string, string>, name: string, service: protobuf.Service): void {
  facts.set(`service ${name}`, describe([], marksOf(service.options)));
  for (const method of service.methodsArray) {
    const request = method.requestType + (method.requestStream ? " stream" : "");
    const response = method.responseType + (method.responseStream ? " stream" : "");
    facts.set(`method ${name}.${method.name}`, describe([request, "->", response], marksOf(method.options)));
  }
}
