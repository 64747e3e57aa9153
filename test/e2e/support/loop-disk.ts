/** A disk of its own for a test: a file with a file system on it, mounted by way of a loop device. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A mounted file system that is thrown away. */
export interface LoopDisk {
  readonly path: string;
  /** Unmounts and removes it. */
  remove(): void;
}

/** Makes one with the program `mkfs.FSTYPE` of the host. */
export function createLoopDisk(fsType: string, mebibytes: number, mkfs: readonly string[] = []): LoopDisk {
  const directory = mkdtempSync(join(tmpdir(), `trivet-${fsType}-`));
  const [image, path] = [join(directory, "image"), join(directory, "disk")];
  const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: "pipe" });
  try {
    run("truncate", "-s", `${mebibytes}M`, image);
    run(`mkfs.${fsType}`, ...mkfs, image);
    mkdirSync(path);
    run("mount", "-o", "loop", image, path);
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  return {
    path,
    remove() {
      run("umount", path);
      rmSync(directory, { recursive: true });
    },
  };
}
