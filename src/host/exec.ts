/**
 * Runs other programs: argument arrays, never a shell; the C locale; a deadline, TERM, then KILL, for a program and all that it
 * started. A run always ends: one that left its output open with a process of its own session is given up.
 */
import { spawn } from "node:child_process";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";

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

export function createExec(path: string): Exec {
  return (argv, options) =>
    new Promise((resolve, reject) => {
      const [program, ...args] = argv;
      const child = spawn(program, args, {
        env: { PATH: path, LC_ALL: "C", ...options.env },
        stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
        detached: true, // the leader of a process group, which can be ended as a whole
      });
      const failure = watchDeadline(child, argv, options);
      const stdout = collect(child.stdout);
      const stderr = collect(child.stderr);
      child.on("error", (error) => {
        failure.stop();
        reject(fromNodeError(error, "exec", program));
      });
      child.on("close", (code, signal) => {
        failure.stop();
        if (failure.reason) reject(failure.reason);
        else resolve({ exitCode: code ?? (signal ? 128 : 1), stdout: stdout(), stderr: stderr() });
      });
      child.stdin?.on("error", () => undefined); // it may well exit without reading: its exit code tells
      child.stdin?.end(options.stdin);
    });
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= OUTPUT_LIMIT_BYTES) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString();
}

/** The group outlives its leader for as long as anybody is in it. */
function killGroup({ pid }: ReturnType<typeof spawn>, signal: NodeJS.Signals): void {
  if (pid === undefined) return; // it could not be started
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left.
  }
}

interface Failure {
  reason: TrivetError | undefined;
  stop(): void;
}

function watchDeadline(
  child: ReturnType<typeof spawn>,
  argv: readonly string[],
  { timeoutMs, signal }: ExecOptions,
): Failure {
  let killer: NodeJS.Timeout | undefined;
  const end = (kind: "deadline" | "cancelled", why: string) => {
    failure.reason ??= new TrivetError({
      kind,
      op: "exec",
      subject: String(argv[0]),
      message: `"${argv.join(" ")}" was ended: ${why}`,
    });
    killGroup(child, "SIGTERM");
    killer ??= setTimeout(() => {
      killGroup(child, "SIGKILL");
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, KILL_AFTER_MS);
  };
  const timer = setTimeout(() => end("deadline", `it took longer than ${timeoutMs} ms`), timeoutMs);
  const abort = () => end("cancelled", "the caller gave up");
  const failure: Failure = {
    reason: undefined,
    stop() {
      clearTimeout(timer);
      clearTimeout(killer);
      signal?.removeEventListener("abort", abort);
    },
  };
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  return failure;
}
