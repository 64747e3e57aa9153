import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { mergeOccurrences } from "../../../test/fakes/containerd/merge-occurrences.ts";
import { createRandom } from "../tap/testing/random.ts";
import { type Field, messageNames, messageType } from "./descriptors.ts";
import { bytesField, nested, tag, varint } from "./encode.ts";
import { applyMutations, compileMutation, type MutationSpec } from "./mutation.ts";
import { jsonText, readMessage } from "./read.ts";
import { isSecretKey } from "./redaction.ts";
import { randomMessage } from "./testing/random-message.ts";
import { unknownFields } from "./unknown-fields.ts";
import { encodeMessage } from "./value.ts";

const proto = new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname;
const root = new protobuf.Root().loadSync(proto, { keepCase: true });
const names = [
  "CreateContainerRequest",
  "PodSandboxStatusResponse",
  "ListContainerStatsResponse",
  "ExecSyncResponse",
];
const messages = fc.tuple(fc.integer(), fc.constantFrom(...names));
const read = (name: string, bytes: Uint8Array) => readMessage(name, bytes, { redact: false });

/** A message as protobufjs has it, in the values that our reader gives. */
function reference(name: string, bytes: Uint8Array): unknown {
  const type = root.lookupType(`runtime.v1.${name}`);
  const plain = type.toObject(type.decode(mergeOccurrences(name, bytes)), {
    longs: String,
    enums: String,
    bytes: Buffer,
  });
  return adapted(name, plain);
}

function adapted(name: string, plain: Record<string, unknown>): unknown {
  const entries = Object.entries(plain).map(([key, value]) => {
    const field = messageType(name).byName.get(key);
    if (!field) throw new Error(`${name} has no ${key}`);
    if (field.map) return [key, new Map(Object.entries(value as object))];
    return [
      key,
      Array.isArray(value) ? value.map((one) => adaptedValue(field, one)) : adaptedValue(field, value),
    ];
  });
  return Object.fromEntries(entries);
}

function adaptedValue(field: Field, value: unknown): unknown {
  if (field.message !== undefined) return adapted(field.message, value as Record<string, unknown>);
  if (field.kind === "int64" || field.kind === "uint64") return BigInt(String(value));
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : value;
}

describe("reading a message", () => {
  it("gives what a full decode gives, in whatever form the message comes", () => {
    fc.assert(
      fc.property(messages, ([seed, name]) => {
        const bytes = randomMessage(createRandom(seed), name);
        expect(read(name, bytes)).toEqual(reference(name, bytes));
      }),
      { numRuns: 200 },
    );
  });

  it("tells bytes that are no text from such as are", () => {
    expect(read("KeyValue", bytesField(2, "grün"))).toEqual({ value: "grün" });
    expect(read("KeyValue", bytesField(2, Buffer.of(0xff)))).toEqual({ value: Buffer.of(0xff) });
    expect(jsonText(read("KeyValue", bytesField(2, Buffer.of(0xff))))).toBe('{"value":"base64:/w=="}');
  });

  it("gives the number of an enum that it has no name for", () => {
    expect(read("ContainerConfig", Buffer.concat([tag(18, 0), varint(1_000)]))).toEqual({
      stop_signal: 1_000,
    });
  });

  it("reads negative numbers of any width", () => {
    const minus = varint(-1n);
    expect(read("ExecSyncResponse", Buffer.concat([tag(3, 0), minus]))).toEqual({ exit_code: -1 });
    expect(read("Int64Value", Buffer.concat([tag(1, 0), minus]))).toEqual({ value: -1n });
    expect(read("UInt64Value", Buffer.concat([tag(1, 0), minus]))).toEqual({ value: 2n ** 64n - 1n });
  });

  it("does not take a field of another wire type for its own", () => {
    expect(read("ContainerConfig", Buffer.concat([tag(5, 0), varint(1), bytesField(14, "x")]))).toEqual({});
  });

  it("bounds lists and text where that is asked for", () => {
    const bytes = encodeMessage(
      "ContainerConfig",
      { args: ["a", "b", "c"], working_dir: "x".repeat(99) },
      "",
    );
    const bounded = readMessage("ContainerConfig", bytes, { redact: false, maxItems: 2, maxText: 10 });
    expect(bounded).toEqual({ args: ["a", "b"], working_dir: "xxxxxxxxxx…" });
  });
});

