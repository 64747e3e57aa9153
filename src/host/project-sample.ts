/**
 * A look at a few inodes of a tree that its tenant owns: whether they count for the tree's project. The owner of a file
 * may give it another project, outside a user namespace, and so leave the quota. Works on descriptors only, opens
 * nothing but regular files and directories, and never looks at the whole of a tree.
 */
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import type { Project } from "./quota.ts";

/** How many inodes were looked at, the top directory among them, and which projects they have. */
export interface ProjectSample {
  readonly looked: number;
  readonly projects: ReadonlySet<number>;
}

/** Not in Node's constants: an open that touches neither content nor device. */
const O_PATH = 0o10000000;
/** What is taken of one directory: a directory of a million files is not read to its end. */
const ENTRIES_PER_DIRECTORY = 16;

/** Begins with the directory `fd`; directories that were seen are entered in an order that chance decides. */
export async function sampleProjects(
  fd: number,
  most: number,
  projectOf: (fd: number) => Promise<Project>,
): Promise<ProjectSample> {
  const projects = new Set<number>([(await projectOf(fd)).id]);
  const top = await fs.open(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_DIRECTORY);
  const open = [top];
  let looked = 1;
  try {
    for (let next = takeAny(open); next && looked < most; next = takeAny(open)) {
      const found = await lookInto(next, Math.min(ENTRIES_PER_DIRECTORY, most - looked), projectOf);
      looked += found.looked;
      for (const id of found.projects) projects.add(id);
      open.push(...found.directories);
    }
  } finally {
    await Promise.all(open.map((handle) => handle.close()));
  }
  return { looked, projects };
}

/** Removes one of them, whichever. */
function takeAny<T>(from: T[]): T | undefined {
  return from.splice(Math.floor(Math.random() * from.length), 1)[0];
}

interface Found {
  looked: number;
  readonly projects: number[];
  readonly directories: fs.FileHandle[];
}

/** Looks at the first entries of a directory, which it closes; it leaves its directories open. */
async function lookInto(
  handle: fs.FileHandle,
  most: number,
  projectOf: (fd: number) => Promise<Project>,
): Promise<Found> {
  const found: Found = { looked: 0, projects: [], directories: [] };
  try {
    const entries = await fs.opendir(`/proc/self/fd/${handle.fd}`, { encoding: "latin1", bufferSize: most });
    for await (const { name } of entries) {
      if (found.looked >= most) break;
      found.looked += 1;
      const inode = await openPlain(
        Buffer.concat([Buffer.from(`/proc/self/fd/${handle.fd}/`), Buffer.from(name, "latin1")]),
      );
      if (!inode) continue;
      found.projects.push((await projectOf(inode.handle.fd)).id);
      if (inode.isDirectory) found.directories.push(inode.handle);
      else await inode.handle.close();
    }
    return found;
  } catch (error) {
    await Promise.all(found.directories.map((directory) => directory.close()));
    throw error;
  } finally {
    await handle.close();
  }
}

/** A regular file or a directory; undefined for what is neither, is gone, or is a mount of something else. */
async function openPlain(
  path: Buffer,
): Promise<{ readonly handle: fs.FileHandle; readonly isDirectory: boolean } | undefined> {
  let name: fs.FileHandle | undefined;
  try {
    // To open a device or a pipe could do something, so what it is must be known before it is opened.
    name = await fs.open(path, O_PATH | constants.O_NOFOLLOW);
    const stat = await name.stat();
    if (!stat.isFile() && !stat.isDirectory()) return undefined;
    const handle = await fs.open(`/proc/self/fd/${name.fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
    return { handle, isDirectory: stat.isDirectory() };
  } catch (error) {
    if (["ENOENT", "ELOOP", "ENXIO"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  } finally {
    await name?.close();
  }
}
