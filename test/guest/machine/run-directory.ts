/** Where one run keeps its images and disks, so that two runs do not meet and nothing of a run is left when it ends. */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { guestDirectory } from "./parts.ts";

const PREFIX = "run-";

/** Of this process. */
export const runDirectory = join(guestDirectory, `${PREFIX}${process.pid}`);

let kept = false;

/** Makes it, removes what dead runs kept, and sees to it that this one goes, whatever ends the process in order. */
export function beginRun(): void {
  mkdirSync(guestDirectory, { recursive: true });
  for (const name of readdirSync(guestDirectory)) {
    const owner = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : undefined;
    if (owner && !existsSync(`/proc/${owner}`)) rmSync(join(guestDirectory, name), { recursive: true });
  }
  mkdirSync(runDirectory, { recursive: true });
  process.on("exit", () => {
    if (!kept) rmSync(runDirectory, { recursive: true, force: true });
  });
  // The guest itself dies with us: see `boot`.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));
}

/** Leaves the directory for whoever looks into a failure, until the next run; gives its path. */
export function keepRun(): string {
  kept = true;
  return runDirectory;
}
