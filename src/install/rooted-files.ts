/**
 * The files below a directory that is the root of a system: another machine's disk, an image, or the host as a container sees it. Paths
 * are as that system has them, and its links lead within it, as they would after chroot(2): without that, an absolute link on the way
 * would lead out of it into ours.
 */
import { basename, dirname, join } from "node:path";
import { errnoError } from "../host/errno.ts";
import type { Files } from "../host/files.ts";
import { ifThere } from "./state.ts";

const MAX_LINKS = 40;

/**
 * `files` as it would be after chroot(2) to `root`. Also of `/` itself: there it is `files`, but for a directory that is reached by a link,
 * as /opt is with ostree, which can be synced too.
 */
export function rootedFiles(files: Files, root: string): Files {
  const isOwn = root === "/";
  // The root itself may be named by a link, as /proc/PID/root is, and not every effect follows one.
  const unlinked = (path: string) => (path === root ? `${root}/.` : path);
  const within = async (path: string) => unlinked(await resolveWithin(files, root, path));
  const real = async (path: string) => (isOwn ? path : within(path));
  const named = async (path: string) =>
    isOwn ? path : unlinked(join(await resolveWithin(files, root, dirname(path)), basename(path)));
  const outside = (path: string) => join("/", path.slice(root.length));
  return {
    read: async (path) => files.read(await real(path)),
    create: async (path, data, mode) => files.create(await named(path), data, mode),
    open: async (path) => files.open(await named(path)),
    sync: async (path) => files.sync(isOwn ? await files.realPath(path) : await real(path)),
    mkdir: async (path, mode) => files.mkdir(await named(path), mode),
    rename: async (from, to) => files.rename(await named(from), await named(to)),
    link: async (existing, name) => files.link(await named(existing), await named(name)),
    unlink: async (path) => files.unlink(await named(path)),
    rmdir: async (path) => files.rmdir(await named(path)),
    list: async (path) => files.list(await real(path)),
    stat: async (path) => files.stat(await named(path)),
    realPath: async (path) => (isOwn ? files.realPath(path) : outside(await real(path))),
    setMode: async (path, mode) => files.setMode(await real(path), mode),
    setOwner: async (path, uid, gid) => files.setOwner(await named(path), uid, gid),
    setGroup: async (path, gid) => files.setGroup(await named(path), gid),
    symlink: async (target, path) => files.symlink(target, await named(path)),
    readLink: async (path) => files.readLink(await named(path)),
    removeTree: async (path) => files.removeTree(await named(path)),
    space: async (path) => files.space(await real(path)),
  };
}

/** The place outside that `path` names inside, with every link followed there. What does not exist is named as it would be. */
export async function resolveWithin(files: Files, root: string, path: string): Promise<string> {
  const rest = partsOf(path);
  const done: string[] = [];
  let followed = 0;
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === "..") {
      done.pop();
      continue;
    }
    const at = join(root, ...done, part);
    const stat = await ifThere(files.stat(at));
    if (stat?.kind !== "symlink") {
      done.push(part);
      continue;
    }
    if (++followed > MAX_LINKS) throw errnoError("ELOOP", "file.resolve", path);
    const target = await files.readLink(at);
    if (target.startsWith("/")) done.length = 0;
    rest.unshift(...partsOf(target));
  }
  return join(root, ...done);
}

const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".");
