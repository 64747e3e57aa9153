/**
 * Goes through a tree, directory by directory, with a stack of its own: a tenant may have made it deeper than any path,
 * any call stack and any number of descriptors. The uppermost levels stay open; below them one level is open at a time,
 * and its parent is found again through `..`, which must then be what it was.
 */
import type { BigIntStats } from "node:fs";
import { fromNodeError } from "../errno.ts";
import { inLanes } from "../slots.ts";
import { type DirectoryEntry, resolveFlags, showName } from "../syscall/openat.ts";
import { copyAttributes } from "./attributes.ts";
import {
  below,
  close,
  errnoOf,
  fstat,
  mkdir,
  PRIVATE_DIRECTORY,
  READ_DIRECTORY,
  unless,
} from "./descriptor.ts";
import { copyEntry, type EntryContext, RESOLVE } from "./entry.ts";

/** Levels that stay open, with two descriptors each. Trees that people make are not as deep. */
const OPEN_LEVELS = 64;
/** Files of one directory that are copied at once. */
const LANES = 2;
const DT_DIR = 4;
/** One step up: all but "beneath", which it cannot be. The caller looks where it came out. */
const RESOLVE_PARENT = RESOLVE & ~resolveFlags.beneath;
const PARENT = Buffer.from("..");

interface Level {
  readonly depth: number;
  readonly name: Buffer;
  /** As it was when it was entered. */
  readonly stat: BigIntStats;
  /** Undefined while the level is closed, and when it could not be found again. */
  source: number | undefined;
  target: number | undefined;
  /** What was read and is not done. */
  batch: DirectoryEntry[];
  /** Where reading goes on when a closed level is opened again. */
  resume: bigint;
}

/** What is open already: the tree and its empty copy. Both are closed at the end, the copy when it is synced. */
export interface Roots {
  readonly source: number;
  readonly target: number;
}

/** Copies everything below `source`, and then what the directory itself carries. */
export async function copyLevels(context: EntryContext, { source, target }: Roots): Promise<void> {
  const stat = await fstat(source).catch(async (error) => {
    for (const fd of [source, target]) await close(fd);
    throw error;
  });
  const root = { depth: 0, name: Buffer.alloc(0), stat, source, target, batch: [], resume: 0n };
  const levels: Level[] = [root];
  try {
    for (let level: Level | undefined = root; level; level = levels.at(-1)) {
      context.job.check();
      const name = await nextDirectory(context, level);
      const child = name && (await enter(context, level, name));
      if (child) {
        levels.push(child);
        if (level.depth >= OPEN_LEVELS) await suspend(level);
      } else if (!name) {
        const parent = levels.at(-2);
        if (parent && parent.target === undefined) await reopen(context, levels, level, parent);
        levels.pop();
        await leave(context, level);
      }
    }
  } finally {
    for (const level of levels) await suspend(level);
  }
}

/** Copies what is no directory, up to the next one, and gives its name; undefined at the end. */
async function nextDirectory(context: EntryContext, level: Level): Promise<Buffer | undefined> {
  for (;;) {
    const entry = level.batch.shift();
    if (entry) {
      level.resume = entry.next;
      if (entry.type === DT_DIR || (await copyOne(context, level, entry.name)) === "directory")
        return entry.name;
    } else if (!(await readBatch(context, level))) {
      return undefined;
    }
  }
}

async function readBatch(context: EntryContext, level: Level): Promise<boolean> {
  if (level.source === undefined) return false;
  const entries = await context.job.syscalls.readDirectory(level.source);
  if (!entries) return false;
  // A level that is closed meanwhile is read again from one place on: its entries have to be done in turn.
  if (level.depth >= OPEN_LEVELS) {
    level.batch = [...entries];
    return true;
  }
  const found: DirectoryEntry[] = entries.filter(({ type }) => type === DT_DIR);
  const others = entries.filter(({ type }) => type !== DT_DIR);
  await inLanes(others, LANES, async (entry) => {
    if ((await copyOne(context, level, entry.name)) === "directory") found.push(entry);
  });
  level.batch = found.map((entry) => ({ ...entry, type: DT_DIR }));
  return true;
}

async function copyOne(context: EntryContext, level: Level, name: Buffer): Promise<"copied" | "directory"> {
  const { source, target } = level;
  if (source === undefined || target === undefined) return "copied";
  return copyEntry(context, { source, target, name });
}

