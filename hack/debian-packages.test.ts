import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const script = join(import.meta.dirname, "debian-packages");
/** What the script itself needs; everything else is absent unless a test puts it there. */
const tools = ["sh", "id", "mktemp", "rm", "tail", "grep", "cat"];

let directory: string;
let bin: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "trivet-packages-"));
  bin = join(directory, "bin");
  mkdirSync(bin);
  for (const tool of tools) if (tool !== "id") symlinkSync(`/usr/bin/${tool}`, join(bin, tool));
});

afterEach(() => rmSync(directory, { recursive: true }));

/** A program that writes its arguments down and ends with `exitCode`. */
function program(name: string, { exitCode = 0, output = "" } = {}): void {
  const path = join(bin, name);
  writeFileSync(
    path,
    `#!/bin/sh\necho "${name} $*" >>"${directory}/calls"\necho "${output}"\nexit ${exitCode}\n`,
  );
  chmodSync(path, 0o755);
}

function calls(): string[] {
  try {
    return readFileSync(join(directory, "calls"), "utf8").trim().split("\n");
  } catch {
    return [];
  }
}

function run(...packages: string[]): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve) => {
    execFile("/bin/sh", [script, ...packages], { env: { PATH: bin } }, (error, _, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stderr });
    });
  });
}

/** Every package that the Makefile and the image name. */
function namedPackages(): string[] {
  const makefile = readFileSync(join(import.meta.dirname, "../Makefile"), "utf8");
  const lines = makefile.match(/(?<=hack\/debian-packages )[^\n]*/g) ?? [];
  const image =
    readFileSync(join(import.meta.dirname, "image/debian-files"), "utf8").match(/^[a-z][^ ]*/gm) ?? [];
  const names = lines.flatMap((line) => line.split(" ")).filter((word) => /^[a-z][a-z0-9.+-]+$/.test(word));
  return [...new Set([...names.filter((word) => !["print", "sort"].includes(word)), ...image])].sort();
}

describe("the Debian packages", () => {
  it.each(namedPackages())("know how to look for %s", async (name) => {
    program("id", { output: "1000" });
    program("apt-get");
    expect((await run(name)).stderr).not.toContain("does not know");
  });

  it("that are there in any form are left alone: nothing is asked of apt", async () => {
    for (const name of ["containerd", "runc", "id", "apt-get"]) program(name);
    expect(await run("containerd", "runc")).toEqual({ code: 0, stderr: "" });
    expect(calls()).toEqual([]);
  });

  it("that are missing are named with the command to type, where we are not root", async () => {
    program("id", { output: "1000" });
    program("apt-get");
    program("runc");
    const { code, stderr } = await run("containerd", "runc");
    expect(code).toBe(3);
    expect(stderr).toBe(
      "missing: containerd (installing needs root). As root, type:\n  apt-get install --no-install-recommends containerd\n",
    );
    expect(calls()).toEqual(["id -u"]);
  });

  it("are named where there is no apt", async () => {
    program("id", { output: "0" });
    expect(await run("containerd")).toMatchObject({ code: 3, stderr: expect.stringContaining("no Debian") });
  });

  it("are installed by root without removing or upgrading anything", async () => {
    program("id", { output: "0" });
    program("apt-get");
    expect((await run("containerd", "runc")).code).toBe(0);
    expect(calls()).toEqual([
      "id -u",
      "apt-get install --yes --no-install-recommends --no-remove --no-upgrade containerd runc",
    ]);
  });

  it("that apt cannot install are named, after one update and a second try", async () => {
    program("id", { output: "0" });
    program("apt-get", { exitCode: 100, output: "E: Unable to locate package containerd" });
    const { code, stderr } = await run("containerd");
    expect(code).toBe(3);
    expect(stderr).toContain("E: Unable to locate package containerd");
    expect(stderr).toContain("apt-get install --no-install-recommends containerd");
    expect(calls().filter((call) => call === "apt-get update")).toHaveLength(1);
  });

  it("of an unknown name are a mistake of the caller's", async () => {
    program("apt-get");
    expect((await run("emacs")).code).toBe(2);
    expect(calls()).toEqual([]);
  });
});
