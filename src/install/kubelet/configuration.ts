/**
 * KubeletConfiguration as text: what it says, and the smallest change that makes it say something else. Comments, order, quotes and
 * line ends stay. JSON is YAML, and is kept as JSON. Pure.
 */
import { isMap, isScalar, parseDocument, type Scalar, type YAMLMap } from "yaml";
import { TrivetError } from "../../errors.ts";

/** The fields that matter here; what is not set is undefined. */
export interface KubeletConfiguration {
  /** Since kubelet 1.27. */
  readonly containerRuntimeEndpoint: string | undefined;
  readonly imageServiceEndpoint: string | undefined;
  readonly healthzBindAddress: string | undefined;
  readonly healthzPort: number | undefined;
}

export type EndpointField = "containerRuntimeEndpoint" | "imageServiceEndpoint";

/** The name of the type, as each file and each drop-in must have it. */
export const apiVersion = "kubelet.config.k8s.io/v1beta1";

/** Throws kind `invalid` for what is no KubeletConfiguration. */
export function parseConfiguration(text: string, path: string): KubeletConfiguration {
  const value: unknown = readMap(text, path).toJS();
  const field = (name: string): unknown => (value as Readonly<Record<string, unknown>>)[name];
  const textOf = (name: string) => {
    const found = field(name);
    return typeof found === "string" && found !== "" ? found : undefined;
  };
  const port = field("healthzPort");
  return {
    containerRuntimeEndpoint: textOf("containerRuntimeEndpoint"),
    imageServiceEndpoint: textOf("imageServiceEndpoint"),
    healthzBindAddress: textOf("healthzBindAddress"),
    healthzPort: typeof port === "number" ? port : undefined,
  };
}

interface Read {
  readonly map: YAMLMap;
  toJS(): unknown;
}

function readMap(text: string, path: string): Read {
  const document = parseDocument(text, { keepSourceTokens: true });
  const [error] = document.errors;
  const { contents } = document;
  if (error) throw invalid(path, `${path} is no YAML: ${error.message.split("\n")[0]}`);
  if (!isMap(contents)) throw invalid(path, `${path} holds no KubeletConfiguration`);
  return { map: contents, toJS: () => document.toJS() };
}

/** A scalar that needs no quotes in YAML, and none of whose characters means anything in any quotes. */
const plainScalar = /^[A-Za-z0-9/][A-Za-z0-9/._:-]*[A-Za-z0-9/._-]$/;

/**
 * The text with `field` set to `value`. The change is read again: what it says must be what it said, but for that field, or this
 * throws kind `bug` and nothing was changed.
 */
export function setField(
  text: string,
  path: string,
  { field, value }: { field: EndpointField; value: string },
): string {
  if (!plainScalar.test(value)) throw invalid(path, `"${value}" cannot be an endpoint`);
  const before = readMap(text, path);
  const pair = before.map.items.find(({ key }) => isScalar(key) && key.value === field);
  const edited = pair ? replaceValue(text, pair.value, pair.key) : undefined;
  const result = edited ? edited(value) : insertField(text, before.map, { field, value });
  const wanted = { ...(before.toJS() as Record<string, unknown>), [field]: value };
  if (canonical(readMap(result, path).toJS()) === canonical(wanted)) return result;
  const message = `${path} could not be edited by this program: set ${field}: ${value} in it by hand`;
  throw new TrivetError({ kind: "bug", op: "kubelet.configuration", subject: path, message });
}

function replaceValue(text: string, node: unknown, key: unknown): (value: string) => string {
  const scalar = isScalar(node) ? (node as Scalar) : undefined;
  const [start, end] = scalar?.range ?? [];
  if (start !== undefined && end !== undefined && end > start) {
    const quote = /^(["'])/.exec(text.slice(start, end))?.[1] ?? "";
    return (value) => `${text.slice(0, start)}${quote}${value}${quote}${text.slice(end)}`;
  }
  // `field:` and nothing after it: right behind the colon.
  const keyEnd = isScalar(key) ? (key.range?.[1] ?? 0) : 0;
  const colon = text.indexOf(":", keyEnd);
  return (value) => `${text.slice(0, colon + 1)} ${value}${text.slice(colon + 1)}`;
}

/** Before the first field, in its indentation: so it needs no look at how the file ends. */
function insertField(text: string, map: YAMLMap, { field, value }: { field: string; value: string }): string {
  const start = map.range?.[0] ?? 0;
  if (map.flow) {
    const [space = ""] = /^\s*/.exec(text.slice(start + 1)) ?? [];
    const isEmpty = map.items.length === 0;
    return `${text.slice(0, start + 1)}${isEmpty ? "" : space}"${field}": "${value}"${isEmpty ? "" : ","}${text.slice(start + 1)}`;
  }
  const lineEnd = text.includes("\r\n") ? "\r\n" : "\n";
  const indent = text.slice(text.lastIndexOf("\n", start - 1) + 1, start);
  return `${text.slice(0, start)}${field}: ${value}${lineEnd}${indent}${text.slice(start)}`;
}

/** Independent of the order of fields. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function invalid(path: string, message: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "kubelet.configuration", subject: path, message });
}

/** A whole drop-in of `--config-dir`; a file there needs its type as the main one does. */
export function formatDropIn(fields: Partial<Record<EndpointField, string>>): string {
  const lines = Object.entries(fields).map(([field, value]) => `${field}: ${value}\n`);
  return `# Written by 'trivet install kubelet'; 'trivet uninstall kubelet' takes it away.
apiVersion: ${apiVersion}
kind: KubeletConfiguration
${lines.join("")}`;
}
