import { describe, expect, it } from "vitest";
import { RequestFields } from "./client-side.ts";

describe("the fields of a request", () => {
  it("name no method by two paths: which of them a runtime takes is its own business (RFC 9113, section 8.3)", () => {
    const fields = new RequestFields();
    for (const path of ["/runtime.v1.RuntimeService/ExecSync", "/runtime.v1.RuntimeService/Version"])
      fields.field(":path", path);
    expect(fields.path).toBe("/runtime.v1.RuntimeService/ExecSync /runtime.v1.RuntimeService/Version");
    fields.clear();
    fields.field(":path", "/runtime.v1.RuntimeService/Version");
    expect(fields.path).toBe("/runtime.v1.RuntimeService/Version");
  });
});
