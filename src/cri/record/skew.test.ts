import { describe, expect, it } from "vitest";
import { allMethods } from "../wire/descriptors.ts";
import { bytesField } from "../wire/encode.ts";
import { createSkew, isKnownMethod } from "./skew.ts";
import { filledMessage } from "./testing/filled-message.ts";

function found(method: string, request: Uint8Array, times = 1): string[] {
  const fields: string[] = [];
  const skew = createSkew({ onField: (field) => fields.push(field) });
  for (let time = 0; time < times; time += 1) skew.request(method, request);
  return fields;
}

describe("what is newer than our CRI", () => {
  it.each(allMethods())("is not in $request, whose fields we all know", ({ name, request }) => {
    expect(found(name, filledMessage(request).bytes)).toEqual([]);
  });

  it("is told by message and number, however deep it lies", () => {
    const { bytes } = filledMessage("CreateContainerRequest");
    const deep = bytesField(2, bytesField(15, bytesField(2, bytesField(77, "new"))));
    const request = Buffer.concat([bytes, bytesField(99, "new"), deep]);
    expect(found("CreateContainer", request)).toEqual([
      "CreateContainerRequest.99",
      "LinuxContainerSecurityContext.77",
    ]);
  });

  it("is looked for in the first messages of a kind, then in a part of them", () => {
    const request = bytesField(99, "new");
    expect(found("StopContainer", request, 20)).toHaveLength(20);
    expect(found("StopContainer", request, 1_000).length).toBeLessThan(100);
  });

  it("is looked for in responses as well", () => {
    const fields: string[] = [];
    const skew = createSkew({ onField: (field) => fields.push(field) });
    skew.response("RunPodSandbox", bytesField(9, "new"));
    expect(fields).toEqual(["RunPodSandboxResponse.9"]);
  });

  it("is nothing in what is no protobuf, or of no method that we know", () => {
    expect(found("CreateContainer", Buffer.from([0x12, 0xff]))).toEqual([]);
    expect(found("MethodOfTomorrow", bytesField(1, "x"))).toEqual([]);
    expect([isKnownMethod("Version"), isKnownMethod("MethodOfTomorrow")]).toEqual([true, false]);
  });

  it("costs a bounded time in a message of millions of fields", () => {
    const many = Buffer.alloc(4 << 20, 0);
    for (let at = 0; at < many.length; at += 2) many.writeUInt16BE(0x7801, at); // field 15, a number
    expect(found("StopContainer", many).length).toBeLessThanOrEqual(5_000);
  });
});
