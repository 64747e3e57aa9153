import { describe, expect, it } from "vitest";
import { compileImagePattern, imagePatternProblem, matchesGlob } from "./pattern.ts";
import { isImageId, parseImage } from "./reference.ts";
import { type ImageRewrite, parsePrefix, rewriteImage } from "./rewrite.ts";

const digest = `sha256:${"a1".repeat(32)}`;

describe("the name of an image in full", () => {
  it.each([
    ["nginx", "docker.io/library/nginx:latest"],
    ["nginx:1.25", "docker.io/library/nginx:1.25"],
    ["docker.io/nginx", "docker.io/library/nginx:latest"],
    ["index.docker.io/bitnami/redis:7", "docker.io/bitnami/redis:7"],
    ["bitnami/redis", "docker.io/bitnami/redis:latest"],
    ["localhost/app", "localhost/app:latest"],
    ["localhost:5000/app:v1", "localhost:5000/app:v1"],
    ["registry.example.org/team/app", "registry.example.org/team/app:latest"],
    [`nginx@${digest}`, `docker.io/library/nginx@${digest}`],
    [`nginx:1.25@${digest}`, `docker.io/library/nginx:1.25@${digest}`],
    ["[fd00::1]:5000/app:1", "[fd00::1]:5000/app:1"],
  ])("of %s is %s", (text, name) => {
    expect(parseImage(text)?.name).toBe(name);
  });

  it.each(["", digest, "a1".repeat(32), "0123456789ab", "UPPER/case:bad tag", "nginx:", "x".repeat(1_100)])(
    "is none for %j",
    (text) => {
      // An empty tag is read as no tag: the runtime refuses it, we have nothing to say about it.
      if (text !== "nginx:") expect(parseImage(text)).toBeUndefined();
      expect(() => parseImage(text)).not.toThrow();
    },
  );

  it("is not asked of an id", () => {
    expect([digest, "sha256:a1", "a1".repeat(32), "0123456789ab", "cafe", "nginx"].map(isImageId)).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("a pattern of images", () => {
  it.each([
    ["nginx", "nginx:1.25", true],
    ["nginx", "docker.io/library/nginx", true],
    ["nginx", "bitnami/nginx", false],
    ["nginx:1.*", "nginx:1.25", true],
    ["nginx:1.*", "nginx", false],
    ["docker.io/*", "nginx", true],
    ["docker.io/*", "bitnami/nginx", false],
    ["docker.io/**", "nginx", true],
    ["docker.io/*/*", "bitnami/redis:7", true],
    ["bitnami/*", "docker.io/bitnami/redis", true],
    ["*.example.org/**", "registry.example.org/a/b:1", true],
    ["*.example.org/**", "registry.example.com/a/b:1", false],
    ["registry.example.org/team-*/*", "registry.example.org/team-a/app", true],
    ["registry.example.org/team-*", "registry.example.org/team-a/app", false],
    ["*", "anything/at:all", true],
    ["**", "localhost:5000/a/b/c", true],
    ["**/redis", "localhost:5000/a/b/redis:7", true],
    [`nginx@${digest}`, `nginx:1.25@${digest}`, true],
    ["**", digest, false],
  ])("%s on %s: %s", (pattern, image, matches) => {
    expect(compileImagePattern(pattern).matches(image)).toBe(matches);
  });

  it.each(["", "a b", "a***b", "x".repeat(600)])("is none: %j", (text) => {
    expect(imagePatternProblem(text)).toBeTypeOf("string");
  });

  it("of many stars takes no longer than its length times that of the name", () => {
    expect(matchesGlob("*a".repeat(100), "a".repeat(400))).toBe(true);
    expect(matchesGlob(`${"**a".repeat(100)}b`, "a".repeat(400))).toBe(false);
  });
});

describe("a rewrite of images", () => {
  const rewrite = (from: string, to: string): ImageRewrite => ({ from, to, keepCredentials: false });
  const mirror = rewrite("docker.io", "mirror.example.org/hub");

  it.each([
    ["nginx", "mirror.example.org/hub/library/nginx"],
    ["nginx:1.25", "mirror.example.org/hub/library/nginx:1.25"],
    [`nginx@${digest}`, `mirror.example.org/hub/library/nginx@${digest}`],
    ["docker.io/bitnami/redis:7", "mirror.example.org/hub/bitnami/redis:7"],
  ])("puts %s at %s", (from, to) => {
    expect(rewriteImage(from, [mirror])).toMatchObject({ image: to, otherRegistry: true });
  });

  it.each([digest, "a1".repeat(32), "0123456789ab", "quay.io/a/b", "docker.io.example.org/a", "", "a b"])(
    "leaves %j alone",
    (image) => {
      expect(rewriteImage(image, [mirror])).toBeUndefined();
    },
  );

  it("is by whole parts of the path, and by the first one that fits", () => {
    const first = rewrite("docker.io/bitnami", "a.example.org/bitnami");
    expect(rewriteImage("bitnami/redis", [first, mirror])?.image).toBe("a.example.org/bitnami/redis");
    expect(rewriteImage("bitnamilegacy/redis", [first])).toBeUndefined();
  });

  it("does nothing to what it has made", () => {
    const inside = rewrite("docker.io", "docker.io/mirror");
    expect(rewriteImage("nginx", [inside])).toMatchObject({
      image: "docker.io/mirror/library/nginx",
      otherRegistry: false,
    });
    const again = rewriteImage("nginx", [mirror])?.image ?? "";
    expect(rewriteImage(again, [mirror])).toBeUndefined();
  });

  it.each([
    ["docker.io", "docker.io"],
    ["docker.io/", "docker.io"],
    ["localhost:5000/a/b", "localhost:5000/a/b"],
    ["bitnami", undefined],
    ["docker.io//a", undefined],
    ["docker.io/A", undefined],
    ["docker.io/a:tag", undefined],
  ])("takes the prefix %s as %s", (text, prefix) => {
    expect(parsePrefix(text)).toBe(prefix);
  });
});
