/**
 * Writes `src/cri/wire/descriptor-table.ts` from `proto/runtime/v1/api.proto`: every message, field, enum and method of
 * CRI v1, one line each, and which fields must never be shown. A test compares the file with what this would write.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";

const root = join(import.meta.dirname, "..");
export const protoFile = join(root, "proto/runtime/v1/api.proto");
export const tableFile = join(root, "src/cri/wire/descriptor-table.ts");

/** What the API itself does not mark with `debug_redact`, and what still may hold a secret, as `Message.field`. */
const redactedFields: readonly string[] = [
  "AuthConfig.username",
  "KeyValue.value", // the value of an environment variable
  "ContainerConfig.command",
  "ContainerConfig.args",
  "ExecRequest.cmd",
  "ExecSyncRequest.cmd",
  "ExecSyncResponse.stdout",
  "ExecSyncResponse.stderr",
  // The token in these lets anybody into the session for a minute.
  "ExecResponse.url",
  "AttachResponse.url",
  "PortForwardResponse.url",
  // Verbose answers: the whole configuration as JSON, environment included.
  "StatusResponse.info",
  "PodSandboxStatusResponse.info",
  "ContainerStatusResponse.info",
  "ImageStatusResponse.info",
  "WindowsSandboxSecurityContext.credential_spec",
  "WindowsContainerSecurityContext.credential_spec",
];

const scalars = ["string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double"];

const header = `/**
 * CRI v1 as a table, written by \`npm run descriptors\` from proto/runtime/v1/api.proto: do not edit. The mark \`*\` is for
 * lists, \`!\` for what must never be shown. \`descriptors.ts\` reads a line when it is asked for it.
 */
`;

/** The text of `tableFile` for the text of a .proto file. */
export function tableOf(proto: string): string {
  const { root: tree, package: packageName = "" } = protobuf.parse(proto, new protobuf.Root(), {
    keepCase: true,
  });
  tree.resolveAll();
  const scope = tree.lookup(packageName);
  if (!(scope instanceof protobuf.Namespace)) throw new Error(`package ${packageName} holds nothing`);
  const redacted = new Set(redactedFields);
  const lines: string[] = [];
  addScope(scope, "", lines, redacted);
  if (redacted.size > 0) throw new Error(`no such fields: ${[...redacted].join(", ")}`);
  return `${header}export const descriptorTable = \`\n${lines.join("\n")}\n\`;\n`;
}

function addScope(scope: protobuf.NamespaceBase, prefix: string, lines: string[], redacted: Set<string>) {
  for (const entry of scope.nestedArray) {
    const name = `${prefix}${entry.name}`;
    if (entry instanceof protobuf.Type) {
      const fields = entry.fieldsArray.map((field) => ` ${fieldText(field, name, redacted)}`);
      lines.push(`M ${name}${fields.join("")}`);
      addScope(entry, `${name}.`, lines, redacted);
    } else if (entry instanceof protobuf.Enum) {
      const values = Object.entries(entry.values).map(([value, number]) => ` ${value}:${number}`);
      lines.push(`E ${name}${values.join("")}`);
    } else if (entry instanceof protobuf.Service) {
      lines.push(...entry.methodsArray.map((method) => methodText(method, name)));
    } else throw new Error(`${name} is of a kind that the table does not know`);
  }
}

function fieldText(field: protobuf.Field, message: string, redacted: Set<string>): string {
  const name = `${message}.${field.name}`;
  const own = redacted.delete(name);
  const marks = (field.repeated ? "*" : "") + (own || field.options?.debug_redact === true ? "!" : "");
  return `${field.name}:${field.id}:${typeText(field, name)}${marks}`;
}

function typeText(field: protobuf.Field, name: string): string {
  if (field.partOf)
    throw new Error(`${name} has presence or is part of a oneof, which the table does not know`);
  if (field instanceof protobuf.MapField) {
    if (field.keyType === "string" && field.type === "string") return "map";
    throw new Error(`${name} is a map of other things than strings, which the table does not know`);
  }
  const { resolvedType } = field;
  if (resolvedType) return resolvedType.fullName.split(".").slice(3).join(".");
  if (scalars.includes(field.type)) return field.type;
  throw new Error(`${name} is of the type ${field.type}, which the table does not know`);
}

function methodText(method: protobuf.Method, service: string): string {
  if (method.requestStream) throw new Error(`${method.name} streams requests, which the table does not know`);
  const { name, requestType, responseType, responseStream } = method;
  return `R ${service} ${name} ${requestType} ${responseType}${responseStream ? " stream" : ""}`;
}

if (import.meta.main) writeFileSync(tableFile, tableOf(readFileSync(protoFile, "utf8")));
