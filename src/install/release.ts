/**
 * What a release is made of: the files of the bundle and the Node.js that runs it, with a manifest of their digests. Knows where to read
 * it from; where it goes is `runtime.ts`.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { Files } from "../host/files.ts";
import { digestOf, ifThere } from "./state.ts";

/** One file of a release. */
export interface ReleaseFile {
  /** Relative, such as `bin/trivet`. */
  readonly name: string;
  readonly mode: number;
  readonly digest: string;
  /** Where it is read from. */
  readonly source: string;
}

/** A release, ready to be copied. */
export interface Release {
  readonly version: string;
  readonly files: readonly ReleaseFile[];
  /** One line a file; it lies in the release itself, so that a later run can tell whether all is there. */
  readonly manifest: string;
}

export const manifestName = "MANIFEST";

export interface ReleaseSource {
  /** Of the system that the installer runs on. */
  readonly files: Files;
  /** The bundle's directory, with `main.js`, `package.json` and `bin/trivet`. */
  readonly bundle: string;
  /** The Node.js program. */
  readonly node: string;
}

/** Reads and digests everything. Throws kind `precondition` where that is no bundle. */
export async function readRelease({ files, bundle, node }: ReleaseSource): Promise<Release> {
  const about = await ifThere(files.read(join(bundle, "package.json")));
  const names = await listBelow(files, bundle, "");
  if (!about || !names.includes("main.js") || !names.includes("bin/trivet")) {
    const message = `${bundle} is no bundle: build it with 'make bundle', or name it with --bundle`;
    throw new TrivetError({ kind: "precondition", op: "install.release", subject: bundle, message });
  }
  const { version } = JSON.parse(about.toString("utf8")) as { version?: unknown };
  if (typeof version !== "string" || !/^[0-9A-Za-z][0-9A-Za-z.+-]*$/.test(version)) {
    const message = `${bundle}/package.json has no version that could be the name of a directory`;
    throw new TrivetError({ kind: "invalid", op: "install.release", subject: bundle, message });
  }
  const sources = new Map(
    names.filter((name) => name !== manifestName).map((name) => [name, join(bundle, name)]),
  );
  sources.set("bin/node", node);
  const read: ReleaseFile[] = [];
  for (const [name, source] of [...sources].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const mode = (await files.stat(source)).mode & 0o111 ? 0o755 : 0o644;
    read.push({ name, mode, source, digest: digestOf(await files.read(source)) });
  }
  return { version, files: read, manifest: encodeManifest(read) };
}

/** Files only: a bundle has no links. */
async function listBelow(files: Files, directory: string, prefix: string): Promise<string[]> {
  const listed = await ifThere(files.list(join(directory, prefix)));
  const found: string[] = [];
  for (const { name, kind } of listed ?? []) {
    const path = join(prefix, name);
    if (kind === "directory") found.push(...(await listBelow(files, directory, path)));
    else if (kind === "file") found.push(path);
  }
  return found;
}

const encodeManifest = (files: readonly Pick<ReleaseFile, "name" | "mode" | "digest">[]) =>
  files.map(({ name, mode, digest }) => `${digest} ${mode.toString(8)} ${name}\n`).join("");

/** Whether a release lies at `directory` with every byte. */
export async function isWhole(files: Files, directory: string, release: Release): Promise<boolean> {
  const manifest = await ifThere(files.read(join(directory, manifestName)));
  if (manifest?.toString("utf8") !== release.manifest) return false;
  for (const { name, mode, digest } of release.files) {
    const path = join(directory, name);
    const stat = await ifThere(files.stat(path));
    if (stat?.kind !== "file" || stat.mode !== mode) return false;
    if (digestOf(await files.read(path)) !== digest) return false;
  }
  return true;
}
