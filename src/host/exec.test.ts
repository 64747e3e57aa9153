import { describe, expect, test } from "vitest";
import { createExec, execOrThrow } from "./exec.ts";

const exec = createExec("/usr/sbin:/usr/bin:/sbin:/bin");
const timeoutMs = 10_000;

describe("exec", () => {
  test("gives output and exit code, whatever the code", async () => {
    const result = await exec(["sh", "-c", "echo out; echo err >&2; exit 3"], { timeoutMs });
    expect(result).toEqual({ exitCode: 3, stdout: "out\n", stderr: "err\n" });
  });

  test("passes arguments as they are, through no shell", async () => {
    const argument = "$(id) ; `id` * \n";
    expect((await exec(["printf", "%s", argument], { timeoutMs })).stdout).toBe(argument);
  });

  test("passes PATH, the C locale and what is given, and nothing else of our environment", async () => {
    const { stdout } = await exec(["env"], { timeoutMs, env: { ADDED: "1" } });
    const names = stdout
      .trim()
      .split("\n")
      .map((line) => line.split("=")[0]);
    expect(names.sort()).toEqual(["ADDED", "LC_ALL", "PATH"]);
  });

  test("feeds standard input, also to a program that does not read it", async () => {
    expect((await exec(["cat"], { timeoutMs, stdin: "hello" })).stdout).toBe("hello");
    expect((await exec(["true"], { timeoutMs, stdin: "x".repeat(1 << 20) })).exitCode).toBe(0);
  });

  test("keeps no more than a mebibyte of output, and lets the program end", async () => {
    const { exitCode, stdout } = await exec(["head", "-c", "5000000", "/dev/zero"], { timeoutMs });
    expect(exitCode).toBe(0);
    expect(stdout.length).toBeLessThanOrEqual(1 << 20);
  });

  test("ends a program that takes too long, with `deadline`", async () => {
    await expect(exec(["sleep", "60"], { timeoutMs: 50 })).rejects.toMatchObject({ kind: "deadline" });
  });

  test("ends a program whose caller gives up, with `cancelled`", async () => {
    const stop = new AbortController();
    const running = exec(["sleep", "60"], { timeoutMs, signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toMatchObject({ kind: "cancelled" });
    await expect(exec(["sleep", "60"], { timeoutMs, signal: stop.signal })).rejects.toMatchObject({
      kind: "cancelled",
    });
  });

  test("kills a program that does not heed the request to end", async () => {
    const deaf = ["sh", "-c", 'trap "" TERM; while :; do sleep 1; done'] as const;
    const started = Date.now();
    await expect(exec(deaf, { timeoutMs: 50 })).rejects.toMatchObject({ kind: "deadline" });
    expect(Date.now() - started).toBeLessThan(8_000);
  });

  test("says `not-found` for a program that does not exist", async () => {
    await expect(exec(["no-such-program"], { timeoutMs })).rejects.toMatchObject({ kind: "not-found" });
  });
});

test("execOrThrow turns an exit code into an error that carries the command line and what it said", async () => {
  await expect(execOrThrow(exec, ["sh", "-c", "echo why >&2; exit 4"], { timeoutMs })).rejects.toMatchObject({
    kind: "io",
    message: '"sh -c echo why >&2; exit 4" ended with code 4: why',
  });
  expect((await execOrThrow(exec, ["echo", "fine"], { timeoutMs })).stdout).toBe("fine\n");
});
