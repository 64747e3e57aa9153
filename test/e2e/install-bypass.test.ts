/** The scripts that must work when nothing else of Trivet does, or has no systemd: the bypass, and the supervisor. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createFiles } from "../../src/host/files.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { createJournal, type Journal } from "../../src/install/journal.ts";
import { setMark } from "../../src/install/marks.ts";

const scripts = join(import.meta.dirname, "../../daemonset/host");
const files = createFiles(createSyscalls());
let directory: string;
let stateDir: string;

beforeEach(() => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  directory = mkdtempSync(join(tmpdir(), "trivet-bypass-"));
  stateDir = join(directory, "state");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);

/** Each shell that a node may have. */
describe.each([
  ["dash", ["dash"]],
  ["busybox", ["busybox", "sh"]],
  ["bash", ["bash", "--posix"]],
])("the bypass script with %s", (_name, [shell = "", ...rest]) => {
  let journal: Journal;

  /** A file with odd mode and owner, one that was not there, one that was a link. */
  beforeEach(async () => {
    journal = createJournal({ files, stateDir });
    writeFileSync(at("kubelet.conf"), "endpoint: old\n\ttabs and trailing space \n\n", { mode: 0o640 });
    await files.setOwner(at("kubelet.conf"), 12, 34);
    symlinkSync("the real one", at("a link"));
    mkdirSync(at("dropins"));
    for (const name of ["kubelet.conf", "a link", "dropins/99 trivet.conf"]) {
      await journal.replace({
        path: at(name),
        content: Buffer.from("ours\n"),
        mode: 0o644,
        owner: "kubelet",
      });
    }
    await journal.replace({ path: at("unit"), content: Buffer.from("unit\n"), mode: 0o644, owner: "units" });
    await setMark({ files, stateDir }, "kubelet-restart", `echo 'it''s' restarted >>'${at("restarts")}'`);
    await setMark({ files, stateDir }, "kubelet-pending", "1");
  });

  // Nothing of Trivet is in its PATH, and nothing but a shell and coreutils is needed.
  const bypass = (...args: string[]) => {
    const argv = [...rest, join(scripts, "bypass"), `--state-dir=${stateDir}`, ...args];
    const env = { PATH: "/usr/bin:/bin" };
    return spawnSync(shell, argv, { encoding: "utf8", env });
  };

  test("restores every file of the kubelet's, restarts it, and leaves the rest alone", async () => {
    const { status, stdout, stderr } = bypass();
    expect([status, stderr], stdout).toEqual([0, ""]);
    expect(readFileSync(at("kubelet.conf"), "utf8")).toBe("endpoint: old\n\ttabs and trailing space \n\n");
    const { mode, uid, gid } = lstatSync(at("kubelet.conf"));
    expect([mode & 0o7777, uid, gid]).toEqual([0o640, 12, 34]);
    expect(readlinkSync(at("a link"))).toBe("the real one");
    expect(existsSync(at("dropins/99 trivet.conf"))).toBe(false);
    expect(readFileSync(at("unit"), "utf8")).toBe("unit\n");
    expect(readFileSync(at("restarts"), "utf8")).toBe("its restarted\n");
    expect((await journal.entries()).map(({ owner }) => owner)).toEqual(["units"]);
    expect(existsSync(join(stateDir, "install/marks/kubelet-pending"))).toBe(false);
    expect(bypass().stdout).toContain("nothing is recorded");
    expect(readFileSync(at("restarts"), "utf8")).toBe("its restarted\n");
  });

  test("keeps what somebody changed since, says where the original is, and overwrites it only with --force", () => {
    writeFileSync(at("kubelet.conf"), "somebody's\n");
    const { status, stdout } = bypass("--no-restart");
    expect(status).toBe(1);
    expect(stdout).toContain(`kept      ${at("kubelet.conf")}`);
    expect(readFileSync(at("kubelet.conf"), "utf8")).toBe("somebody's\n");
    const [, original = ""] = /what was there before us is (\S+);/.exec(stdout) ?? [];
    expect(readFileSync(original, "utf8")).toContain("endpoint: old");
    expect(bypass("--force").status).toBe(0);
    expect(readFileSync(at("kubelet.conf"), "utf8")).toContain("endpoint: old");
  });

  test("changes nothing in a dry run", async () => {
    const { status, stdout } = bypass("--dry-run");
    expect([
      status,
      stdout.split("\n").filter((line) => line.startsWith("would be restored")).length,
    ]).toEqual([0, 3]);
    expect(readFileSync(at("kubelet.conf"), "utf8")).toBe("ours\n");
    expect(await journal.entries()).toHaveLength(4);
    expect(existsSync(at("restarts"))).toBe(false);
  });

  test("says what is to do where the kubelet cannot be restarted", async () => {
    await setMark({ files, stateDir }, "kubelet-restart", "false");
    const { status, stderr } = bypass();
    expect([status, stderr]).toEqual([1, expect.stringContaining("restart the kubelet by hand")]);
  });
});

