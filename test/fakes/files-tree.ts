/**
 * The inodes below the fake file system, and what of them a power cut leaves. Strict where POSIX is strict: fsync of
 * a file keeps its content and attributes, fsync of a directory keeps its names; nothing else is promised. One thing
 * is promised by every journalling file system and so here: a rename happens in both directories or in neither.
 */
import type { EntryKind } from "../../src/host/files.ts";

export interface Attributes {
  mode: number;
  uid: number;
  gid: number;
}

/** One inode: what is in memory now, and beside it what is on the disk. */
export interface Inode extends Attributes {
  readonly ino: bigint;
  readonly kind: EntryKind;
  /** The target of a symbolic link, else empty. */
  readonly target: string;
  dev: bigint;
  links: number;
  modifiedMs: number;
  data: Buffer;
  entries: Map<string, Inode>;
  disk: Attributes & { data: Buffer; entries: Map<string, Inode> };
  /** The open file that holds the flock, and those that wait for it. */
  lockedBy: object | undefined;
  waiting: (() => void)[];
}

/** One name given, taken away or pointed elsewhere. */
export interface Edit {
  readonly directory: Inode;
  readonly name: string;
  readonly inode: Inode | undefined;
}

/**
 * What survives a power cut beyond that which was synced: nothing; every name but no unsynced content; everything (the
 * process was killed, the machine was not); or what the function says, asked once per change and per unsynced inode.
 */
export type Survival = "synced" | "names" | "everything" | (() => boolean);

export class Tree {
  readonly root: Inode;
  readonly #pending: (readonly Edit[])[] = [];
  #nextIno = 2n;

  constructor(root?: Inode) {
    this.root = root ?? this.inode("directory", { mode: 0o755, uid: 0, gid: 0 }, 0o755);
  }

  /** A new inode that no name points to yet. `diskMode` is what it would be found with if it were never synced. */
  inode(kind: EntryKind, attributes: Attributes, diskMode: number, target = "", dev = 1n): Inode {
    const nothing = Buffer.alloc(0);
    const { uid, gid } = attributes;
    return {
      ...{ ino: this.#nextIno++, kind, target, dev, links: 0, modifiedMs: 0, ...attributes },
      ...{ data: nothing, entries: new Map(), lockedBy: undefined, waiting: [] },
      disk: { mode: diskMode, uid, gid, data: nothing, entries: new Map() },
    };
  }

  /** The inode of this number, as long as it has a name. */
  byNumber(ino: bigint, below = this.root): Inode | undefined {
    if (below.ino === ino) return below;
    for (const child of below.entries.values()) {
      const found = this.byNumber(ino, child);
      if (found) return found;
    }
    return undefined;
  }

  /** Changes names in memory; they reach the disk together, when one of the directories is synced. */
  change(edits: readonly Edit[], nowMs: number): void {
    for (const { directory, name, inode } of edits) {
      const before = directory.entries.get(name);
      if (before) before.links -= 1;
      if (inode) {
        directory.entries.set(name, inode);
        inode.links += 1;
      } else directory.entries.delete(name);
      directory.modifiedMs = nowMs;
    }
    this.#pending.push(edits);
  }

  sync(inode: Inode): void {
    Object.assign(inode.disk, { mode: inode.mode, uid: inode.uid, gid: inode.gid, data: inode.data });
    if (inode.kind !== "directory") return;
    const touched = (edits: readonly Edit[]) => edits.some(({ directory }) => directory === inode);
    // A change reaches the disk after every earlier change of the same names, wherever those were made.
    const due = new Set<readonly Edit[]>();
    for (const edits of [...this.#pending].reverse()) {
      if (touched(edits) || [...due].some((later) => overlap(edits, later))) due.add(edits);
    }
    for (const edits of [...this.#pending]) {
      if (!due.has(edits)) continue;
      applyTo(edits, ({ disk }) => disk.entries);
      this.#pending.splice(this.#pending.indexOf(edits), 1);
    }
  }

  /** Everything reaches the disk, as after sync(2). */
  settle(): void {
    const settle = (inode: Inode) => {
      this.sync(inode);
      for (const child of inode.entries.values()) settle(child);
    };
    settle(this.root);
  }

  /** What a machine finds when it starts again. This tree stays as it is, so that several cuts can be tried on it. */
  survivors(survival: Survival): Tree {
    const keep = typeof survival === "function" ? survival : () => survival !== "synced";
    const keepContent = survival === "names" ? () => false : keep;
    const names = new Map<Inode, Map<string, Inode>>();
    const namesOf = (inode: Inode) => {
      const known = names.get(inode) ?? new Map(inode.disk.entries);
      names.set(inode, known);
      return known;
    };
    const lost: (readonly Edit[])[] = [];
    for (const edits of this.#pending) {
      if (keep() && !lost.some((earlier) => overlap(edits, earlier))) applyTo(edits, namesOf);
      else lost.push(edits);
    }
    const tree = new Tree(copyInode(this.root, namesOf, keepContent, new Map()));
    tree.#nextIno = this.#nextIno;
    return tree;
  }
}

function overlap(one: readonly Edit[], other: readonly Edit[]): boolean {
  return one.some((a) => other.some((b) => a.directory === b.directory && a.name === b.name));
}

function applyTo(edits: readonly Edit[], namesOf: (directory: Inode) => Map<string, Inode>): void {
  for (const { directory, name, inode } of edits) {
    if (inode) namesOf(directory).set(name, inode);
    else namesOf(directory).delete(name);
  }
}

function copyInode(
  inode: Inode,
  namesOf: (inode: Inode) => Map<string, Inode>,
  keepContent: () => boolean,
  done: Map<Inode, Inode>,
): Inode {
  const known = done.get(inode);
  if (known) return known;
  const { mode, uid, gid, data } = isDirty(inode) && keepContent() ? inode : inode.disk;
  const copy: Inode = {
    ...inode,
    ...{ mode, uid, gid, data, links: inode.kind === "directory" ? 1 : 0, entries: new Map() },
    ...{ disk: { mode, uid, gid, data, entries: new Map() }, lockedBy: undefined, waiting: [] },
  };
  done.set(inode, copy);
  for (const [name, child] of namesOf(inode)) {
    const kept = copyInode(child, namesOf, keepContent, done);
    if (kept.kind !== "directory") kept.links += 1;
    copy.entries.set(name, kept);
    copy.disk.entries.set(name, kept);
  }
  return copy;
}

function isDirty({ mode, uid, gid, data, disk }: Inode): boolean {
  return mode !== disk.mode || uid !== disk.uid || gid !== disk.gid || data !== disk.data;
}
