/** One running program: its start, the pipes to it, and its end. Deadlines and limits are the business of `exec.ts`. */
import { closeSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { SpawnCalls } from "./syscall/spawn.ts";

/** A program that was started; the leader of a group of its own. */
export interface Child {
  /** Nobody else's before `ended` settles. */
  readonly pid: number;
  /** Only if it is to be fed. */
  readonly stdin: Socket | undefined;
  readonly stdout: Socket;
  readonly stderr: Socket;
  /** The exit code, or 128 after a signal: when its output is closed (so it must be read, or destroyed) and it is reaped. */
  readonly ended: Promise<number>;
}

/** What to start. Without `feed`, its standard input is empty. */
export interface ChildOptions {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>> & { readonly PATH: string };
  readonly feed: boolean;
}

const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [1, 20];

/** Throws what execve(2) said, `not-found` for a program that is nowhere; nothing is left open then. */
export async function startChild(syscalls: SpawnCalls, { argv, env, feed }: ChildOptions): Promise<Child> {
  const open = new Set<number>(); // every end of a pipe that no stream has taken over
  const pipe = () => {
    const ends = syscalls.openPipe();
    for (const fd of ends) open.add(fd);
    return ends;
  };
  const stream = (fd: number, direction: { readable: boolean; writable: boolean }) => {
    const socket = new Socket({ fd, ...direction });
    open.delete(fd);
    return socket;
  };
  try {
    const [input, output, errors] = [feed ? pipe() : undefined, pipe(), pipe()];
    const stdio = [input?.[0], output[1], errors[1]] as const;
    const pid = await syscalls.spawnProgram({ files: places(argv[0], env.PATH), argv, env, stdio });
    const stdin = input && stream(input[1], { readable: false, writable: true });
    const stdout = stream(output[0], { readable: true, writable: false });
    const stderr = stream(errors[0], { readable: true, writable: false });
    const closed = Promise.all([stdout, stderr].map(closing));
    const ended = closed.then(() => reap(syscalls, pid)).finally(() => stdin?.destroy());
    return { pid, stdin, stdout, stderr, ended };
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

function closing(stream: Socket): Promise<void> {
  stream.on("error", () => undefined); // closes it, too
  return new Promise((resolve) => stream.once("close", () => resolve()));
}

/** As execvp(3) has it, but for empty entries of PATH, which stand for a working directory that nobody chose. */
function places(program: string, path: string): string[] {
  if (program.includes("/")) return [program];
  if (program === "") return [];
  const directories = path.split(":").filter((directory) => directory !== "");
  return directories.map((directory) => join(directory, program));
}

/**
 * Waits by asking: Node hears of the end of its own children only, waitpid(2) would keep one of koffi's four threads, and
 * no handle of libuv takes a pidfd. The closed output told of the end already, so the first or second time is the last,
 * except for a program that closes its output and goes on.
 */
async function reap(syscalls: SpawnCalls, pid: number): Promise<number> {
  for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(ms * 2, LAST_PAUSE_MS)) {
    const status = syscalls.reapChild(pid);
    if (status !== undefined) return (status & 0x7f) === 0 ? (status >> 8) & 0xff : 128;
    await pause(ms);
  }
}
