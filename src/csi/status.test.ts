import { describe, expect, test } from "vitest";
import { kinds, TrivetError } from "../errors.ts";
import { errorToStatus } from "./status.ts";

const error = (kind: (typeof kinds)[number]) =>
  new TrivetError({ kind, op: "o", subject: "s", message: `the ${kind}` });

describe("errorToStatus", () => {
  test.each(kinds.filter((kind) => kind !== "bug"))("gives %s its own message and a code", (kind) => {
    const { code, message } = errorToStatus(error(kind));
    expect(message).toBe(`the ${kind}`);
    expect(code).toMatch(/^[A-Z_]+$/);
  });

  test.each([
    ["invalid", "INVALID_ARGUMENT"],
    ["unsupported", "UNIMPLEMENTED"],
    ["range", "OUT_OF_RANGE"],
    ["not-found", "NOT_FOUND"],
    ["conflict", "ALREADY_EXISTS"],
    ["precondition", "FAILED_PRECONDITION"],
    ["busy", "ABORTED"],
    ["exhausted", "RESOURCE_EXHAUSTED"],
    ["unavailable", "UNAVAILABLE"],
    ["io", "INTERNAL"],
  ] as const)("%s is %s, as the specification and its callers expect", (kind, code) => {
    expect(errorToStatus(error(kind)).code).toBe(code);
  });

  test.each([error("bug"), new Error("secret path"), "text", undefined, null])(
    "hides what a bug says: %s",
    (thrown) => {
      expect(errorToStatus(thrown)).toEqual({
        code: "INTERNAL",
        message: "internal error of the driver: its log has the details",
      });
    },
  );

  test("a message that repeats a huge field is cut: it has to fit into a header", () => {
    const long = new TrivetError({
      kind: "invalid",
      op: "x",
      subject: "f",
      message: `f is ${"x".repeat(100_000)}`,
    });
    const { code, message } = errorToStatus(long);
    expect([code, message.slice(0, 6), message.length]).toEqual(["INVALID_ARGUMENT", "f is x", 1_003]);
  });

  test.each(["x".repeat(987) + "😀".repeat(20), "\ud800"])(
    "a message never holds half a character: a header cannot",
    (text) => {
      const { message } = errorToStatus(
        new TrivetError({ kind: "invalid", op: "x", subject: "f", message: `name is ${text}` }),
      );
      expect(() => encodeURI(message)).not.toThrow();
    },
  );
});
