/** What `Exec` promises, as cases for the fake and for real programs. */
import { expect } from "vitest";
import type { Exec } from "../../src/host/exec.ts";

/** `exec` must know the programs sh (as used here), cat, sleep and head. */
export interface ExecCase {
  readonly title: string;
  run(exec: Exec): Promise<void>;
}

const timeoutMs = 10_000;

export const execContract: readonly ExecCase[] = [
  {
    title: "output and exit code are given, whatever the code",
    async run(exec) {
      const result = await exec(["sh", "-c", "echo out; echo err >&2; exit 3"], { timeoutMs });
      expect(result).toEqual({ exitCode: 3, stdout: "out\n", stderr: "err\n" });
    },
  },
  {
    title: "standard input is fed, as text or bytes",
    async run(exec) {
      expect((await exec(["cat"], { timeoutMs, stdin: "hello" })).stdout).toBe("hello");
      expect((await exec(["cat"], { timeoutMs, stdin: Buffer.from("bytes") })).stdout).toBe("bytes");
    },
  },
  {
    title: "no more than a mebibyte of output is kept, and the program may end",
    async run(exec) {
      const { exitCode, stdout } = await exec(["head", "-c", "5000000", "/dev/zero"], { timeoutMs });
      expect(exitCode).toBe(0);
      expect(stdout.length).toBeLessThanOrEqual(1 << 20);
    },
  },
  {
    title: "a program that takes too long is ended, with `deadline`",
    async run(exec) {
      await expect(exec(["sleep", "60"], { timeoutMs: 50 })).rejects.toMatchObject({ kind: "deadline" });
    },
  },
  {
    title: "a program whose caller gives up is ended, with `cancelled`, also if it had given up before",
    async run(exec) {
      const stop = new AbortController();
      const running = exec(["sleep", "60"], { timeoutMs, signal: stop.signal });
      stop.abort();
      await expect(running).rejects.toMatchObject({ kind: "cancelled" });
      const again = exec(["sleep", "60"], { timeoutMs, signal: stop.signal });
      await expect(again).rejects.toMatchObject({ kind: "cancelled" });
    },
  },
  {
    title: "a program that does not exist is `not-found`, by name",
    async run(exec) {
      const missing = exec(["no-such-program"], { timeoutMs });
      await expect(missing).rejects.toMatchObject({ kind: "not-found", subject: "no-such-program" });
    },
  },
];
