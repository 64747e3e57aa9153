import { readFileSync } from "node:fs";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { protoFile, tableFile, tableOf } from "../../../hack/descriptors.ts";
import { allMethods, enumType, messageNames, messageType, methodOf } from "./descriptors.ts";

const source = readFileSync(protoFile, "utf8");
const root = protobuf.parse(source, new protobuf.Root(), { keepCase: true }).root.resolveAll();

describe("the table of the API", () => {
  it("is what `npm run descriptors` writes today", () => {
    expect(readFileSync(tableFile, "utf8")).toBe(tableOf(source));
  });

  it("knows every message and field as the parser of .proto files does", () => {
    const names = messageNames();
    expect(names).toHaveLength(170);
    for (const name of names) {
      const fields = root.lookupType(`runtime.v1.${name}`).fieldsArray;
      const expected = fields.map((field) => {
        const { id, name: fieldName, resolvedType } = field;
        const map = field instanceof protobuf.MapField;
        return {
          name: fieldName,
          number: id,
          repeated: field.repeated,
          map,
          type: resolvedType?.name ?? field.type,
        };
      });
      const found = messageType(name).fields.map((field) => {
        const { kind, map, message, enumName, number, repeated } = field;
        const type = (message ?? enumName ?? kind).split(".").at(-1);
        return { name: field.name, number, repeated, map, type };
      });
      expect(found).toEqual(expected);
    }
  });

  it("knows the values of every enum", () => {
    const { numberOf, nameOf } = enumType("SecurityProfile.ProfileType");
    expect([...numberOf]).toEqual([
      ["RuntimeDefault", 0],
      ["Unconfined", 1],
      ["Localhost", 2],
    ]);
    expect(nameOf.get(2)).toBe("Localhost");
    expect(enumType("Signal").numberOf.size).toBe(66);
  });

  it("knows every method, and which of them stream", () => {
    expect(allMethods()).toHaveLength(41);
    expect(methodOf("GetContainerEvents")).toEqual({
      name: "GetContainerEvents",
      service: "RuntimeService",
      request: "GetEventsRequest",
      response: "ContainerEventResponse",
      serverStreaming: true,
    });
    expect(methodOf("PullImage")).toMatchObject({ service: "ImageService", serverStreaming: false });
    expect(methodOf("RestorePod")).toBeUndefined();
    for (const { request, response } of allMethods()) {
      expect([messageType(request).name, messageType(response).name]).toEqual([request, response]);
    }
  });

  it("refuses a name that is not in it", () => {
    expect(() => messageType("Pod")).toThrow(expect.objectContaining({ kind: "bug" }));
    expect(() => enumType("Mount")).toThrow(expect.objectContaining({ kind: "bug" }));
  });

  it("has no message that can hold itself: so nothing that is read by it can be too deep", () => {
    const depthOf = (name: string, above: readonly string[]): number => {
      expect(above).not.toContain(name);
      const inner = messageType(name).fields.flatMap(({ message }) => message ?? []);
      return 1 + Math.max(0, ...inner.map((one) => depthOf(one, [...above, name])));
    };
    expect(Math.max(...messageNames().map((name) => depthOf(name, [])))).toBeLessThan(12);
  });

  it("marks what must never be shown: what the API marks, and what we know of", () => {
    const marked = messageNames().flatMap((name) =>
      messageType(name)
        .fields.filter(({ redact }) => redact)
        .map((field) => `${name}.${field.name}`),
    );
    expect(marked).toEqual(
      expect.arrayContaining([
        "AuthConfig.username",
        "AuthConfig.password",
        "AuthConfig.auth",
        "AuthConfig.identity_token",
        "AuthConfig.registry_token",
        "KeyValue.value",
        "ExecSyncRequest.cmd",
        "ExecSyncResponse.stdout",
        "StatusResponse.info",
      ]),
    );
    for (const name of messageNames()) {
      const info = messageType(name).byName.get("info");
      if (info) expect(info).toMatchObject({ map: true, redact: true });
    }
  });
});

describe("writing the table", () => {
  const proto = (fields: string) => `syntax = "proto3"; package a.v1; message X { ${fields} }`;

  it.each([
    ["map<string, int32> a = 1;", /a map of other things than strings/],
    ["oneof kind { string a = 1; }", /part of a oneof/],
    ["sfixed32 a = 1;", /of the type sfixed32/],
    ["string a = 1;", /no such fields: AuthConfig\.username/],
  ])("stops at what the table cannot say: %s", (fields, message) => {
    expect(() => tableOf(proto(fields))).toThrow(message);
  });
});
