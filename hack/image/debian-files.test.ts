import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { wantedFiles, wantedPackages } from "./debian-files.ts";

const source = join(import.meta.dirname, "../../src");

/** What the sources start: first words of argument arrays whose second is a flag, and of calls that start programs. */
const started =
  /(?:\bexec(?:OrThrow)?\((?:exec,\s*)?\[|\bspawn\(|\brun\(\[\s*|: Command = \[|\breturn \[(?="[^"]*", (?:"-|\.\.\.)))"([a-z][a-z0-9._-]+)"/g;

function programsOf(path: string): string[] {
  return [...readFileSync(path, "utf8").matchAll(started)].map(([, name = ""]) => name);
}

/** Where programs are started in the image; the demo is not part of it. */
function sources(): string[] {
  const files = ["host", "commands"].flatMap((folder) =>
    readdirSync(join(source, folder), { recursive: true, encoding: "utf8" }).map((name) =>
      join(folder, name),
    ),
  );
  return files.filter((name) => /(?<!\.test)\.ts$/.test(name) && !name.startsWith("commands/demo"));
}

it("has every program that the sources start", () => {
  const programs = new Set(sources().flatMap((name) => programsOf(join(source, name))));
  // So much is known: the pattern above has to find them.
  for (const name of [
    "mkfs.ext4",
    "mkfs.xfs",
    "mkfs.btrfs",
    "e2fsck",
    "xfs_db",
    "resize2fs",
    "xargs",
    "nsenter",
  ]) {
    expect([...programs]).toContain(name);
  }
  const wanted = new Set(wantedFiles().flatMap(({ paths }) => paths.map((path) => basename(path))));
  expect([...programs].filter((name) => !wanted.has(name))).toEqual([]);
});

it("names each file once, by its path in a merged /usr", () => {
  const paths = wantedFiles().flatMap((line) => line.paths);
  expect(new Set(paths).size).toBe(paths.length);
  for (const path of paths) expect(path).toMatch(/^\/(?:usr\/(?:s?bin|lib)|etc)\/[a-z0-9._-]+$/);
  expect(wantedPackages().every((name) => /^[a-z0-9.+-]+$/.test(name))).toBe(true);
});
