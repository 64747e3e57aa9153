import { describe, expect, test } from "vitest";
import { TrivetError } from "../errors.ts";
import { errnoError, errnoName, fromNodeError } from "./errno.ts";

describe("errnoName", () => {
  test.each([
    [2, "ENOENT"],
    [-17, "EEXIST"],
    [11, "EAGAIN"],
    [95, "EOPNOTSUPP"],
    [122, "EDQUOT"],
    [9999, "errno 9999"],
  ])("%d is %s", (errno, name) => expect(errnoName(errno)).toBe(name));
});

describe("errnoError", () => {
  test.each([
    ["ENOENT", "not-found"],
    ["EEXIST", "conflict"],
    ["ENOTEMPTY", "conflict"],
    ["EBUSY", "precondition"],
    ["EAGAIN", "busy"],
    ["ENOSPC", "exhausted"],
    ["EDQUOT", "exhausted"],
    ["ECONNREFUSED", "unavailable"],
    ["EOPNOTSUPP", "unsupported"],
    ["EAFNOSUPPORT", "unsupported"],
    ["EPROTONOSUPPORT", "unsupported"],
    ["EIO", "io"],
    ["EPERM", "io"],
    ["EROFS", "io"],
  ])("%s is %s, and the message names step, object and errno", (name, kind) => {
    const error = errnoError(name, "file.open", "/x");
    expect(error).toMatchObject({
      kind,
      op: "file.open",
      subject: "/x",
      message: `file.open failed on /x: ${name}`,
    });
  });
});

describe("fromNodeError", () => {
  test("lets an error of ours through as it is", () => {
    const ours = new TrivetError({ kind: "busy", op: "o", subject: "s", message: "m" });
    expect(fromNodeError(ours, "x", "y")).toBe(ours);
  });

  test("reads the number of an errno that Node has no name for", () => {
    const quota = Object.assign(new Error("Unknown system error -122"), {
      errno: -122,
      code: "Unknown system error -122",
    });
    expect(fromNodeError(quota, "file.write", "/x")).toMatchObject({ kind: "exhausted", cause: quota });
  });

  test("reads a code where there is no number", () => {
    expect(fromNodeError({ code: "ECONNRESET" }, "o", "s").kind).toBe("unavailable");
  });

  test.each([new TypeError("oops"), "text"])("calls a bug what carries neither: %s", (error) => {
    expect(fromNodeError(error, "o", "s").kind).toBe("bug");
  });
});
