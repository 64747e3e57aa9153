import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { factsOfProto } from "./proto/parsed-proto.ts";
import { compareFacts, type Fixture, factsOfFixture } from "./proto/wire-facts.ts";

const root = join(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** .proto file -> the published facts that it must state, and how many there are of the kinds that matter most. */
const apis = [
  { proto: "proto/csi/v1/csi.proto", fixture: "csi-1.12.0.json", methods: 32, messages: 94 },
  { proto: "proto/runtime/v1/api.proto", fixture: "cri-0.36.3.json", methods: 41, messages: 170 },
  {
    proto: "proto/pluginregistration/v1/api.proto",
    fixture: "pluginregistration-v1.json",
    methods: 2,
    messages: 4,
  },
];

const readFixture = (name: string) => JSON.parse(read(`test/fixtures/spec/${name}`)) as Fixture;

describe("the .proto files", () => {
  it.each(apis)("$proto says exactly what was published, no more and no less", ({ proto, fixture }) => {
    const published = factsOfFixture(readFixture(fixture));
    expect(compareFacts(published, factsOfProto(read(proto)))).toEqual([]);
  });

  it.each(apis)("$proto is compared as a whole: $methods methods, $messages messages", (api) => {
    const facts = [...factsOfProto(read(api.proto)).keys()];
    const count = (kind: string) => facts.filter((name) => name.startsWith(`${kind} `)).length;
    expect({ methods: count("method"), messages: count("message") }).toEqual({
      methods: api.methods,
      messages: api.messages,
    });
  });

  it("are all compared", () => {
    expect(globSync("proto/**/*.proto", { cwd: root }).sort()).toEqual(apis.map(({ proto }) => proto).sort());
    const fixtures = globSync("*.json", { cwd: join(root, "test/fixtures/spec") });
    expect(fixtures.sort()).toEqual(apis.map(({ fixture }) => fixture).sort());
  });

  it("mark the credentials that must never be logged", () => {
    const marked = (path: string, mark: string) =>
      [...factsOfProto(read(path))].filter(([, fact]) => fact.includes(mark)).map(([name]) => name);
    expect(marked("proto/runtime/v1/api.proto", "debug_redact")).toEqual([
      "field AuthConfig.password",
      "field AuthConfig.auth",
      "field AuthConfig.identity_token",
      "field AuthConfig.registry_token",
    ]);
    const secrets = marked("proto/csi/v1/csi.proto", "csi_secret").filter((name) =>
      name.startsWith("field "),
    );
    expect(secrets.length).toBeGreaterThan(10);
    expect(secrets.every((name) => name.endsWith("secrets"))).toBe(true);
    expect(secrets).toContain("field NodePublishVolumeRequest.secrets");
  });
});

/** A change to a .proto file, and the one line that must tell of it. */
const mistakes = [
  ["a removed field", "  string volume_path = 2;\n", "", "field X.volume_path: missing (2 string)"],
  [
    "a changed number",
    "volume_path = 2",
    "volume_path = 9",
    "field X.volume_path: 9 string, should be 2 string",
  ],
  [
    "a changed type",
    "string volume_path",
    "bytes volume_path",
    "field X.volume_path: 2 bytes, should be 2 string",
  ],
  [
    "a changed label",
    "string volume_path",
    "repeated string volume_path",
    "field X.volume_path: 2 repeated string, should be 2 string",
  ],
  ["a renamed field", "volume_path", "volumePath", "field X.volume_path: missing (2 string)"],
  [
    "an extra field",
    "string volume_path = 2;",
    "string volume_path = 2; bool more = 9;",
    "field X.more: should not be there (9 bool)",
  ],
  [
    "a changed map",
    "map<string, string> secrets",
    "map<string, bytes> secrets",
    "field X.secrets: 6 map<string, bytes> [csi_secret], should be 6 map<string, string> [csi_secret]",
  ],
  [
    "a missing mark",
    " [(csi_secret) = true]",
    "",
    "field X.secrets: 6 map<string, string>, should be 6 map<string, string> [csi_secret]",
  ],
  [
    "a mark set to false",
    "(csi_secret) = true",
    "(csi_secret) = false",
    "field X.secrets: 6 map<string, string> [csi_secret=false], should be 6 map<string, string> [csi_secret]",
  ],
  [
    "an extra mark",
    "volume_path = 2",
    "volume_path = 2 [deprecated = true]",
    "field X.volume_path: 2 string [deprecated], should be 2 string",
  ],
  [
    "a field out of its oneof",
    "oneof kind { Y a = 10; Y b = 11; }",
    "oneof kind { Y a = 10; } Y b = 11;",
    "field X.b: 11 Y, should be 11 Y [oneof kind]",
  ],
  [
    "a renamed oneof",
    "oneof kind",
    "oneof sort",
    "field X.a: 10 Y [oneof sort], should be 10 Y [oneof kind]",
  ],
  ["a missing nested message", "message Inner {}", "", "message X.Inner: missing (present)"],
  [
    "a missing mark of a message",
    "option (alpha_message) = true;",
    "",
    "message X: present, should be [alpha_message]",
  ],
  [
    "a reserved number",
    "message Y {}",
    "message Y { reserved 4; }",
    "reserved Y: should not be there ([[4,4]])",
  ],
  ["an extra enum value", "RED = 1;", "RED = 1; BLUE = 2;", "enum X.Color.BLUE: should not be there (2)"],
  ["a renumbered enum value", "RED = 1", "RED = 2", "enum X.Color.RED: 2, should be 1"],
  [
    "a missing mark of an enum value",
    "NONE = 0 [(alpha_enum_value) = true]",
    "NONE = 0",
    "enum X.Color.NONE: 0, should be 0 [alpha_enum_value]",
  ],
  ["a missing method", "rpc One(Y) returns (X);", "", "method S.One: missing (Y -> X)"],
  [
    "a method that no longer streams",
    "(stream X)",
    "(X)",
    "method S.Many: Y -> X [alpha_method], should be Y -> X stream [alpha_method]",
  ],
  [
    "a method that streams its request",
    "One(Y)",
    "One(stream Y)",
    "method S.One: Y stream -> X, should be Y -> X",
  ],
  [
    "a missing mark of a method",
    "{ option (alpha_method) = true; }",
    ";",
    "method S.Many: Y -> X stream, should be Y -> X stream [alpha_method]",
  ],
  [
    "a missing mark of a service",
    "option (alpha_service) = true;",
    "",
    "service S: present, should be [alpha_service]",
  ],
  ["a missing service", "service T {}", "", "service T: missing (present)"],
  [
    "an extension with another number",
    "csi_secret = 1059",
    "csi_secret = 1061",
    "extension csi_secret: 1061 bool google.protobuf.FieldOptions, should be 1059 bool google.protobuf.FieldOptions",
  ],
  ["another package", "package a.v1", "package a.v2", "package: a.v2, should be a.v1"],
] as const;

const sample = `
// A comment before the syntax.
syntax = "proto3";
package a.v1;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { bool csi_secret = 1059; }
service S {
  option (alpha_service) = true;
  rpc One(Y) returns (X);
  rpc Many(Y) returns (stream X) { option (alpha_method) = true; }
}
service T {}
message X {
  option (alpha_message) = true;
  message Inner {}
  enum Color { NONE = 0 [(alpha_enum_value) = true]; RED = 1; }
  string volume_path = 2;
  map<string, string> secrets = 6 [(csi_secret) = true];
  oneof kind { Y a = 10; Y b = 11; }
}
message Y {}
`;

const sampleFixture: Fixture = {
  package: "a.v1",
  syntax: "proto3",
  extensions: { csi_secret: [1059, "bool", "google.protobuf.FieldOptions"] },
  services: { S: { One: ["Y", "X"], Many: ["Y", "X stream", "alpha_method"] }, T: {} },
  serviceOptions: { S: ["alpha_service"] },
  messages: {
    X: {
      options: ["alpha_message"],
      messages: { Inner: {} },
      enums: { Color: { NONE: 0, RED: 1 } },
      enumValueOptions: { Color: { NONE: ["alpha_enum_value"] } },
      fields: {
        volume_path: [2, "string"],
        secrets: [6, "map<string, string>", "csi_secret"],
        a: [10, "Y", "oneof kind"],
        b: [11, "Y", "oneof kind"],
      },
    },
    Y: {},
  },
};

describe("the comparison itself", () => {
  it("finds nothing between a file and its own facts", () => {
    expect(compareFacts(factsOfFixture(sampleFixture), factsOfProto(sample))).toEqual([]);
  });

  it("names another syntax", () => {
    const old = factsOfProto('syntax = "proto2"; package a.v1; message X {}');
    expect(compareFacts(factsOfFixture(sampleFixture), old)).toContain("syntax: proto2, should be proto3");
  });

  it.each(mistakes)("names %s", (_, from, to, line) => {
    expect(sample).toContain(from);
    const broken = sample.replace(from, to);
    expect(compareFacts(factsOfFixture(sampleFixture), factsOfProto(broken))).toContain(line);
  });

  it.each([
    ["field AuthConfig.password", /string password = 2 \[debug_redact = true\]/, "string password = 2"],
    [
      "method RuntimeService.StreamContainers",
      /\(stream StreamContainersResponse\)/,
      "(StreamContainersResponse)",
    ],
    ["enum Signal.SIGRTMAX", /SIGRTMAX = 65/, "SIGRTMAX = 66"],
    ["field KeyValue.value", /bytes value = 2/, "string value = 2"],
  ])("sees a mistake in the real file: %s", (name, from, to) => {
    const source = read("proto/runtime/v1/api.proto");
    expect(source).toMatch(from);
    const published = factsOfFixture(readFixture("cri-0.36.3.json"));
    const lines = compareFacts(published, factsOfProto(source.replace(from, to)));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(new RegExp(`^${name}: `));
  });
});
