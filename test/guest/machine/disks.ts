/** Disks for a guest: files, formatted outside. */
import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NoGuest, run } from "./parts.ts";
import { runDirectory } from "./run-directory.ts";

const XFS_MIB = 400;
const EXT4_MIB = 320;
const LETTER_BYTES = 4_194_304;

/** Paths of the disks, in the order in which `inside/disks.ts` knows them. */
export interface TestDisks {
  readonly xfs: string;
  readonly ext4: string;
  readonly plain: string;
  readonly letter: string;
}

/** New, empty file systems. `group` keeps disks of different runs apart. */
export function createDisks(group: string): TestDisks {
  const disks = {
    xfs: join(runDirectory, `${group}-xfs.img`),
    ext4: join(runDirectory, `${group}-ext4.img`),
    plain: join(runDirectory, `${group}-plain.img`),
    letter: join(runDirectory, `${group}-letter.img`),
  };
  const blank = (path: string, mebibytes: number) => {
    rmSync(path, { force: true });
    writeFileSync(path, "");
    truncateSync(path, mebibytes * 1_048_576);
    return path;
  };
  run("mkfs.xfs", ["-q", blank(disks.xfs, XFS_MIB)]);
  run("mkfs.ext4", [
    ...["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"],
    blank(disks.ext4, EXT4_MIB),
  ]);
  run("mkfs.ext4", ["-q", "-F", blank(disks.plain, 64)]);
  writeLetter(disks, {});
  return disks;
}

/** What the guest is to know, on a disk that it only reads. */
export function writeLetter({ letter }: TestDisks, content: unknown): void {
  const text = Buffer.from(`${JSON.stringify(content)}\n`);
  if (text.length > LETTER_BYTES) throw new Error(`a letter of ${text.length} bytes does not fit`);
  writeFileSync(letter, Buffer.concat([text, Buffer.alloc(LETTER_BYTES - text.length, " ")]));
}

/** All of them, as a guest gets them. */
export function asGuestDisks({ xfs, ext4, plain, letter }: TestDisks) {
  return [{ path: xfs }, { path: ext4 }, { path: plain }, { path: letter, readOnly: true }];
}

/** Looks for damage on a disk that nobody has mounted; gives what the checker found, undefined if all is sound. */
export function damageOf(disks: TestDisks, name: "xfs" | "ext4"): string | undefined {
  try {
    if (name === "xfs") run("xfs_repair", ["-n", disks.xfs]);
    else run("e2fsck", ["-f", "-n", disks.ext4]);
    return undefined;
  } catch (error) {
    if (error instanceof NoGuest) return error.message.replaceAll(/\s*\n\s*/g, " | ");
    throw error;
  }
}

/** Takes up no room any more. */
export function removeDisks(disks: TestDisks): void {
  for (const path of Object.values(disks)) rmSync(path, { force: true });
}
