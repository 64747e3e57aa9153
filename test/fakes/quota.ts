/**
 * Project quotas in memory, over the fake files: projects belong to inodes and are passed on to what is made in a
 * directory, usage is counted when it is asked for, and statfs in a directory shows its project's limits. Writers are
 * not stopped: that only a kernel can show. The contract is `test/contract/quota.ts`.
 */
import { posix } from "node:path";
import { TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { Project, ProjectLimits, ProjectQuota, ProjectQuotaState } from "../../src/host/quota.ts";
import type { FakeFiles } from "./files.ts";

/** The hook gets the same names as errors have. */
export type QuotaOp = `quota.${"project" | "assign" | "read" | "limit" | "state" | "sample"}`;

export interface FakeProjectQuota extends ProjectQuota {
  onEffect: ((op: QuotaOp, path: string, when: "before" | "after") => void) | undefined;
  /** What the file system does; without enforcement limits are taken, and statfs does not show them. */
  mode: ProjectQuotaState | "none";
  /** Every limit that is set, by id. */
  limits(): ReadonlyMap<number, ProjectLimits>;
  /** Forgets every limit, as a check of the quota tables may. */
  loseLimits(): void;
  /** From now on every effect fails: the process was killed. */
  halt(): void;
  /**
   * The same disk for a new process. A journal keeps its order: a limit that was set after a directory was made does not
   * survive a power cut that the directory did not survive.
   */
  restart(files: FakeFiles, powerCut: boolean): FakeProjectQuota;
}

const NONE: Project = { id: 0, inherit: false };

/** Every inode is in no project. */
export function createFakeProjectQuota(files: FakeFiles): FakeProjectQuota {
  return createOn(files, { projects: new Map(), limits: new Map() }, { accounting: true, enforced: true });
}

interface Disk {
  readonly projects: Map<bigint, Project>;
  readonly limits: Map<number, ProjectLimits>;
}

function createOn(files: FakeFiles, disk: Disk, mode: FakeProjectQuota["mode"]): FakeProjectQuota {
  let halted = false;
  const refuse = (op: QuotaOp, subject: string) => {
    if (!halted) return;
    throw new TrivetError({ kind: "cancelled", op, subject, message: "the process of this host was killed" });
  };
  const on = async <T>(op: QuotaOp, path: string, act: () => T): Promise<T> => {
    refuse(op, path);
    fake.onEffect?.(op, path, "before");
    refuse(op, path);
    requireDirectory(files, op, path);
    const result = act();
    fake.onEffect?.(op, path, "after");
    refuse(op, path);
    return result;
  };
  const projectAt = (path: string): Project => projectIn(files, disk, path);
  const requireOn = (op: QuotaOp, path: string) => {
    if (fake.mode === "none") throw errnoError("ESRCH", op, path);
  };
  const fake: FakeProjectQuota = {
    ...{ onEffect: undefined, mode },
    limits: () => disk.limits,
    loseLimits: () => disk.limits.clear(),
    halt() {
      halted = true;
    },
    restart(next, powerCut) {
      halted = true;
      const used = new Set(below(next, "/").map((path) => projectIn(next, disk, path).id));
      for (const id of powerCut ? [...disk.limits.keys()] : []) if (!used.has(id)) disk.limits.delete(id);
      return createOn(next, disk, fake.mode);
    },
    project: (path) => on("quota.project", path, () => projectAt(path)),
    setProject: (path, project) =>
      on("quota.assign", path, () => {
        requireProject(project.id);
        if (fake.mode === "none") throw errnoError("EOPNOTSUPP", "quota.assign", path);
        for (const child of below(files, path)) pin(files, disk, child);
        disk.projects.set(inodeOf(files, path), { ...project });
      }),
    read: (path, id) =>
      on("quota.read", path, () => {
        requireProject(id);
        requireOn("quota.read", path);
        const used = below(files, "/").filter((at) => projectAt(at).id === id);
        const usedBytes = used.reduce((sum, at) => sum + (files.peek(at)?.sizeBytes ?? 0), 0);
        return { ...(disk.limits.get(id) ?? { bytes: 0, inodes: 0 }), usedBytes, usedInodes: used.length };
      }),
    setLimits: (path, id, limits) =>
      on("quota.limit", path, () => {
        requireProject(id);
        for (const value of [limits.bytes, limits.inodes]) requireNumber(value, Number.MAX_SAFE_INTEGER);
        requireOn("quota.limit", path);
        const bytes = Math.ceil(limits.bytes / 1024) * 1024;
        if (bytes === 0 && limits.inodes === 0) disk.limits.delete(id);
        else disk.limits.set(id, { bytes, inodes: limits.inodes });
      }),
    state: (path) =>
      on("quota.state", path, () => {
        if (fake.mode === "none") throw errnoError("ENOSYS", "quota.state", path);
        return fake.mode;
      }),
    sample: (path, most) =>
      on("quota.sample", path, () => {
        const looked = [path, ...below(files, path)].slice(0, most);
        const counted = looked.filter((at) => files.peek(at)?.kind !== "symlink");
        return { looked: looked.length, projects: new Set(counted.map((at) => projectAt(at).id)) };
      }),
  };
  files.limitSpace = (path, whole) => {
    const project = projectAt(path);
    const limits = project.inherit ? disk.limits.get(project.id) : undefined;
    if (!limits || fake.mode === "none" || !fake.mode.enforced) return whole;
    const bytes = limits.bytes === 0 ? whole.totalBytes : Math.min(limits.bytes, whole.totalBytes);
    const inodes = limits.inodes === 0 ? whole.totalInodes : Math.min(limits.inodes, whole.totalInodes);
    return {
      ...{ ...whole, totalBytes: bytes, freeBytes: Math.min(bytes, whole.freeBytes) },
      ...{ availableBytes: Math.min(bytes, whole.availableBytes) },
      ...{ totalInodes: inodes, freeInodes: Math.min(inodes, whole.freeInodes) },
    };
  };
  return fake;
}

/** What is made later has the project of its directory; what was there has what it had. */
function projectIn(files: FakeFiles, disk: Disk, path: string): Project {
  const stat = files.peek(path);
  if (!stat || path === "/") return NONE;
  const own = disk.projects.get(stat.ino);
  if (own) return own;
  const parent = projectIn(files, disk, posix.dirname(path));
  return parent.inherit ? { id: parent.id, inherit: stat.kind === "directory" } : NONE;
}

function pin(files: FakeFiles, disk: Disk, path: string): void {
  const ino = inodeOf(files, path);
  if (!disk.projects.has(ino)) disk.projects.set(ino, projectIn(files, disk, path));
}

function inodeOf(files: FakeFiles, path: string): bigint {
  return files.peek(path)?.ino ?? 0n;
}

function below(files: FakeFiles, path: string): string[] {
  return files.paths(path).map((line) => line.replace(/ \w+ [0-7]+$/, ""));
}

function requireDirectory(files: FakeFiles, op: QuotaOp, path: string): void {
  const stat = files.peek(path);
  if (!stat) throw errnoError("ENOENT", op, path);
  if (stat.kind !== "directory") throw errnoError("ENOTDIR", op, path);
}

function requireProject(id: number): void {
  requireNumber(id, 0xffff_fffe);
}

function requireNumber(value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= most) return;
  throw new TrivetError({
    kind: "bug",
    op: "quota",
    subject: String(value),
    message: "no number for a quota",
  });
}
