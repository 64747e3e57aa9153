import { describe, expect, test } from "vitest";
import { createExec, execOrThrow } from "./exec.ts";

const exec = createExec("/usr/sbin:/usr/bin:/sbin:/bin");
const timeoutMs = 10_000;

/** What is true of real programs only; the rest is in test/contract/exec.ts. */
describe("exec", () => {
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

  test("feeds standard input also to a program that does not read it", async () => {
    expect((await exec(["true"], { timeoutMs, stdin: "x".repeat(1 << 20) })).exitCode).toBe(0);
  });

  test("kills a program that does not heed the request to end", async () => {
    const deaf = ["sh", "-c", 'trap "" TERM; while :; do sleep 1; done'] as const;
    await expect(exec(deaf, { timeoutMs: 50 })).rejects.toMatchObject({ kind: "deadline" });
  });

  test("is not kept by what a program leaves behind with its output", async () => {
    const parent = ["sh", "-c", "sleep 61 & exit 0"] as const;
    await expect(exec(parent, { timeoutMs: 200 })).rejects.toMatchObject({ kind: "deadline" });
    const fled = ["setsid", "-f", "sh", "-c", "sleep 9"] as const;
    await expect(exec(fled, { timeoutMs: 200 })).rejects.toMatchObject({ kind: "deadline" });
  });

  test("ends what a program has started together with it", async () => {
    const duration = `62.${process.pid}`;
    const script = `trap "" TERM; sleep ${duration} & wait`;
    const run = exec(["sh", "-c", script], { timeoutMs, signal: AbortSignal.timeout(300) });
    await expect(run).rejects.toMatchObject({ kind: "cancelled" });
    const { stdout } = await exec(["ps", "-eo", "args"], { timeoutMs });
    expect(stdout.split("\n")).not.toContain(`sleep ${duration}`);
  });
});

test("execOrThrow turns an exit code into an error that carries the command line and what it said", async () => {
  await expect(execOrThrow(exec, ["sh", "-c", "echo why >&2; exit 4"], { timeoutMs })).rejects.toMatchObject({
    kind: "io",
    message: '"sh -c echo why >&2; exit 4" ended with code 4: why',
  });
  expect((await execOrThrow(exec, ["echo", "fine"], { timeoutMs })).stdout).toBe("fine\n");
});
