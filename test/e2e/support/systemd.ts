/**
 * A real systemd of our own as process 1 of namespaces of its own, with the units of one directory and nothing else of the
 * machine's: for what only the real one can prove of unit files. It sees the machine's files, but has its own /run; what it
 * mounts and starts ends with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createExec, type ExecResult } from "../../../src/host/exec.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";

export interface SystemdOptions {
  /** A directory of its own: `units` is made in it, and the log. */
  readonly root: string;
  /** Unit files by name, drop-ins as `x.service.d/y.conf`. */
  readonly units: Readonly<Record<string, string>>;
  /** Directories that it sees at other places: what lies there by where it is shown. */
  readonly binds: Readonly<Record<string, string>>;
}

export interface PrivateSystemd {
  /** Its pid here, where it is not 1. */
  readonly pid: number;
  /** Where a path of its own, such as one below /run, is for us. */
  path(inside: string): string;
  /** A program in its namespaces, such as systemctl. */
  run(argv: readonly [string, ...string[]]): Promise<ExecResult>;
  /** The properties that `systemctl show` has of a unit. */
  show(unit: string): Promise<Readonly<Record<string, string>>>;
  /** Ends it with all that it started. */
  stop(): Promise<void>;
}

// Not /usr/local: what stands for a program of the system in other tests is put there.
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const START_TIMEOUT_MS = 20_000;
const RUN_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
const CGROUPS = "/sys/fs/cgroup";

/** Targets that systemd wants to exist, empty. */
const targets = ["trivet-test", "sysinit", "basic", "sockets", "multi-user", "shutdown"];

const exec = createExec(PATH, createSyscalls());

/** Where the control groups of each mounted hierarchy are: one with cgroup v2, several with v1. */
async function hierarchies(): Promise<string[]> {
  const mounts = (await readFile("/proc/self/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  return mounts.filter(([, , type]) => type === "cgroup" || type === "cgroup2").map(([, path = ""]) => path);
}

/** A directory at another place. Where that is missing, it is made in a layer over its parent, not on the machine. */
function showAt(shown: string, source: string, layer: string): string[] {
  const parent = join(shown, "..");
  const options = `lowerdir=${parent},upperdir=${layer}/upper,workdir=${layer}/work`;
  return [
    `[ -d ${shown} ] || { mkdir -p ${layer}/upper ${layer}/work; mount -t overlay -o ${options} overlay ${parent}; mkdir ${shown}; }`,
    `mount --bind ${source} ${shown}`,
  ];
}

/** What becomes process 1: mounts of its own first, then systemd. */
function script({ root, binds }: SystemdOptions, isUnified: boolean): string {
  const lines = [
    "set -e",
    "mount -t proc proc /proc",
    "mount -t tmpfs -o mode=0755 tmpfs /run",
    `umount -R ${CGROUPS} 2>/dev/null || umount -l ${CGROUPS}`,
    ...(isUnified
      ? [`mount -t cgroup2 cgroup ${CGROUPS}`]
      : [
          `mount -t tmpfs tmpfs ${CGROUPS}`,
          `mkdir ${CGROUPS}/systemd ${CGROUPS}/unified`,
          `mount -t cgroup -o none,name=systemd cgroup ${CGROUPS}/systemd`,
          `mount -t cgroup2 cgroup ${CGROUPS}/unified`,
        ]),
    `mkdir ${root}/layers`,
    `mount -t tmpfs tmpfs ${root}/layers`,
    ...Object.entries(binds).flatMap(([shown, source], index) =>
      showAt(shown, source, join(root, `layers/${index}`)),
    ),
    `exec env -i container=other PATH=${PATH} SYSTEMD_UNIT_PATH=${root}/units /lib/systemd/systemd --system --unit=trivet-test.target --show-status=no --log-target=null`,
  ];
  return lines.join("\n");
}

/** Starts it and returns once its first target is reached. Throws with what it said. */
export async function startSystemd(options: SystemdOptions): Promise<PrivateSystemd> {
  const { root, units } = options;
  const unitPath = join(root, "units");
  await mkdir(unitPath, { recursive: true });
  for (const name of targets)
    await writeFile(join(unitPath, `${name}.target`), `[Unit]\nDescription=${name}\n`);
  for (const [name, text] of Object.entries(units)) {
    await mkdir(join(unitPath, name, ".."), { recursive: true });
    await writeFile(join(unitPath, name), text);
  }
  const all = await hierarchies();
  const group = `trivet-systemd-${process.pid}-${Date.now()}`;
  const groups = all.map((path) => join(path, group));
  for (const path of groups) await mkdir(path).catch(() => undefined); // some controllers cannot have more
  const isUnified = all.includes(CGROUPS);
  await writeFile(join(root, "systemd.sh"), script(options, isUnified));
  const enter = groups.map((path) => `echo $$ > ${path}/cgroup.procs 2>/dev/null || :`);
  const unshare = `exec unshare --pid --mount --cgroup --uts --ipc --fork --kill-child --propagation private /bin/sh ${root}/systemd.sh`;
  const log = openSync(join(root, "systemd.log"), "a");
  const outer = spawn("/bin/sh", ["-c", [...enter, unshare].join("\n")], { stdio: ["ignore", log, log] });
  const ended = new Promise<void>((resolve) => outer.once("exit", () => resolve()));
  const stop = async () => {
    outer.kill("SIGKILL"); // --kill-child ends process 1, and the kernel all that is in its pid namespace
    await ended;
    for (const path of groups) await removeGroup(path);
  };
  try {
    const pid = await firstChild(outer);
    const enterAll: [string, ...string[]] = ["nsenter", "-t", String(pid), "-m", "-p", "-C"];
    const run: PrivateSystemd["run"] = (argv) => exec([...enterAll, ...argv], { timeoutMs: RUN_TIMEOUT_MS });
    await waitUntilReady(run, outer);
    return {
      pid,
      path: (inside) => `/proc/${pid}/root${inside}`,
      run,
      async show(unit) {
        const { stdout } = await run(["systemctl", "show", unit]);
        return Object.fromEntries(stdout.split("\n").map((line) => line.split(/=(.*)/s, 2)));
      },
      stop,
    };
  } catch (error) {
    const said = await readFile(join(root, "systemd.log"), "utf8").catch(() => "");
    await stop();
    throw new Error(`systemd did not start: ${(error as Error).message}\n${said}`, { cause: error });
  }
}

async function firstChild({ pid }: ChildProcess): Promise<number> {
  for (let waited = 0; waited < START_TIMEOUT_MS; waited += POLL_MS) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    const child = Number(children.trim().split(" ")[0]);
    if (child > 0) return child;
    await sleep(POLL_MS);
  }
  throw new Error("unshare started nothing");
}

async function waitUntilReady(run: PrivateSystemd["run"], outer: ChildProcess): Promise<void> {
  let said = "";
  for (let waited = 0; waited < START_TIMEOUT_MS; waited += POLL_MS) {
    if (outer.exitCode !== null) throw new Error(`it ended with code ${outer.exitCode}`);
    const { stdout, stderr } = await run(["systemctl", "is-active", "trivet-test.target"]);
    if (stdout.trim() === "active") return;
    said = stderr || stdout;
    await sleep(POLL_MS);
  }
  throw new Error(said);
}

/** From the innermost outwards, once the kernel has taken the last process out of it. */
async function removeGroup(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeGroup(join(path, entry.name));
  }
  for (let tries = 0; tries < 20; tries += 1) {
    const gone = await rmdir(path).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === "ENOENT",
    );
    if (gone) return;
    await sleep(POLL_MS);
  }
}
