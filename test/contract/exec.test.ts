import { describe, test } from "vitest";
import { createExec } from "../../src/host/exec.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { createFakeExec, type Program } from "../fakes/exec.ts";
import { execContract } from "./exec.ts";

const sleep: Program = ({ signal }) =>
  new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve({ exitCode: 143 }), { once: true }),
  );

const fake = createFakeExec({
  sh: () => ({ exitCode: 3, stdout: "out\n", stderr: "err\n" }),
  cat: ({ stdin }) => ({ stdout: stdin }),
  head: ({ args }) => ({ stdout: "\0".repeat(Number(args[1])) }),
  sleep,
});

describe("the fake programs keep the contract", () => {
  test.each(execContract)("$title", ({ run }) => run(fake));
});

describe("real programs keep the contract", () => {
  test.each(execContract)("$title", ({ run }) =>
    run(createExec("/usr/sbin:/usr/bin:/sbin:/bin", createSyscalls())),
  );
});
