/** The list of what the image takes from Debian, and how that is found on a Debian with these packages installed. */
import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const list = join(import.meta.dirname, "debian-files");

export interface Wanted {
  readonly package: string;
  readonly paths: readonly string[];
}

/** The list's lines. */
export function wantedFiles(): Wanted[] {
  return readFileSync(list, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [name = "", ...paths] = line.split(/\s+/);
      return { package: name, paths };
    });
}

/** The packages that must be installed where an image is built. */
export function wantedPackages(): string[] {
  return [...new Set(wantedFiles().map((line) => line.package))];
}

/** A file of the image, at its real path; and the other names that it has there. */
export interface DebianFile {
  readonly path: string;
  readonly names: readonly string[];
}

/**
 * Those files, and every shared library that they or the given programs need, by real path, sorted. Throws where one is
 * missing.
 */
export function findFiles(paths: readonly string[], programs: readonly string[]): DebianFile[] {
  const found = new Map<string, Set<string>>();
  const add = (path: string) => {
    const real = realPathOf(path);
    const names = found.get(real) ?? new Set();
    found.set(real, names);
    // /lib and /bin are links in Debian, and in the image.
    const name = join(realpathSync(dirname(path)), basename(path));
    if (name !== real) names.add(name);
  };
  for (const path of paths) add(path);
  for (const library of neededLibraries([...[...found.keys()].filter(isElf), ...programs])) add(library);
  return [...found]
    .map(([path, names]) => ({ path, names: [...names].sort() }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw new Error(`${path} is missing: install the Debian package that hack/image/debian-files has it in`, {
      cause,
    });
  }
}

function isElf(path: string): boolean {
  return readFileSync(path).subarray(0, 4).toString("latin1") === "\x7fELF";
}

/** All libraries, and the loader, by the names that they are looked for. */
export function neededLibraries(programs: readonly string[]): string[] {
  const output = execFileSync("ldd", programs, {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
  });
  const libraries = new Set<string>();
  for (const line of output.split("\n")) {
    if (line.includes("not found")) throw new Error(`a shared library is missing: ${line.trim()}`);
    const [, path] = /^\t(?:\S+ => )?(\/\S+) \(0x/.exec(line) ?? [];
    if (path !== undefined) libraries.add(path);
  }
  return [...libraries];
}

/** The package of each file. Throws where one is of no package: nothing else may get into the image. */
export function ownersOf(files: readonly DebianFile[]): Map<string, string> {
  // A package may still name its files as they were called before /usr was merged.
  const before = (path: string) => path.replace(/^\/usr/, "");
  const asked = files.flatMap(({ path }) => [path, before(path)]);
  const owners = new Map<string, string>();
  for (const line of query(["--search", ...asked]).split("\n")) {
    const [, name, path] = /^([^:\s]+)(?::\S+)?: (\/\S+)$/.exec(line) ?? [];
    if (name !== undefined && path !== undefined) owners.set(path, name);
  }
  return new Map(
    files.map(({ path }) => {
      const owner = owners.get(path) ?? owners.get(before(path));
      if (owner === undefined) throw new Error(`${path} belongs to no Debian package`);
      return [path, owner];
    }),
  );
}

/** What dpkg knows of a package, in the form of its status file. */
export function statusOf(name: string): string {
  return query(["--status", name]);
}

/** Paths that are unknown to it make it fail, and are expected here. */
function query(args: readonly string[]): string {
  try {
    return execFileSync("dpkg-query", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch (error) {
    const { stdout } = error as { stdout?: string };
    if (stdout) return stdout;
    throw new Error(`dpkg-query ${args[0]} failed: an image is built on Debian`, { cause: error });
  }
}
