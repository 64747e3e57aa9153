/** How the kernel finds what a path names (path_resolution(7)), in the tree of the fake files. */
import { errnoError } from "../../src/host/errno.ts";
import type { Inode } from "./files-tree.ts";

/** Bytes of one name (linux/limits.h). */
export const NAME_MAX = 255;
const MAX_LINKS_FOLLOWED = 40;

/** How to look, and what the error is about. */
export interface WalkOptions {
  readonly op: string;
  readonly subject: string;
  /** Whether a symbolic link at the end is followed; those on the way always are. */
  readonly follow: boolean;
}

const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".");

/** The inode that `path` names, or the kernel's error. */
export function walk(root: Inode, path: string, { op, subject, follow }: WalkOptions): Inode {
  if (!path.startsWith("/")) throw errnoError("ENOENT", op, subject);
  const trail: Inode[] = [root];
  const rest = partsOf(path);
  let followed = 0;
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    const here = trail.at(-1) ?? root;
    if (part.length > NAME_MAX) throw errnoError("ENAMETOOLONG", op, subject);
    if (here.kind !== "directory") throw errnoError("ENOTDIR", op, subject);
    if (part === "..") {
      if (trail.length > 1) trail.pop();
      continue;
    }
    const next = here.entries.get(part);
    if (!next) throw errnoError("ENOENT", op, subject);
    if (next.kind !== "symlink" || (rest.length === 0 && !follow)) {
      trail.push(next);
      continue;
    }
    if (++followed > MAX_LINKS_FOLLOWED) throw errnoError("ELOOP", op, subject);
    if (next.target.startsWith("/")) trail.length = 1;
    rest.unshift(...partsOf(next.target));
  }
  return trail.at(-1) ?? root;
}
