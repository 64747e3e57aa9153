/**
 * Stops the writers of one file system for a moment (FIFREEZE), so that a copy of its device is of that moment. A frozen
 * file system outlives the process that froze it, with every writer hanging: so a child stands by from before the
 * freeze, and thaws when its standard input ends, which the death of this process brings about, too. A child that dies
 * with us, as in a container whose first process is killed, is made up for by `thaw` at the next start.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { close, constants, open } from "node:fs";
import { promisify } from "node:util";
import { TrivetError } from "../errors.ts";
import { errnoOf } from "./copy/descriptor.ts";
import { errnoError, fromNodeError } from "./errno.ts";
import type { Syscalls } from "./syscall.ts";

/** Freezing, as an effect. */
export interface Freezer {
  /**
   * Runs `work` while nothing can be written to the file system mounted at `mountPoint`, what was written before being on
   * its device. After `maxMs` the writers go on, `work` is told to give up, and this throws `deadline`. `precondition`
   * where it is frozen already, `unsupported` where it cannot be.
   */
  whileFrozen<T>(mountPoint: string, maxMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Lets the writers go on, whoever stopped them; tells whether somebody had. */
  thaw(mountPoint: string): Promise<boolean>;
}

const FIFREEZE = 0xc0045877;
const FITHAW = 0xc0045878;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

const openFile = promisify(open);
const closeFile = promisify(close);

/** What the child gets: programs of these names, and nothing else of our environment. */
export interface FreezerOptions {
  /** PATH, where `xargs` (findutils) and `fsfreeze` (util-linux) are. */
  readonly path: string;
}

/** The real one. */
export function createFreezer(syscalls: Pick<Syscalls, "ioctl">, options: FreezerOptions): Freezer {
  const control = (fd: number, request: number) => syscalls.ioctl(fd, request, new Uint8Array(4));
  const thawOpen = async (fd: number): Promise<boolean> => {
    try {
      await control(fd, FITHAW);
      return true;
    } catch (error) {
      if (errnoOf(error) === "EINVAL") return false; // it was not frozen
      throw error;
    }
  };
  return {
    thaw: (mountPoint) => withDirectory(mountPoint, thawOpen),
    whileFrozen: (mountPoint, maxMs, work) =>
      withDirectory(mountPoint, async (fd) => {
        const guard = await standBy(mountPoint, options);
        try {
          await control(fd, FIFREEZE);
          return await bounded(mountPoint, { maxMs, work, thaw: () => thawOpen(fd) });
        } finally {
          await dismiss(guard);
        }
      }),
  };
}

interface FrozenWork<T> {
  readonly maxMs: number;
  work(signal: AbortSignal): Promise<T>;
  thaw(): Promise<boolean>;
}

/** The writers go on when the time is up, whether `work` has noticed or not; it is over when this returns. */
async function bounded<T>(mountPoint: string, { maxMs, work, thaw }: FrozenWork<T>): Promise<T> {
  const timeUp = new AbortController();
  const timer = setTimeout(() => timeUp.abort(), maxMs);
  const working = work(timeUp.signal);
  const settled = working.then(
    () => undefined,
    () => undefined,
  );
  const expired = timeUp.signal.aborted ? Promise.resolve() : once(timeUp.signal, "abort");
  await Promise.race([settled, expired]);
  clearTimeout(timer);
  const stayedFrozen = await thaw();
  await settled;
  if (timeUp.signal.aborted)
    throw failed("deadline", mountPoint, `was frozen for ${maxMs} ms, which was too short`);
  const result = await working;
  if (stayedFrozen) return result;
  throw failed("precondition", mountPoint, "was thawed by somebody else before its copy was made: try again");
}

async function withDirectory<T>(path: string, work: (fd: number) => Promise<T>): Promise<T> {
  try {
    const fd = await openFile(path, DIRECTORY);
    try {
      return await work(fd);
    } finally {
      await closeFile(fd);
    }
  } catch (error) {
    // A system call knows the number of the descriptor only.
    if (error instanceof TrivetError && error.op === "ioctl") {
      throw errnoError(errnoOf(error), "freeze", path, error);
    }
    throw fromNodeError(error, "freeze", path);
  }
}

/**
 * xargs runs its command when its input ends, with nothing of that input: no shell, and no program of our own that
 * would have to be started while it matters. It is in a session of its own: a Ctrl-C is for us.
 */
async function standBy(mountPoint: string, { path }: FreezerOptions): Promise<ChildProcess> {
  const child = spawn("xargs", ["fsfreeze", "--unfreeze", mountPoint], {
    env: { PATH: path, LC_ALL: "C" },
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.stdin?.on("error", () => undefined); // it has ended before us: then there is nothing left to thaw
  await once(child, "spawn");
  return child;
}

/** Killed, not let go: it would thaw what somebody else may have frozen since. */
async function dismiss(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  child.kill("SIGKILL");
  await ended;
}

function failed(kind: "deadline" | "precondition", mountPoint: string, why: string): TrivetError {
  return new TrivetError({ kind, op: "freeze", subject: mountPoint, message: `${mountPoint} ${why}` });
}
