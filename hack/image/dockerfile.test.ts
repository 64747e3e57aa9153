/** The Dockerfile cannot be run here: it has no base without a registry. So it must say what `make image` does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { imageSettings, layers } from "./settings.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** Its instructions, continued lines joined, without comments. */
const instructions = read("daemonset/Dockerfile")
  .replace(/^#.*\n/gm, "")
  .replace(/\\\n/g, "")
  .split("\n")
  .filter((line) => line.trim() !== "")
  .map((line) => line.replace(/\s+/g, " "));
const last = instructions.slice(instructions.lastIndexOf("FROM scratch") + 1);
const all = (keyword: string, from: readonly string[] = instructions) =>
  from.filter((line) => line.startsWith(`${keyword} `)).map((line) => line.slice(keyword.length + 1));

describe("the Dockerfile", () => {
  it("takes the same folders as layers, in the same order, and nothing else", () => {
    expect(all("COPY", last)).toEqual(layers.map((layer) => `--from=build /image/${layer}/ /`));
    expect(all("RUN", last)).toEqual([]);
    const [, made] = /hack\/image\/make-root\.ts (\S+)/.exec(instructions.join("\n")) ?? [];
    expect(made).toBe("/image");
  });

  it("says the same of the image", () => {
    const { entrypoint, command, env, workingDirectory, labels } = imageSettings;
    expect(all("ENTRYPOINT", last).map((text) => JSON.parse(text))).toEqual([entrypoint]);
    expect(all("CMD", last).map((text) => JSON.parse(text))).toEqual([command]);
    expect(all("ENV", last)).toEqual(Object.entries(env).map(([key, value]) => `${key}=${value}`));
    expect(all("WORKDIR", last)).toEqual([workingDirectory]);
    expect(all("LABEL", last)).toEqual(Object.entries(labels).map(([key, value]) => `${key}="${value}"`));
  });

  it("names no image but the base, which can be given", () => {
    expect(all("ARG")).toEqual(["BASE=debian:12-slim"]);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a Dockerfile's own
    expect(all("FROM")).toEqual(["${BASE} AS build", "scratch"]);
  });

  it("installs the packages of the list, and the compilers that make image asks for", () => {
    const [install = ""] = all("RUN").filter((line) => line.includes("apt-get install"));
    expect(install).toContain(`$(awk '/^[a-z]/ { print $1 }' hack/image/debian-files | sort -u)`);
    const makefile = read("Makefile");
    for (const name of ["binutils", "musl-tools"]) {
      expect(install).toContain(` ${name} `);
      expect(makefile).toMatch(new RegExp(`^image:.*\\n.*debian-packages .*\\b${name} `, "m"));
    }
    for (const name of install.match(/\b(?:gcc|libc6-dev)-[a-z0-9-]+\b/g) ?? [])
      expect(makefile).toContain(name);
    expect(install.match(/\bgcc-/g)).toHaveLength(2);
  });
});
