/**
 * The target path of a publish call: below the kubelet's directory and nowhere else, with no symbolic link on the
 * way. The kubelet makes the parent, this driver the last component, and removes no more than that.
 */
import { posix } from "node:path";
import { isKind } from "../../errors.ts";
import type { FileStat, Files } from "../../host/files.ts";
import { invalid, refusal } from "../refusal.ts";
import { isWithin } from "./mount-state.ts";

const TARGET_MODE = 0o750;
// linux/limits.h, less the closing NUL of a path.
const MAX_PATH_BYTES = 4_095;
const MAX_NAME_BYTES = 255;

/** A target as the mount table names it. */
export interface Target {
  readonly path: string;
  /** The directories between the kubelet's root and the target, the outermost first. */
  readonly way: readonly string[];
}

/** `text` as a target; `realRoot` is the kubelet's root without symbolic links, which the root itself may well have. */
export function parseTarget(
  text: string,
  roots: { readonly root: string; readonly realRoot: string },
): Target {
  if (!fits(text)) {
    throw invalid(
      "target_path",
      `is longer than the system takes: ${MAX_PATH_BYTES} bytes, and ${MAX_NAME_BYTES} for each name in it`,
    );
  }
  const isNormal = posix.isAbsolute(text) && posix.normalize(text) === text && !text.includes("\0");
  const root = [roots.root, roots.realRoot].find((one) => isWithin(text, one));
  const names = posix.relative(root ?? "/", text).split("/");
  if (!isNormal || root === undefined || names[0] === "") {
    throw invalid(
      "target_path",
      `is "${text}": give a path below the kubelet's directory ${roots.root}, without "//", "." and ".."`,
    );
  }
  const steps = names.map((_, index) => posix.join(roots.realRoot, ...names.slice(0, index + 1)));
  return { path: posix.join(roots.realRoot, ...names), way: steps.slice(0, -1) };
}

function fits(path: string): boolean {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return false;
  return path.split("/").every((name) => Buffer.byteLength(name) <= MAX_NAME_BYTES);
}

/** Whether the parent is there; `precondition` if something on the way is not a plain directory. */
export async function parentExists(files: Files, { way }: Target): Promise<boolean> {
  for (const path of way) {
    const stat = await statIfThere(files, path);
    if (!stat) return false;
    if (stat.kind !== "directory") {
      throw refusal("precondition", path, `${path}, on the way to the target, is a ${stat.kind}`);
    }
  }
  return true;
}

/** Whether the target is there already, fit to be mounted on; `precondition` if it never can be. */
export async function targetExists(files: Files, target: Target): Promise<boolean> {
  const { path } = target;
  if (!(await parentExists(files, target))) {
    throw refusal(
      "precondition",
      path,
      `the parent directory of ${path} does not exist: the kubelet makes it`,
    );
  }
  const stat = await statIfThere(files, path);
  if (!stat) return false;
  if (stat.kind !== "directory") throw refusal("precondition", path, `the target ${path} is a ${stat.kind}`);
  if ((await files.list(path)).length > 0) {
    throw refusal("precondition", path, `the target ${path} is not empty: a mount would hide what is in it`);
  }
  return true;
}

/** The target as an empty directory. */
export function makeTarget(files: Files, { path }: Target): Promise<void> {
  return files.mkdir(path, TARGET_MODE);
}

/** Takes the target away, one level only: what is in it, should a mount have been missed, is somebody's data. */
export async function removeTarget(files: Files, path: string): Promise<void> {
  const stat = await statIfThere(files, path);
  if (!stat) return;
  if (stat.kind !== "directory") throw refusal("precondition", path, `the target ${path} is a ${stat.kind}`);
  try {
    await files.rmdir(path);
  } catch (error) {
    if (isKind(error, "not-found")) return;
    if (!isKind(error, "conflict")) throw error;
    const message = `nothing is mounted on ${path} and it is not empty: move away what is in it`;
    throw refusal("precondition", path, message, error);
  }
}

async function statIfThere(files: Files, path: string): Promise<FileStat | undefined> {
  try {
    return await files.stat(path);
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    throw error;
  }
}
