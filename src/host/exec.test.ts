import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createExec, execOrThrow } from "./exec.ts";
import { createSyscalls } from "./syscall.ts";

const syscalls = createSyscalls();
const path = "/usr/sbin:/usr/bin:/sbin:/bin";
const exec = createExec(path, syscalls);
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

describe("what is started without Node's help", () => {
  test("inherits no descriptor but its three, which are not ours to block", async () => {
    const list = await exec(["ls", "/proc/self/fd"], { timeoutMs, stdin: "fed" });
    expect(list.stdout.trim().split("\n")).toEqual(["0", "1", "2", "3"]); // the last is the directory that ls reads
    const flags = await exec(["grep", "-h", "flags", "/proc/self/fdinfo/1"], { timeoutMs });
    expect(Number.parseInt(flags.stdout.split("\t")[1] ?? "", 8) & 0o4000).toBe(0);
  });

  test("has an empty standard input, no signal blocked or ignored, and a session of its own", async () => {
    const { stdout } = await exec(["cat", "-", "/proc/self/status"], { timeoutMs });
    expect(stdout).toMatch(/SigBlk:\t0+\nSigIgn:\t0+\n/);
    const ids = (await exec(["ps", "-o", "pid=,pgid=,sid=", "--ppid", `${process.pid}`], { timeoutMs }))
      .stdout;
    const own = ids
      .trim()
      .split("\n")
      .map((line) => new Set(line.trim().split(/ +/)).size);
    expect(own).toContain(1);
  });

  test("leaves neither descriptors nor zombies, however it went, beside the children of Node", async () => {
    const openNow = () => readdirSync("/proc/self/fd").length;
    const before = openNow();
    const runs = Array.from({ length: 30 }, async (_, index) => {
      if (index % 3 === 0) return (await exec(["sh", "-c", `exit ${index}`], { timeoutMs })).exitCode;
      if (index % 3 === 1) return exec(["no-such-program"], { timeoutMs, stdin: "" }).catch(() => index);
      return (await once(spawn("sh", ["-c", `exit ${index}`], { stdio: "ignore" }), "exit"))[0];
    });
    expect(await Promise.all(runs)).toEqual(runs.map((_, index) => index));
    await expect.poll(openNow).toBeLessThanOrEqual(before);
    // A child is listed with the thread that started it.
    const children = readdirSync("/proc/self/task").flatMap((thread) =>
      readFileSync(`/proc/self/task/${thread}/children`, "utf8").split(" ").filter(Boolean),
    );
    const zombies = children.filter((pid) => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")));
    expect(zombies).toEqual([]);
  });

  test("ends with 128 when a signal ended it, also long after it closed its output", async () => {
    expect((await exec(["sh", "-c", "kill -9 $$"], { timeoutMs })).exitCode).toBe(128);
    expect((await exec(["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 7"], { timeoutMs })).exitCode).toBe(7);
  });

  test("takes arguments of any size that the kernel takes, and says what the kernel said of more", async () => {
    const large = "x".repeat(100_000);
    const arguments_ = Array.from({ length: 10 }, () => large);
    expect((await exec(["printf", "%.2s", ...arguments_], { timeoutMs })).stdout).toBe("xx".repeat(10));
    const excess = exec(["true", large + large], { timeoutMs });
    await expect(excess).rejects.toMatchObject({ kind: "io", message: "exec failed on true: E2BIG" });
  });

  test.each([
    { where: "the program", argv: ["tr\0ue"] as const, env: {} },
    { where: "an argument", argv: ["true", "a\0b"] as const, env: {} },
    { where: "a variable", argv: ["true"] as const, env: { A: "\0" } },
  ])("is refused with a NUL byte in $where", async ({ argv, env }) => {
    await expect(exec(argv, { timeoutMs, env })).rejects.toMatchObject({ kind: "invalid", op: "spawn" });
  });

  test("is looked for in PATH as a shell does, past what cannot be run, and never in the working directory", async () => {
    const directory = await mkdtemp(join(tmpdir(), "trivet-exec-"));
    try {
      await writeFile(join(directory, "echo"), "not a program");
      expect(
        (await exec(["echo", "past"], { timeoutMs, env: { PATH: `${directory}:${path}` } })).stdout,
      ).toBe("past\n");
      const forbidden = exec(["echo"], { timeoutMs, env: { PATH: directory } });
      await expect(forbidden).rejects.toMatchObject({ message: "exec failed on echo: EACCES" });
      await chmod(join(directory, "echo"), 0o755);
      const unreadable = exec(["echo"], { timeoutMs, env: { PATH: directory } });
      await expect(unreadable).rejects.toMatchObject({ message: "exec failed on echo: ENOEXEC" });
      await symlink("/bin/true", join(directory, "found"));
      expect((await exec([join(directory, "found")], { timeoutMs })).exitCode).toBe(0);
      for (const name of ["", "package.json"])
        await expect(exec([name], { timeoutMs, env: { PATH: ":" } })).rejects.toMatchObject({
          kind: "not-found",
        });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("is reaped by its own number only", () => {
    for (const pid of [0, -1, 1.5, 0xffff_ffff])
      expect(() => syscalls.reapChild(pid)).toThrow(expect.objectContaining({ kind: "bug" }));
    expect(() => syscalls.reapChild(1)).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/ECHILD$/) }),
    );
  });
});

test("execOrThrow turns an exit code into an error that carries the command line and what it said", async () => {
  await expect(execOrThrow(exec, ["sh", "-c", "echo why >&2; exit 4"], { timeoutMs })).rejects.toMatchObject({
    kind: "io",
    message: '"sh -c echo why >&2; exit 4" ended with code 4: why',
  });
  expect((await execOrThrow(exec, ["echo", "fine"], { timeoutMs })).stdout).toBe("fine\n");
});
