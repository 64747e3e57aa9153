/**
 * What is at a path, as far as an installation must be able to bring it back: kind, content, mode, owner. As one line of text it is
 * what the journal keeps, in a grammar that a shell can read: `absent`, `file MODE UID GID SHA256`, `link TARGET`, `tree`.
 */
import { createHash } from "node:crypto";
import { isKind, TrivetError } from "../errors.ts";
import type { Files } from "../host/files.ts";

/** `tree` is a directory; what is in it is not looked at. */
export type State =
  | { readonly kind: "absent" }
  | {
      readonly kind: "file";
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      /** SHA-256 of the content, in hexadecimal. */
      readonly digest: string;
    }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "tree" };

export const absent: State = { kind: "absent" };

export const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** The value, or undefined where nothing has that name. */
export async function ifThere<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    throw error;
  }
}

/** What is at `path` now; links are not followed. Throws kind `unsupported` for a device, a socket or a pipe. */
export async function lookAt(files: Files, path: string): Promise<State> {
  const stat = await ifThere(files.stat(path));
  if (!stat) return absent;
  if (stat.kind === "symlink") return { kind: "link", target: await files.readLink(path) };
  if (stat.kind === "directory") return { kind: "tree" };
  if (stat.kind === "file") {
    const { mode, uid, gid } = stat;
    return { kind: "file", mode, uid, gid, digest: digestOf(await files.read(path)) };
  }
  const message = `${path} is neither a file nor a link nor a directory: it cannot be replaced`;
  throw new TrivetError({ kind: "unsupported", op: "install.state", subject: path, message });
}

/** Equal in everything. */
export function isSame(a: State, b: State): boolean {
  return formatState(a) === formatState(b);
}

/** Equal in content: mode and owner may have been changed. */
export function hasSameContent(a: State, b: State): boolean {
  if (a.kind === "file" && b.kind === "file") return a.digest === b.digest;
  return isSame(a, b);
}

/** One line without its newline. */
export function formatState(state: State): string {
  if (state.kind === "link") return `link ${state.target}`;
  if (state.kind !== "file") return state.kind;
  return `file ${state.mode.toString(8).padStart(4, "0")} ${state.uid} ${state.gid} ${state.digest}`;
}

/** Undefined for a line that is not of the grammar. */
export function parseState(line: string): State | undefined {
  if (line === "absent" || line === "tree") return { kind: line };
  if (line.startsWith("link ")) return { kind: "link", target: line.slice("link ".length) };
  const [, mode, uid, gid, digest] = /^file ([0-7]{4}) (\d+) (\d+) ([0-9a-f]{64})$/.exec(line) ?? [];
  if (mode === undefined || digest === undefined) return undefined;
  return { kind: "file", mode: Number.parseInt(mode, 8), uid: Number(uid), gid: Number(gid), digest };
}