test("the scripts start no program from where they are typed", () => {
  for (const name of ["id", "ls", "cat"]) {
    writeFileSync(at(name), `#!/bin/sh\ntouch ${at("started")}\n`, { mode: 0o755 });
  }
  for (const argv of [[join(scripts, "bypass")], [join(scripts, "supervise"), "status"]]) {
    const env = { PATH: "", TRIVET_STATE_DIR: stateDir, TRIVET_RUN: at("run") };
    spawnSync("/bin/sh", argv, { cwd: directory, env });
    expect(existsSync(at("started"))).toBe(false);
  }
});

test("trivet bypass is the same script", async () => {
  const journal = createJournal({ files, stateDir });
  await journal.replace({ path: at("new"), content: Buffer.from("ours\n"), mode: 0o644, owner: "kubelet" });
  await setMark({ files, stateDir }, "kubelet-restart", "true");
  const program = join(scripts, "../../bin/trivet");
  const { status, stdout } = spawnSync(program, ["bypass", "--state-dir", stateDir], { encoding: "utf8" });
  expect([status, stdout]).toEqual([0, expect.stringContaining("restarted the kubelet: true")]);
  expect(existsSync(at("new"))).toBe(false);
});

// Nodes without systemd are mostly Alpine's.
describe("the supervisor with busybox", () => {
  const [shell, ...rest] = ["busybox", "sh"];
  const env = () => ({
    PATH: "/usr/bin:/bin",
    TRIVET_HOME: directory,
    TRIVET_RUN: at("run"),
    TRIVET_CONFIG: "x.yaml",
  });
  /** Not synchronously: the supervisor's own end is for this process to notice. */
  const supervise = async (verb: string) => {
    const argv = [...rest, join(scripts, "supervise"), verb];
    const child = spawn(shell, argv, { env: env(), stdio: ["ignore", "pipe", "ignore"] });
    let stdout = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk;
    });
    const status = await new Promise((resolve) => child.once("close", resolve));
    return { status, stdout };
  };
  const starts = () =>
    existsSync(at("starts")) ? readFileSync(at("starts"), "utf8").split("\n").filter(Boolean) : [];

  /** Stands for the proxy: writes down its start, and lives until it is told to end. */
  const release = (name: string, script: string) => {
    mkdirSync(at(`${name}/bin`), { recursive: true });
    writeFileSync(at(`${name}/bin/trivet`), `#!/bin/sh\necho "${name} $$ $*" >>${at("starts")}\n${script}`);
    chmodSync(at(`${name}/bin/trivet`), 0o755);
  };
  const use = (name: string) => {
    rmSync(at("current"), { force: true });
    symlinkSync(name, at("current"));
  };
  const until = async (condition: () => boolean) => {
    for (let attempt = 0; attempt < 200 && !condition(); attempt++) await sleep(50);
    expect(condition()).toBe(true);
  };

  test("takes no other process for itself that has its number by now", async () => {
    const other = spawn("sleep", ["1000"], { stdio: "ignore" });
    const ended = new Promise((resolve) => other.once("exit", resolve));
    mkdirSync(at("run"));
    writeFileSync(at("run/supervise.pid"), `${other.pid}\n`);
    expect((await supervise("status")).status).toBe(1);
    expect((await supervise("stop")).status).toBe(0);
    expect(other.exitCode ?? other.signalCode).toBe(null);
    release("one", "exec sleep 1000\n");
    use("one");
    const child = spawn(shell, [...rest, join(scripts, "supervise")], { env: env(), stdio: "ignore" });
    const stopped = new Promise((resolve) => child.once("exit", resolve));
    await until(() => starts().length === 1);
    expect((await supervise("stop")).status).toBe(0);
    await stopped;
    other.kill("SIGKILL");
    await ended;
  });

  test("starts the proxy again when it ends, hands over on reload, keeps the old one if the new one fails, and stops", async () => {
    release("one", "exec sleep 1000\n");
    release("two", "exec sleep 1000\n");
    release("broken", "exit 1\n");
    use("one");
    expect((await supervise("status")).status).toBe(1);
    const child = spawn(shell, [...rest, join(scripts, "supervise")], { env: env(), stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await until(() => starts().length === 1);
    expect(starts()[0]).toMatch(/^one \d+ cri --config x\.yaml --take-over$/);
    expect((await supervise("status")).status).toBe(0);
    const pidOf = (line = "") => Number(line.split(" ")[1]);
    process.kill(pidOf(starts()[0]), "SIGKILL");
    await until(() => starts().length === 2);
    use("two");
    expect(await supervise("reload")).toMatchObject({ status: 0, stdout: "reloaded\n" });
    expect(starts()[2]).toMatch(/^two /);
    use("broken");
    const refused = await supervise("reload");
    expect([refused.status, refused.stdout]).toEqual([1, expect.stringContaining("the old one serves on")]);
    process.kill(pidOf(starts()[2]), 0);
    // The first one was told to go by the newcomer, which here is a sleep.
    process.kill(pidOf(starts()[1]), "SIGKILL");
    expect((await supervise("stop")).status).toBe(0);
    await ended;
    expect(() => process.kill(pidOf(starts()[2]), 0)).toThrow("ESRCH");
    expect(existsSync(at("run/supervise.pid"))).toBe(false);
  });
});
