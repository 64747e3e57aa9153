import { describe, expect, it } from "vitest";
import { bytesField, entryField } from "../wire/encode.ts";
import { createScrubber } from "./scrub.ts";
import { filledMessage } from "./testing/filled-message.ts";

const scrubText = (text: string, name: string, request: Uint8Array) => createScrubber(name, request)(text);

describe("a text that a policy made", () => {
  it.each(["CreateContainerRequest", "PullImageRequest", "ExecRequest", "ExecSyncRequest"])(
    "keeps nothing of %s that must not be shown, as it is or quoted",
    (name) => {
      const { bytes, secrets } = filledMessage(name);
      expect(secrets.length).toBeGreaterThan(0);
      for (const secret of secrets) {
        const text = `refused ${secret}, that is ${JSON.stringify({ value: secret })}, in shown-image`;
        const scrubbed = scrubText(text, name, bytes);
        expect(scrubbed).not.toContain("hunter2");
        expect(scrubbed).toContain("refused [redacted], that is");
        expect(scrubbed).toContain("in shown-image");
      }
    },
  );

  it("loses the whole of a value that begins with another one", () => {
    const config = Buffer.concat([bytesField(4, "abcdef"), bytesField(4, "abcdef-and-more")]);
    const request = bytesField(2, config);
    expect(scrubText("no abcdef-and-more here", "CreateContainerRequest", request)).toBe(
      "no [redacted] here",
    );
  });

  it("keeps what is too short to be a secret, and is in every sentence", () => {
    const request = bytesField(2, Buffer.concat([entryField(6, "DEBUG", "1"), bytesField(4, "-c")]));
    expect(scrubText("1 of 10 with -c", "CreateContainerRequest", request)).toBe("1 of 10 with -c");
  });

  it("is not shown at all where the request cannot be read", () => {
    expect(scrubText("said hunter2", "CreateContainerRequest", Buffer.from([0x12, 0xff]))).toBe("[redacted]");
  });

  it("is cut where it is long", () => {
    expect(scrubText("x".repeat(5_000), "ExecRequest", Buffer.alloc(0)).length).toBeLessThanOrEqual(1_024);
  });
});
