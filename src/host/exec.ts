/**
 * Runs other programs: argument arrays, never a shell; the C locale; a deadline, TERM, then KILL, for a program and all that it
 * started. A run always ends: one that left its output open with a process of its own session is given up.
 */
import { TrivetError } from "../errors.ts";
import { type Child, startChild } from "./child.ts";
import type { SpawnCalls } from "./syscall/spawn.ts";

export interface ExecOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Added to the little that is passed on by default (PATH and LC_ALL). */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Gives the result whatever the exit code; throws only when the program could not be run to its end. */
export type Exec = (argv: readonly [string, ...string[]], options: ExecOptions) => Promise<ExecResult>;

const KILL_AFTER_MS = 2_000;
const OUTPUT_LIMIT_BYTES = 1 << 20;

/** `exec` where anything but exit code 0 is an error that carries the command line and what it said. */
export async function execOrThrow(
  exec: Exec,
  argv: readonly [string, ...string[]],
  options: ExecOptions,
): Promise<ExecResult> {
  const result = await exec(argv, options);
  if (result.exitCode === 0) return result;
  const said = (result.stderr || result.stdout).trim();
  throw new TrivetError({
    kind: "io",
    op: "exec",
    subject: argv[0],
    message: `"${argv.join(" ")}" ended with code ${result.exitCode}: ${said}`,
  });
}

/** The real one; programs named without a slash are looked for in `path`, unless the options bring a PATH. */
export function createExec(path: string, syscalls: SpawnCalls): Exec {
  return async (argv, options) => {
    const watch = watchDeadline(argv, options);
    const env = { PATH: path, LC_ALL: "C", ...options.env };
    try {
      if (watch.reason) throw watch.reason;
      const child = await startChild(syscalls, { argv, env, feed: options.stdin !== undefined });
      watch.started(child);
      const stdout = collect(child.stdout);
      const stderr = collect(child.stderr);
      child.stdin?.on("error", () => undefined); // it may well exit without reading: its exit code tells
      child.stdin?.end(options.stdin ?? "");
      const exitCode = await child.ended;
      if (watch.reason) throw watch.reason;
      return { exitCode, stdout: stdout(), stderr: stderr() };
    } finally {
      watch.stop();
    }
  };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= OUTPUT_LIMIT_BYTES) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString();
}

/** The group outlives its leader for as long as anybody is in it. Its number is free only when the leader is reaped. */
function killGroup({ pid }: Child, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left.
  }
}

interface Watch {
  /** Why the program is to end, as soon as it is. */
  reason: TrivetError | undefined;
  /** From now on there is a program to end; at once, if it has come too late. */
  started(child: Child): void;
  stop(): void;
}

function watchDeadline(argv: readonly string[], { timeoutMs, signal }: ExecOptions): Watch {
  let killer: NodeJS.Timeout | undefined;
  let running: Child | undefined;
  const endGroup = (child: Child) => {
    killGroup(child, "SIGTERM");
    killer ??= setTimeout(() => {
      killGroup(child, "SIGKILL");
      child.stdout.destroy();
      child.stderr.destroy();
    }, KILL_AFTER_MS);
  };
  const end = (kind: "deadline" | "cancelled", why: string) => {
    const message = `"${argv.join(" ")}" was ended: ${why}`;
    watch.reason ??= new TrivetError({ kind, op: "exec", subject: String(argv[0]), message });
    if (running) endGroup(running);
  };
  const timer = setTimeout(() => end("deadline", `it took longer than ${timeoutMs} ms`), timeoutMs);
  const abort = () => end("cancelled", "the caller gave up");
  const watch: Watch = {
    reason: undefined,
    started(child) {
      running = child;
      if (watch.reason) endGroup(child);
    },
    stop() {
      clearTimeout(timer);
      clearTimeout(killer);
      signal?.removeEventListener("abort", abort);
    },
  };
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  return watch;
}
