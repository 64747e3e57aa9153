import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { allowedPaths, imageMethods, isAllowedWord, methodGroups, runtimeMethods } from "./methods.ts";

const proto = readFileSync(join(import.meta.dirname, "../../../proto/runtime/v1/api.proto"), "utf8");

function methodsOf(service: string): string[] {
  const body = new RegExp(`^service ${service} \\{(.*?)^\\}`, "ms").exec(proto)?.[1] ?? "";
  return [...body.matchAll(/\brpc (\w+)\(/g)].map(([, name]) => name ?? "");
}

/** What runtimes change by them, in whatever way: none of these may be in a group that only shows. */
const changing = /^(RunPod|Stop|Remove|Create|Start|Update|Reopen|Exec|Attach|PortForward|Checkpoint|Pull)/;

describe("the methods of a listener", () => {
  it("are those of the API, each in its service", () => {
    expect([...runtimeMethods].sort()).toEqual(methodsOf("RuntimeService").sort());
    expect([...imageMethods].sort()).toEqual(methodsOf("ImageService").sort());
  });

  it("in read-only and stats change nothing, and take no events from the kubelet", () => {
    for (const name of [...methodGroups["read-only"], ...methodGroups.stats]) {
      expect(name).not.toMatch(changing);
      expect(name).not.toBe("GetContainerEvents");
    }
    const shown = [...runtimeMethods, ...imageMethods].filter((name) => !changing.test(name));
    const readOnly: readonly string[] = methodGroups["read-only"];
    expect(shown.filter((name) => !readOnly.includes(name))).toEqual(["GetContainerEvents"]);
  });

  it("become paths, groups and full paths included, and nothing else does", () => {
    expect(allowedPaths(["Version", "ImageStatus", "/runtime.v2.RuntimeService/Version"])).toEqual(
      new Set([
        "/runtime.v1.RuntimeService/Version",
        "/runtime.v1.ImageService/ImageStatus",
        "/runtime.v2.RuntimeService/Version",
      ]),
    );
    expect(allowedPaths(["all"]).size).toBe(runtimeMethods.length + imageMethods.length);
    expect(allowedPaths(["stats"])).toContain("/runtime.v1.ImageService/ImageFsInfo");
    expect(allowedPaths(["toString", "constructor", "", "*"])).toEqual(new Set());
  });

  it.each(["Versio", "", "toString", "*", "runtime.v1.RuntimeService/Version", "/a b/C"])(
    "do not include %j",
    (word) => {
      expect(isAllowedWord(word)).toBe(false);
    },
  );
});