const SECRET = "hunter2";

/** A message in which every text is the secret, and with it where it can be had: as path and element. */
function secretValue(field: Field): unknown {
  if (field.map) return { [SECRET_MAP_KEY]: SECRET, a: SECRET };
  return field.repeated ? [SECRET, SECRET] : SECRET;
}
const SECRET_MAP_KEY = "kubectl.kubernetes.io/last-applied-configuration";
const redactedFields = messageNames().flatMap((name) =>
  messageType(name)
    .fields.filter(({ redact }) => redact)
    .map((field): [string, string, Field] => [name, field.name, field]),
);

describe("what must not be shown", () => {
  it.each(redactedFields)("%s.%s is not, by no reader and no change", (name, fieldName, field) => {
    const bytes = encodeMessage(name, { [fieldName]: secretValue(field) }, "");
    expect(bytes.includes(SECRET)).toBe(true);
    expect(jsonText(readMessage(name, bytes, { redact: true }))).not.toContain(SECRET);
    const specs: MutationSpec[] = [
      { op: "remove", path: fieldName },
      { op: "set", path: fieldName, value: secretValue(field) },
    ];
    if (field.repeated) {
      const where = () => true;
      specs.push(
        { op: "add", path: fieldName, value: [`x${SECRET}`] },
        { op: "set", path: `${fieldName}[0]`, value: `y${SECRET}` },
      );
      specs.push(
        { op: "removeWhere", path: fieldName, where },
        { op: "replaceWhere", path: fieldName, value: `z${SECRET}`, where },
      );
      specs.push(
        { op: "remove", path: `${fieldName}[${SECRET}]` },
        { op: "remove", path: `${fieldName}[1]` },
      );
    } else if (field.map) {
      specs.push(
        { op: "set", path: `${fieldName}[a]`, value: `x${SECRET}` },
        { op: "remove", path: `${fieldName}[a]` },
      );
    }
    for (const spec of specs) {
      const { changes } = applyMutations(bytes, [compileMutation(name, spec)]);
      expect(changes.length).toBeGreaterThan(0);
      expect(JSON.stringify(changes)).not.toContain(SECRET);
    }
  });

  it("is the value of an annotation whose key says so, but not of others", () => {
    const bytes = encodeMessage(
      "PodSandboxConfig",
      { annotations: { [SECRET_MAP_KEY]: SECRET, team: "blue" } },
      "",
    );
    expect(readMessage("PodSandboxConfig", bytes, { redact: true })).toEqual({
      annotations: new Map([
        [SECRET_MAP_KEY, "[redacted]"],
        ["team", "blue"],
      ]),
    });
  });

  it.each([
    "password",
    "db-passwd",
    "vault.io/token",
    "API_KEY",
    "private-key",
    "basic-auth",
    "client_secret",
  ])("a key like %s says so", (key) => expect(isSecretKey(key)).toBe(true));

  it.each(["app", "author", "kubernetes.io/config.source", "key", "tier"])(
    "a key like %s does not",
    (key) => {
      expect(isSecretKey(key)).toBe(false);
    },
  );
});

describe("fields that our API does not know", () => {
  it("are told by message and number, each once", () => {
    const mount = nested([2, 7], bytesField(11, "x"));
    const bytes = Buffer.concat([bytesField(99, ""), mount, mount, nested([2, 15], bytesField(3, "x"))]);
    expect(unknownFields("CreateContainerRequest", bytes, 10)).toEqual([
      { message: "CreateContainerRequest", number: 99 },
      { message: "Mount", number: 11 },
      { message: "LinuxContainerConfig", number: 3 },
    ]);
    expect(unknownFields("CreateContainerRequest", bytes, 2)).toHaveLength(2);
  });

  it("are none in a message of ours", () => {
    expect(
      unknownFields(
        "Mount",
        encodeMessage("Mount", { image: { image: "a", annotations: { a: "b" } } }, ""),
        9,
      ),
    ).toEqual([]);
  });
});
