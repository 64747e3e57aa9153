/**
 * `Copier` over fake files: every step of a copy is an effect of theirs, so that fault sweeps stop at each, and a power
 * cut takes what was not synced. It knows files and directories; the contract is in `test/contract/copier.ts`.
 */
import { posix } from "node:path";
import { TrivetError } from "../../src/errors.ts";
import type { Copier, CopyReport, TreeCopyOptions } from "../../src/host/copy-tree.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { EntryKind, Files } from "../../src/host/files.ts";

export interface FakeCopier extends Copier {
  /** Awaited before each entry: a test that holds it makes the copy a long one. */
  onEntry: ((path: string) => Promise<void>) | undefined;
}

type Options = Omit<TreeCopyOptions, "devices">;

/** Copies within `files`. */
export function createFakeCopier(files: Files): FakeCopier {
  const copyEntry = async (from: string, to: string, context: Context): Promise<void> => {
    await fake.onEntry?.(from);
    requireWanted(context.options.signal);
    const stat = await files.stat(from);
    if (stat.kind === "directory") {
      await files.mkdir(to, 0o700);
      await copyBelow(from, to, context);
    } else if (stat.kind === "file") {
      const content = await files.read(from);
      await files.create(to, content, 0o600);
      context.report.copiedBytes += content.length;
    } else throw errnoError("EOPNOTSUPP", "copy.tree", from);
    await files.setOwner(to, stat.uid, stat.gid);
    await files.setMode(to, stat.mode);
    await files.sync(to);
    context.report.entries += 1;
    context.options.onProgress?.(context.report);
  };
  const copyBelow = async (from: string, to: string, context: Context) => {
    for (const { name } of await files.list(from)) {
      await copyEntry(posix.join(from, name), posix.join(to, name), context);
    }
  };
  const copy = async (from: string, to: string, { kind, options }: { kind: EntryKind; options: Options }) => {
    requireWanted(options.signal);
    if ((await files.stat(from)).kind !== kind) throw errnoError("ENOTDIR", "copy", to);
    const report = { copiedBytes: 0, entries: 0, skippedDevices: 0, skippedMounts: 0, vanished: 0 };
    await copyEntry(from, to, { options, report });
    if (kind === "file") await files.setMode(to, 0o600);
    else await files.sync(posix.dirname(to));
    return report;
  };
  const fake: FakeCopier = {
    onEntry: undefined,
    tree: (source, target, options) => copy(source, target, { kind: "directory", options }),
    file: (source, target, options) => copy(source, target, { kind: "file", options }),
  };
  return fake;
}

interface Context {
  readonly options: Options;
  readonly report: { -readonly [Key in keyof CopyReport]: CopyReport[Key] };
}

function requireWanted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new TrivetError({ kind: "cancelled", op: "copy", subject: "copy", message: "the copy was given up" });
}
