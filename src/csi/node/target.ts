/**
 * The paths of the kubelet's calls: below its directory and nowhere else, with no symbolic link on the way. The kubelet
 * makes the parent, this driver the last component, and removes no more than that.
 */
import { posix } from "node:path";
import { isKind, withCleanupFailure } from "../../errors.ts";
import type { FileStat, Files } from "../../host/files.ts";
import { invalid, refusal } from "../refusal.ts";
import { isWithin } from "./mount-state.ts";

const TARGET_MODE = 0o750;
const TARGET_FILE_MODE = 0o640;
// linux/limits.h, less the closing NUL of a path.
const MAX_PATH_BYTES = 4_095;
const MAX_NAME_BYTES = 255;

/** A target as the mount table names it. */
export interface Target {
  readonly path: string;
  /** Whether the directory is there in which the target lies. */
  readonly hasParent: boolean;
}

/** A target is a directory for a mounted volume, a file for a block device. */
export type TargetKind = "directory" | "file";

/** Turns paths of requests into targets. */
export interface TargetResolver {
  /**
   * `field` is the path's name in the request. Throws `invalid` for a path that is none below the kubelet's directory, and
   * `precondition` where something on the way is no plain directory.
   */
  resolve(field: string, text: string): Promise<Target>;
}

/** The kubelet's directory may itself lie behind links, which are its administrator's. */
export function createTargetResolver(files: Files, root: string): TargetResolver {
  let realRoot: string | undefined;
  const findRoot = async (): Promise<string> => {
    const found = await files.realPath(root).catch((error: Error) => {
      const message = `the kubelet's directory ${root} cannot be reached: ${error.message}`;
      throw refusal("precondition", root, message, error);
    });
    realRoot = found;
    return found;
  };
  return {
    async resolve(field, text) {
      const known = realRoot ?? (await findRoot());
      const path = parseTarget(field, text, { root, realRoot: known });
      const parent = await realParent(files, path);
      if (parent === posix.dirname(path)) return { path, hasParent: true };
      // The root may have moved since it was last looked at.
      const again = parseTarget(field, text, { root, realRoot: await findRoot() });
      const realAgain = again === path ? parent : await realParent(files, again);
      if (realAgain === undefined) return { path: again, hasParent: false };
      if (realAgain === posix.dirname(again)) return { path: again, hasParent: true };
      const message = `there is a symbolic link on the way to ${again}: it leads to ${realAgain}`;
      throw refusal("precondition", again, message);
    },
  };
}

async function realParent(files: Files, path: string): Promise<string | undefined> {
  const parent = posix.dirname(path);
  try {
    return await files.realPath(parent);
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    if (!isKind(error, "io")) throw error;
    throw refusal("precondition", path, `${parent}, on the way to the target, is no directory`, error);
  }
}

/** `text` as a path without links; `realRoot` is the kubelet's root without symbolic links. */
export function parseTarget(
  field: string,
  text: string,
  roots: { readonly root: string; readonly realRoot: string },
): string {
  if (text === "") throw invalid(field, "is missing");
  if (!fits(text)) {
    throw invalid(
      field,
      `is longer than the system takes: ${MAX_PATH_BYTES} bytes, and ${MAX_NAME_BYTES} for each name in it`,
    );
  }
  const isNormal = posix.isAbsolute(text) && posix.normalize(text) === text && !text.includes("\0");
  const root = [roots.root, roots.realRoot].find((one) => isWithin(text, one));
  const relative = posix.relative(root ?? "/", text);
  if (isNormal && root !== undefined && relative !== "") return posix.join(roots.realRoot, relative);
  throw invalid(
    field,
    `is "${text}": give a path below the kubelet's directory ${roots.root}, without "//", "." and ".."`,
  );
}

function fits(path: string): boolean {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return false;
  return path.split("/").every((name) => Buffer.byteLength(name) <= MAX_NAME_BYTES);
}

/**
 * The target as an empty directory, or an empty file; gives whether it was made now. `precondition` where something is
 * there that cannot be mounted on, or that a mount would hide.
 */
export async function makeTarget(files: Files, target: Target, kind: TargetKind): Promise<boolean> {
  const { path, hasParent } = target;
  if (!hasParent) {
    const message = `the parent directory of ${path} does not exist: the kubelet makes it`;
    throw refusal("precondition", path, message);
  }
  try {
    if (kind === "directory") await files.mkdir(path, TARGET_MODE);
    else await files.create(path, Buffer.alloc(0), TARGET_FILE_MODE);
    return true;
  } catch (error) {
    if (!isKind(error, "conflict")) {
      // It was not there before, and may be there now all the same.
      await removeTarget(files, path).catch((cleanup) => withCleanupFailure(error, cleanup));
      throw error;
    }
  }
  const stat = await files.stat(path);
  if (stat.kind !== kind) throw refusal("precondition", path, `the target ${path} is a ${stat.kind}`);
  const isEmpty = kind === "directory" ? (await files.list(path)).length === 0 : stat.sizeBytes === 0;
  if (isEmpty) return false;
  throw refusal("precondition", path, `the target ${path} is not empty: a mount would hide what is in it`);
}

/**
 * The staging directory, which the kubelet makes; here it is made only where a volume is staged that the kubelet believes to
 * be. Gives whether it was made now.
 */
export async function useDirectory(files: Files, target: Target): Promise<boolean> {
  const { path } = target;
  try {
    if ((await files.list(path)).length === 0) return false;
  } catch (error) {
    if (isKind(error, "not-found")) return makeTarget(files, target, "directory");
    if (!isKind(error, "io")) throw error;
    throw refusal("precondition", path, `the target ${path} is no directory`, error);
  }
  throw refusal("precondition", path, `the target ${path} is not empty: a mount would hide what is in it`);
}

/** Takes the target away, one level only: what is in it, should a mount have been missed, is somebody's data. */
export async function removeTarget(files: Files, path: string): Promise<void> {
  try {
    await files.rmdir(path);
    return;
  } catch (error) {
    if (isKind(error, "not-found")) return;
    if (isKind(error, "conflict")) {
      const message = `nothing is mounted on ${path} and it is not empty: move away what is in it`;
      throw refusal("precondition", path, message, error);
    }
    const stat = await statIfThere(files, path);
    if (!stat) return;
    if (stat.kind === "directory") throw error;
    if (stat.kind === "file" && stat.sizeBytes === 0) return removeFile(files, path);
    const what = stat.kind === "file" ? "file with content" : stat.kind;
    throw refusal("precondition", path, `the target ${path} is a ${what}`);
  }
}

async function removeFile(files: Files, path: string): Promise<void> {
  await files.unlink(path).catch((error) => {
    if (!isKind(error, "not-found")) throw error;
  });
}

async function statIfThere(files: Files, path: string): Promise<FileStat | undefined> {
  try {
    return await files.stat(path);
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    throw error;
  }
}
