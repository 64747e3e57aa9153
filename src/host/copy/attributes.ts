/** Owner, mode, extended attributes and times, in the order in which none undoes another. */
import type { BigIntStats } from "node:fs";
import { fchmod, fchown, own, unless } from "./descriptor.ts";
import type { CopyJob } from "./job.ts";

/**
 * `system.` holds more than access lists, which belongs to one file system and not to the file; an integrity signature
 * (`security.evm`) is of one inode.
 */
const copied = /^(user\.|trusted\.|security\.(?!evm$)|system\.posix_acl_(access|default)$)/;
const PERMISSIONS = 0o7777n;

/**
 * Gives the open file or directory `to` what `stat` says, and the attributes of what is open at `from` (any descriptor,
 * also one that only names it); undefined where that is gone. Not synced.
 */
export async function copyAttributes(
  job: CopyJob,
  from: number | undefined,
  to: number,
  stat: BigIntStats,
): Promise<void> {
  // The owner before the mode and the capabilities: chown(2) takes set-id bits and security.capability away.
  await fchown(to, Number(stat.uid), Number(stat.gid));
  await fchmod(to, Number(stat.mode & PERMISSIONS));
  if (from !== undefined) await copyXattrs(job, own(from), Buffer.from(own(to)));
  await job.syscalls.setTimes(to, { atimeNs: stat.atimeNs, mtimeNs: stat.mtimeNs });
}

/** From what the path `from` of a descriptor means to what `target` names, which is followed. */
export async function copyXattrs({ syscalls }: CopyJob, from: string, target: Buffer): Promise<void> {
  const source = Buffer.from(from);
  const names = await unless(["EOPNOTSUPP"], syscalls.listXattrs(source));
  for (const name of names?.filter((each) => copied.test(each)) ?? []) {
    const value = await unless(["ENODATA"], syscalls.getXattr(source, name));
    if (value !== undefined) await syscalls.setXattr(target, name, value);
  }
}
