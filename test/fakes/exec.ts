/** Programs in memory: each is a function from its arguments to its end. As with real ones, a deadline ends them. */
import { TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { Exec, ExecOptions } from "../../src/host/exec.ts";

export interface ProgramInput {
  readonly args: readonly string[];
  readonly stdin: string;
  readonly env: Readonly<Record<string, string>>;
  /** Aborted when the program is to end. */
  readonly signal: AbortSignal;
}

export interface ProgramOutput {
  readonly exitCode?: number;
  readonly stdout?: string;
  readonly stderr?: string;
}

export type Program = (input: ProgramInput) => ProgramOutput | Promise<ProgramOutput>;

export interface FakeExec extends Exec {
  /** Every command line that was run, in order. */
  readonly ran: readonly (readonly string[])[];
}

const OUTPUT_LIMIT_BYTES = 1 << 20;

export function createFakeExec(programs: Readonly<Record<string, Program>>): FakeExec {
  const ran: (readonly string[])[] = [];
  const exec: Exec = async (argv, options) => {
    const [name, ...args] = argv;
    ran.push(argv);
    const program = programs[name];
    if (!program) throw errnoError("ENOENT", "exec", name);
    const ending = new AbortController();
    const stdin = Buffer.from(options.stdin ?? "").toString();
    const env = { PATH: "/bin", LC_ALL: "C", ...options.env };
    const outcome = Promise.resolve(program({ args, stdin, env, signal: ending.signal }));
    const ended = await Promise.race([givenUp(argv, options, ending), outcome]);
    const { exitCode = 0, stdout = "", stderr = "" } = ended;
    const cut = (text: string) => text.slice(0, OUTPUT_LIMIT_BYTES);
    return { exitCode, stdout: cut(stdout), stderr: cut(stderr) };
  };
  return Object.assign(exec, { ran });
}

/** Rejects at the deadline or when the caller gives up, and tells the program. */
function givenUp(
  argv: readonly string[],
  { timeoutMs, signal }: ExecOptions,
  ending: AbortController,
): Promise<never> {
  return new Promise((_, reject) => {
    const end = (kind: "deadline" | "cancelled") => {
      clearTimeout(timer);
      const message = `"${argv.join(" ")}" was ended`;
      reject(new TrivetError({ kind, op: "exec", subject: argv[0] ?? "", message }));
      ending.abort(); // last: the caller must hear of the deadline, not of the end that follows from it
    };
    const timer = setTimeout(() => end("deadline"), timeoutMs);
    timer.unref();
    if (signal?.aborted) end("cancelled");
    signal?.addEventListener("abort", () => end("cancelled"), { once: true });
  });
}
