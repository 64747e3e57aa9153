/**
 * `Files` in memory, with the kernel's errors, for tests that need no disk and for fault sweeps: a hook before and
 * after every effect may throw, `halt` is SIGKILL, `crash` is the power cut. What is durable is decided in
 * `files-tree.ts`. The contract in `test/contract/files.ts` runs on this and on the real one.
 */
import { posix } from "node:path";
import { TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { FileStat, FileSystemSpace, Files, OpenFile } from "../../src/host/files.ts";
import { type Edit, type Inode, type Survival, Tree } from "./files-tree.ts";

import { NAME_MAX, walk } from "./files-walk.ts";

export type { Survival } from "./files-tree.ts";

/** The `op` of the errors of `src/host/files.ts`: the hook gets the same names. */
export type FileOp = `file.${
  | ("read" | "create" | "open" | "sync" | "mkdir" | "rename" | "link" | "unlink" | "rmdir" | "list" | "stat")
  | ("chmod" | "chown" | "remove" | "space" | "write" | "lock" | "realpath")
  | ("setgroup" | "symlink" | "readlink")}`;

/** Called around each effect; `removeTree` shows as `file.remove` with an `unlink` or `rmdir` per entry within. */
export type EffectHook = (op: FileOp, path: string, when: "before" | "after", from?: string) => void;

export interface FakeFilesOptions {
  /** Directories that exist, durably, from the start. */
  readonly directories?: readonly string[];
  readonly umask?: number;
  readonly nowMs?: () => number;
}

export interface FakeFiles extends Files {
  onEffect: EffectHook | undefined;
  /** What `space` answers, wherever it is asked. */
  fileSystem: FileSystemSpace;
  /** What `space` answers in place of that for this path, such as the limit of a project. */
  limitSpace: ((path: string, whole: FileSystemSpace) => FileSystemSpace) | undefined;
  /** What is at `path`, undefined where nothing is; no effect, so no hook is called and nothing fails. */
  peek(path: string): FileStat | undefined;
  /** From now on every effect fails and changes nothing: the process was killed. */
  halt(): void;
  /** Halts this one and gives what a new process finds; see `Survival`. */
  crash(survival: Survival): FakeFiles;
  /** Everything there is becomes durable. */
  settle(): void;
  /** The inode itself, by its path or its number, for effects on files that are none of `Files`; `not-found` without one. */
  inode(wanted: string | bigint): Inode;
  /** Puts what is at `path`, and what is made below it later, on another device, as a mount would. */
  setDevice(path: string, dev: bigint): void;
  /** Every path below `path` with its kind and mode, sorted, such as `/a/b file 0600`: for comparing states. */
  paths(path?: string): string[];
}

export function createFakeFiles(options: FakeFilesOptions = {}): FakeFiles {
  const fake = new Fake(new Tree(), options);
  for (const directory of options.directories ?? []) fake.makeDirectories(directory);
  fake.settle();
  return fake;
}

class Fake implements FakeFiles {
  onEffect: EffectHook | undefined;
  fileSystem: FileSystemSpace = {
    ...{ type: 0xef53, totalBytes: 2 ** 40, freeBytes: 2 ** 39, availableBytes: 2 ** 39 },
    ...{ totalInodes: 1e6, freeInodes: 9e5 },
  };
  limitSpace: FakeFiles["limitSpace"];
  readonly #tree: Tree;
  readonly #options: FakeFilesOptions;
  #halted = false;

  constructor(tree: Tree, options: FakeFilesOptions) {
    this.#tree = tree;
    this.#options = options;
  }

  halt(): void {
    this.#halted = true;
  }

  crash(survival: Survival): FakeFiles {
    this.halt();
    const next = new Fake(this.#tree.survivors(survival), this.#options);
    next.fileSystem = this.fileSystem;
    return next;
  }

  settle(): void {
    this.#tree.settle();
  }

  symlink(target: string, path: string): Promise<void> {
    return this.#effect("file.symlink", path, () => {
      const attributes = { mode: 0o777, uid: 0, gid: 0 };
      const inode = this.#tree.inode("symlink", attributes, 0o777, target);
      // Its content lies in the inode, and reaches the disk with it.
      this.#add(path, "file.symlink", inode);
    });
  }

  readLink(path: string): Promise<string> {
    return this.#effect("file.readlink", path, () => {
      const inode = this.#find(path, "file.readlink");
      if (inode.kind !== "symlink") throw errnoError("EINVAL", "file.readlink", path);
      return inode.target;
    });
  }

  inode(wanted: string | bigint): Inode {
    if (typeof wanted === "string") return this.#find(wanted, "file.stat");
    const found = this.#tree.byNumber(wanted);
    if (!found) throw errnoError("ENOENT", "file.stat", `inode ${wanted}`);
    return found;
  }

  setDevice(path: string, dev: bigint): void {
    this.#find(path, "file.stat").dev = dev;
  }

  peek(path: string): FileStat | undefined {
    try {
      return statOf(this.#find(path, "file.stat"));
    } catch {
      return undefined;
    }
  }

  makeDirectories(path: string): void {
    if (path === "/") return;
    this.makeDirectories(posix.dirname(path));
    const { parent, name } = this.#parent(path, "file.mkdir");
    if (!parent.entries.has(name)) this.#add(path, "file.mkdir", this.#newInode("directory", 0o755, parent));
  }

  paths(path = "/"): string[] {
    const below = (inode: Inode, at: string): string[] =>
      [...inode.entries].flatMap(([name, child]) => {
        const childPath = posix.join(at, name);
        const mode = child.mode.toString(8).padStart(4, "0");
        return [`${childPath} ${child.kind} ${mode}`, ...below(child, childPath)];
      });
    return below(this.#find(path, "file.list"), path).sort();
  }

  read(path: string): Promise<Buffer> {
    return this.#effect("file.read", path, () => {
      const inode = this.#find(path, "file.read", true);
      if (inode.kind === "directory") throw errnoError("EISDIR", "file.read", path);
      return Buffer.from(inode.data);
    });
  }

  create(path: string, data: Uint8Array, mode: number): Promise<void> {
    return this.#effect("file.create", path, () => {
      const inode = this.#newInode("file", mode, this.#parent(path, "file.create").parent);
      inode.data = Buffer.from(data);
      this.#add(path, "file.create", inode);
    });
  }

  open(path: string): Promise<OpenFile> {
    return this.#effect("file.open", path, () => {
      const inode = this.#find(path, "file.open");
      if (inode.kind === "directory") throw errnoError("EISDIR", "file.open", path);
      if (inode.kind === "symlink") throw errnoError("ELOOP", "file.open", path);
      return this.#handle(path, inode);
    });
  }

  sync(path: string): Promise<void> {
    return this.#effect("file.sync", path, () => {
      const inode = this.#find(path, "file.sync");
      if (inode.kind === "symlink") throw errnoError("ELOOP", "file.sync", path);
      this.#tree.sync(inode);
    });
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#effect("file.mkdir", path, () => {
      const { parent } = this.#parent(path, "file.mkdir");
      this.#add(path, "file.mkdir", this.#newInode("directory", mode, parent));
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#effect("file.rename", to, () => this.#rename(from, to), from);
  }

  link(existing: string, name: string): Promise<void> {
    return this.#effect(
      "file.link",
      name,
      () => {
        const { parent, name: oldName } = this.#parent(existing, "file.link", name);
        const inode = parent.entries.get(oldName);
        if (!inode) throw errnoError("ENOENT", "file.link", name);
        if (inode.kind === "directory") throw errnoError("EPERM", "file.link", name);
        this.#add(name, "file.link", inode);
      },
      existing,
    );
  }

  unlink(path: string): Promise<void> {
    return this.#effect("file.unlink", path, () => this.#unlink(path));
  }

  rmdir(path: string): Promise<void> {
    return this.#effect("file.rmdir", path, () => this.#rmdir(path));
  }

  list(path: string): ReturnType<Files["list"]> {
    return this.#effect("file.list", path, () => {
      const inode = this.#find(path, "file.list", true);
      if (inode.kind !== "directory") throw errnoError("ENOTDIR", "file.list", path);
      return [...inode.entries].map(([name, { kind }]) => ({ name, kind }));
    });
  }

  stat(path: string): Promise<FileStat> {
    return this.#effect("file.stat", path, () => statOf(this.#find(path, "file.stat")));
  }

  realPath(path: string): Promise<string> {
    return this.#effect("file.realpath", path, () => {
      const names: string[] = [];
      const visit = (wanted: Inode, at: Inode): boolean => {
        if (wanted === at) return true;
        for (const [name, child] of at.entries) {
          names.push(name);
          if (visit(wanted, child)) return true;
          names.pop();
        }
        return false;
      };
      visit(this.#find(path, "file.realpath", true), this.#tree.root);
      return `/${names.join("/")}`;
    });
  }

  setMode(path: string, mode: number): Promise<void> {
    return this.#effect("file.chmod", path, () => {
      this.#find(path, "file.chmod", true).mode = mode & 0o7777;
    });
  }

  setOwner(path: string, uid: number, gid: number): Promise<void> {
    return this.#effect("file.chown", path, () => {
      const inode = this.#find(path, "file.chown");
      // chown(2) of a file takes the set-id bits away; a set-group-id bit without group execution is no such bit.
      const setIds = inode.mode & 0o010 ? 0o6000 : 0o4000;
      const mode = inode.kind === "directory" ? inode.mode : inode.mode & ~setIds;
      Object.assign(inode, { uid, gid, mode });
    });
  }

  setGroup(path: string, gid: number): Promise<void> {
    return this.#effect("file.setgroup", path, () => {
      const inode = this.#find(path, "file.setgroup");
      if (inode.kind === "symlink") throw errnoError("ELOOP", "file.setgroup", path);
      if (inode.kind !== "directory") throw errnoError("ENOTDIR", "file.setgroup", path);
      Object.assign(inode, { gid, mode: inode.mode | 0o2070 });
    });
  }

  removeTree(path: string): Promise<void> {
    const root = this.#find.bind(this, path, "file.remove");
    const remove = async (at: string, dev: bigint): Promise<void> => {
      const inode = this.#find(at, "file.remove");
      if (inode.kind !== "directory") {
        return this.#effect("file.unlink", at, () => this.#unlink(at, "file.remove"));
      }
      if (inode.dev === dev) {
        for (const name of [...inode.entries.keys()]) await remove(posix.join(at, name), dev);
      }
      return this.#effect("file.rmdir", at, () => this.#rmdir(at, "file.remove"));
    };
    return this.#effect("file.remove", path, () => remove(path, root().dev));
  }

  space(path: string): Promise<FileSystemSpace> {
    return this.#effect("file.space", path, () => {
      this.#find(path, "file.space", true);
      return this.limitSpace?.(path, this.fileSystem) ?? this.fileSystem;
    });
  }

  async #effect<T>(op: FileOp, path: string, act: () => T | Promise<T>, from?: string): Promise<T> {
    this.#refuseWhenHalted(op, path);
    this.onEffect?.(op, path, "before", from);
    this.#refuseWhenHalted(op, path);
    const result = await act();
    this.onEffect?.(op, path, "after", from);
    this.#refuseWhenHalted(op, path);
    return result;
  }

  #refuseWhenHalted(op: string, subject: string): void {
    if (!this.#halted) return;
    throw new TrivetError({ kind: "cancelled", op, subject, message: "the process of this host was killed" });
  }

  #now(): number {
    return this.#options.nowMs?.() ?? 0;
  }

  #newInode(kind: "file" | "directory", mode: number, parent: Inode): Inode {
    const attributes = { mode: mode & 0o7777, uid: 0, gid: 0 };
    // open(2) and mkdir(2) obey the umask; the chmod that follows is not durable before a sync.
    const diskMode = mode & ~(this.#options.umask ?? 0o022);
    const inode = this.#tree.inode(kind, attributes, diskMode, "", parent.dev);
    inode.modifiedMs = this.#now();
    return inode;
  }

  #add(path: string, op: FileOp, inode: Inode): void {
    const { parent, name } = this.#parent(path, op);
    if (parent.entries.has(name)) throw errnoError("EEXIST", op, path);
    this.#tree.change([{ directory: parent, name, inode }], this.#now());
  }

  #unlink(path: string, op: FileOp = "file.unlink"): void {
    const { parent, name } = this.#parent(path, op);
    const inode = parent.entries.get(name);
    if (!inode) throw errnoError("ENOENT", op, path);
    if (inode.kind === "directory") throw errnoError("EISDIR", op, path);
    this.#tree.change([{ directory: parent, name, inode: undefined }], this.#now());
  }

  #rmdir(path: string, op: FileOp = "file.rmdir"): void {
    const { parent, name } = this.#parent(path, op);
    const inode = parent.entries.get(name);
    if (!inode) throw errnoError("ENOENT", op, path);
    if (inode.kind !== "directory") throw errnoError("ENOTDIR", op, path);
    if (inode.dev !== parent.dev) throw errnoError("EBUSY", op, path);
    if (inode.entries.size > 0) throw errnoError("ENOTEMPTY", op, path);
    this.#tree.change([{ directory: parent, name, inode: undefined }], this.#now());
  }

  #rename(from: string, to: string): void {
    const source = this.#parent(from, "file.rename", to);
    const target = this.#parent(to, "file.rename");
    const inode = source.parent.entries.get(source.name);
    const replaced = target.parent.entries.get(target.name);
    if (!inode) throw errnoError("ENOENT", "file.rename", to);
    if (inode === replaced) return; // rename(2): two names of one file stay as they are
    if (`${posix.normalize(to)}/`.startsWith(`${posix.normalize(from)}/`)) {
      throw errnoError("EINVAL", "file.rename", to);
    }
    if (replaced && inode.kind === "directory" && replaced.kind !== "directory") {
      throw errnoError("ENOTDIR", "file.rename", to);
    }
    if (replaced?.kind === "directory" && inode.kind !== "directory") {
      throw errnoError("EISDIR", "file.rename", to);
    }
    if (replaced && replaced.entries.size > 0) throw errnoError("ENOTEMPTY", "file.rename", to);
    const edits: Edit[] = [
      { directory: source.parent, name: source.name, inode: undefined },
      { directory: target.parent, name: target.name, inode },
    ];
    this.#tree.change(edits, this.#now());
  }

  #parent(path: string, op: FileOp, subject = path): { parent: Inode; name: string } {
    const name = posix.basename(path);
    if (name.length > NAME_MAX) throw errnoError("ENAMETOOLONG", op, subject);
    const parent = walk(this.#tree.root, posix.dirname(path), { op, subject, follow: true });
    if (parent.kind !== "directory") throw errnoError("ENOTDIR", op, subject);
    return { parent, name };
  }

  #find(path: string, op: FileOp, follow = false): Inode {
    return walk(this.#tree.root, path, { op, subject: path, follow });
  }

  #handle(path: string, inode: Inode): OpenFile {
    const self = {};
    return {
      stat: () => this.#effect("file.stat", path, () => statOf(inode)),
      read: () => this.#effect("file.read", path, () => Buffer.from(inode.data)),
      write: (data, position) =>
        this.#effect("file.write", path, () => {
          const grown = Buffer.alloc(Math.max(inode.data.length, position + data.length));
          inode.data.copy(grown);
          grown.set(data, position);
          inode.data = grown;
          inode.modifiedMs = this.#now();
        }),
      lock: () =>
        this.#effect("file.lock", path, async () => {
          while (inode.lockedBy && inode.lockedBy !== self) {
            await new Promise<void>((resolve) => inode.waiting.push(resolve));
          }
          inode.lockedBy = self;
        }),
      close: async () => {
        if (inode.lockedBy !== self) return;
        inode.lockedBy = undefined;
        for (const wake of inode.waiting.splice(0)) wake();
      },
    };
  }
}

function statOf(inode: Inode): FileStat {
  const { kind, dev, ino, mode, uid, gid, modifiedMs } = inode;
  const isDirectory = kind === "directory";
  const below = [...inode.entries.values()].filter((child) => child.kind === "directory").length;
  const links = isDirectory ? 2 + below : inode.links;
  const sizeBytes = kind === "symlink" ? Buffer.byteLength(inode.target) : inode.data.length;
  return { kind, dev, ino, mode, uid, gid, links, sizeBytes, modifiedMs };
}
