import { join } from "node:path";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { protoDirectory } from "../../../src/host/proto.ts";
import { mergeOccurrences } from "./merge-occurrences.ts";

const type = protobuf
  .loadSync(join(protoDirectory, "runtime/v1/api.proto"))
  .lookupType("runtime.v1.CreateContainerRequest");
const encode = (value: object) => type.encode(type.fromObject(value)).finish();

describe("reading a request as Go does", () => {
  it("merges what comes in two occurrences, at every depth", () => {
    const first = encode({ podSandboxId: "s", config: { metadata: { name: "main" }, envs: [{ key: "A" }] } });
    const second = encode({ config: { metadata: { attempt: 3 }, envs: [{ key: "B" }], labels: { x: "y" } } });
    const merged = type.decode(mergeOccurrences("CreateContainerRequest", Buffer.concat([first, second])));
    expect(type.toObject(merged)).toMatchObject({
      podSandboxId: "s",
      config: {
        metadata: { name: "main", attempt: 3 },
        envs: [{ key: "A" }, { key: "B" }],
        labels: { x: "y" },
      },
    });
  });

  it("lets the last occurrence of a scalar win, and keeps unknown fields", () => {
    const unknown = Buffer.from([0xfa, 0x7f, 0x01, 0x61]);
    const bytes = Buffer.concat([encode({ podSandboxId: "old" }), encode({ podSandboxId: "new" }), unknown]);
    const merged = mergeOccurrences("CreateContainerRequest", bytes);
    expect(type.toObject(type.decode(merged))).toEqual({ podSandboxId: "new" });
    expect(Buffer.from(merged).includes(unknown)).toBe(true);
  });
});