/** The directory and its empty copy; undefined where there is none any more, or it is a mount's or was copied. */
async function enter(context: EntryContext, level: Level, name: Buffer): Promise<Level | undefined> {
  const { job } = context;
  if (level.source === undefined || level.target === undefined) return undefined;
  const path = below(level.target, name);
  try {
    const source = await job.syscalls.openBelow(level.source, name, READ_DIRECTORY, RESOLVE);
    let target: number | undefined;
    try {
      const stat = await fstat(source);
      const made = await unless(
        ["EEXIST"],
        mkdir(path, PRIVATE_DIRECTORY).then(() => true),
      );
      if (made) target = await job.syscalls.openBelow(level.target, name, READ_DIRECTORY, RESOLVE);
      if (target === undefined) return undefined;
      job.progress({ entries: 1 });
      return { depth: level.depth + 1, name, stat, source, target, batch: [], resume: 0n };
    } finally {
      if (target === undefined) await close(source);
    }
  } catch (error) {
    return enterOther(context, { level, name, path, error });
  }
}

interface Refused {
  readonly level: Level;
  readonly name: Buffer;
  readonly path: Buffer;
  readonly error: unknown;
}

async function enterOther(context: EntryContext, { level, name, path, error }: Refused): Promise<undefined> {
  const { report } = context.job;
  const errno = errnoOf(error);
  if (errno === "ENOENT") report.vanished += 1;
  else if (errno === "EXDEV") {
    report.skippedMounts += 1;
    await unless(["EEXIST"], mkdir(path, PRIVATE_DIRECTORY));
  } else if (errno === "ENOTDIR" || errno === "ELOOP") {
    await copyOne(context, level, name); // another thing has the name by now
  } else throw fromNodeError(error, "copy.tree", showName(name));
}

async function suspend(level: Level): Promise<void> {
  const open = [level.source, level.target];
  Object.assign(level, { source: undefined, target: undefined, batch: [] });
  for (const fd of open) if (fd !== undefined) await close(fd);
}

/** Opens a closed level again, from its child. Its copy is where it was; its source may have been moved. */
async function reopen(
  context: EntryContext,
  levels: readonly Level[],
  child: Level,
  parent: Level,
): Promise<void> {
  const { syscalls, report } = context.job;
  if (child.target === undefined) return;
  parent.target = await syscalls.openBelow(child.target, PARENT, READ_DIRECTORY, RESOLVE_PARENT);
  parent.source =
    (await openAs(context, child.source, PARENT, { stat: parent.stat, resolve: RESOLVE_PARENT })) ??
    (await walkTo(context, levels, parent));
  if (parent.source === undefined) report.vanished += 1;
  else syscalls.seekDirectory(parent.source, parent.resume);
}

/** The directory of this name, if it is the one of which `stat` tells. */
async function openAs(
  { job }: EntryContext,
  directory: number | undefined,
  name: Buffer,
  { stat, resolve }: { readonly stat: BigIntStats; readonly resolve: number },
): Promise<number | undefined> {
  if (directory === undefined) return undefined;
  const gone = ["ENOENT", "ENOTDIR", "ELOOP", "EXDEV"];
  const fd = await unless(gone, job.syscalls.openBelow(directory, name, READ_DIRECTORY, resolve));
  if (fd === undefined) return undefined;
  const found = await fstat(fd);
  if (found.dev === stat.dev && found.ino === stat.ino) return fd;
  await close(fd);
  return undefined;
}

/** From the lowest level that is open, by the names that led down. */
async function walkTo(
  context: EntryContext,
  levels: readonly Level[],
  wanted: Level,
): Promise<number | undefined> {
  const start = levels[OPEN_LEVELS - 1];
  let at = start?.source;
  for (const { name, stat } of levels.slice(OPEN_LEVELS, wanted.depth + 1)) {
    const from = at;
    at = undefined;
    try {
      context.job.check();
      at = await openAs(context, from, name, { stat, resolve: RESOLVE });
    } finally {
      if (from !== undefined && from !== start?.source) await close(from);
    }
  }
  return at;
}

/** What the directory itself carries: last, since filling it changes its times, and a default access list its files. */
async function leave({ job }: EntryContext, level: Level): Promise<void> {
  const { source, target, stat, name } = level;
  if (target === undefined) return;
  try {
    await copyAttributes(job, source, target, stat);
  } catch (error) {
    await suspend(level);
    throw fromNodeError(error, "copy.tree", showName(name));
  }
  level.target = undefined;
  await suspend(level);
  await job.sync.add(target);
}
