/**
 * A node of its own to wire a kubelet on: its own processes, mounts and network over a copy-on-write view of this machine, so that paths
 * are the real ones, and everything that was changed can be listed. A start script stands for the service manager: it reads the unit and
 * its variables in the shell's way, not in Trivet's.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type FakeContainerd, startFakeContainerd } from "../../fakes/containerd/server.ts";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const trivet = join(repository, "bin/trivet");
const kubeletProgram = join(repository, "test/fakes/kubelet/kubelet-process.ts");
export const proxySocket = "/run/trivet/cri.sock";
const unit = "/etc/systemd/system/kubelet.service";

const setUp = `
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/merged"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/merged"
mount -t proc proc "$1/merged/proc"
mount --rbind /dev "$1/merged/dev"
mount --rbind /tmp "$1/merged/tmp"
mount -t tmpfs none "$1/merged/run"
mkdir -p "$1/merged/run/trivet" "$1/merged/mnt"
mount --bind "$1/upper" "$1/merged/mnt"
ip link set lo up
echo ready
# It reaps what nobody else does.
exec chroot "$1/merged" sh -c "sleep infinity & while :; do wait; done"
`;

/** What a unit says, in the shell's way: variables from its files, then the last command line. */
const startKubelet = `#!/bin/bash
exec >>/run/kubelet.log 2>&1 </dev/null
# One restart at a time, as a service manager has it: that of an installer that was killed goes on beside its guard's.
exec 9>/run/start-kubelet.lock
flock 9
[ -f /run/kubelet.pid ] && kill "$(cat /run/kubelet.pid)" 2>/dev/null
while [ -f /run/kubelet.pid ] && kill -0 "$(cat /run/kubelet.pid)" 2>/dev/null; do sleep 0.02; done
echo start >>/run/starts
for file in $(sed -n 's/^EnvironmentFile=-\\{0,1\\}//p' ${unit}); do [ -f "$file" ] && . "$file"; done
line=$(cat ${unit} ${unit}.d/*.conf 2>/dev/null | sed -n 's/^ExecStart=\\(.\\)/\\1/p' | tail -1)
export KUBELET_BEHAVIOUR=/run/behaviour
eval "setsid $line 9>&- & echo \\$! >/run/kubelet.pid"
`;

/** Named as the kubelet is, whatever runs it. */
const kubeletScript = `#!/bin/bash
if [ "$1" = --version ]; then echo Kubernetes v1.30.4; exit; fi
exec -a /usr/bin/kubelet ${process.execPath} --disable-warning=ExperimentalWarning ${kubeletProgram} "$@"
`;

const systemctl = `#!/bin/sh
echo "$@" >>/run/systemctl.log
[ "$1" != restart ] || exec /usr/local/bin/start-kubelet
`;

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Started with `startKubeletNode`. */
export class KubeletNode {
  readonly directory = mkdtempSync(join(tmpdir(), "tv-kubelet-"));
  /** The socket of the runtime, a fake one. */
  readonly runtime = join(this.directory, "containerd.sock");
  #init: ChildProcess | undefined;
  #pid = 0;
  #containerd: FakeContainerd | undefined;
  #proxy: ChildProcess | undefined;

  /** `files` are put on the node before its kubelet is started. */
  async start(
    files: (runtime: string) => Readonly<Record<string, string>>,
    { systemd = true } = {},
  ): Promise<void> {
    this.#containerd = await startFakeContainerd({ path: this.runtime });
    await this.#unshare();
    const programs = { "/usr/local/bin/start-kubelet": startKubelet, "/usr/bin/kubelet": kubeletScript };
    for (const [path, text] of Object.entries(programs)) this.write(path, text, 0o755);
    if (systemd) {
      this.write("/usr/local/bin/systemctl", systemctl, 0o755);
      mkdirSync(this.at("/run/systemd/system"), { recursive: true });
    }
    for (const [path, text] of Object.entries(files(this.runtime))) this.write(path, text, 0o640);
    await this.run("/usr/local/bin/start-kubelet");
    await this.until(() => this.kubeletLog().includes("healthy"), "the kubelet's start");
  }

  async #unshare(): Promise<void> {
    const mountPoint = join(this.directory, "root");
    mkdirSync(mountPoint);
    const flags = ["--pid", "--fork", "--kill-child", "--mount", "--net", "--propagation", "private"];
    const init = spawn("unshare", [...flags, "sh", "-c", setUp, "sh", mountPoint], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#init = init;
    await new Promise<void>((resolve, reject) => {
      init.stdout?.once("data", () => resolve());
      init.once("exit", (code) => reject(new Error(`the node's namespaces could not be made: ${code}`)));
    });
    this.#pid = Number(readFileSync(`/proc/${init.pid}/task/${init.pid}/children`, "utf8").trim());
    // Until chroot has been executed, the root is this machine's.
    await this.until(() => existsSync(this.at("/run/trivet")), "the node's root directory");
  }

  /** A path of the node's, as one of this process's. */
  at(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  write(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), text, { mode });
  }

  read(path: string): string {
    return readFileSync(this.at(path), "utf8");
  }

  /** All of the node's /etc, /usr and /var that is not as on this machine, with its content. */
  async changes(): Promise<Record<string, string>> {
    const parts = ["etc", "usr", "var"].map((name) => `/mnt/${name}`);
    const { stdout } = await this.run("find", ...parts, "-printf", "%p %y %m\\n");
    const listed = stdout.trim().split("\n");
    return Object.fromEntries(
      listed.sort().map((line) => {
        const [path = "", kind] = line.split(" ");
        return [line.slice("/mnt/".length), kind === "f" ? this.read(path) : ""];
      }),
    );
  }

  kubeletLog(): string {
    return existsSync(this.at("/run/kubelet.log")) ? this.read("/run/kubelet.log") : "";
  }

  /** How often the kubelet was started. */
  starts(): number {
    return this.read("/run/starts").split("\n").length - 1;
  }

  /** The socket that the kubelet said last that it uses. */
  usedSocket(): string | undefined {
    return [...this.kubeletLog().matchAll(/using (\S+)/g)].at(-1)?.[1];
  }

  isThere(path: string): boolean {
    return existsSync(this.at(path));
  }

  behave(text: string): void {
    this.write("/run/behaviour", text);
  }

  #argv(...argv: string[]): string[] {
    return ["-t", String(this.#pid), "-m", "-p", "-n", "-r", "-w", ...argv];
  }

  /** Runs a program on the node, to its end. Never blocks: the node's runtime is in this process. */
  run(...argv: string[]): Promise<Ran> {
    return new Promise((resolve) => {
      execFile("nsenter", this.#argv(...argv), { encoding: "utf8" }, (error, stdout, stderr) => {
        resolve({ status: error ? Number(error.code ?? 128) : 0, stdout, stderr });
      });
    });
  }

  trivet(...args: string[]): Promise<Ran> {
    return this.run(trivet, ...args);
  }

  /** The same, without waiting; the whole group can be killed. */
  startTrivet(...args: string[]): ChildProcess {
    return spawn("nsenter", this.#argv(trivet, ...args), { stdio: "ignore", detached: true });
  }

  async startProxy(upstream = this.runtime): Promise<void> {
    const args = ["cri", "--listen", `unix://${proxySocket}`, "--upstream", `unix://${upstream}`];
    this.#proxy = spawn("nsenter", this.#argv(trivet, ...args, "--drain-seconds", "0"), {
      stdio: "ignore",
    });
    await this.until(() => existsSync(this.at(proxySocket)), "the proxy's socket");
  }

  async stopProxy(): Promise<void> {
    const ended = new Promise((resolve) => this.#proxy?.once("exit", resolve));
    await this.kill("cri", "TERM");
    await ended;
    this.#proxy = undefined;
  }

  /** Every process on the node that has this word among its arguments. */
  async kill(word: string, signal: "TERM" | "KILL"): Promise<void> {
    const pids = `$(grep -lzx '${word}' /proc/[0-9]*/cmdline | sed 's|/proc/||; s|/cmdline||')`;
    await this.run("sh", "-c", `kill -${signal} ${pids}`);
  }

  /** Polls until `holds`, and fails after half a minute. */
  async until(holds: () => boolean, what: string): Promise<void> {
    for (let waited = 0; waited < 30_000; waited += 20) {
      if (holds()) return;
      await sleep(20);
    }
    throw new Error(`${what} did not come; the kubelet's log:\n${this.kubeletLog()}`);
  }

  async destroy(): Promise<void> {
    const ended = new Promise((resolve) => this.#init?.once("exit", resolve));
    // The end of its first process ends every other one, and its mounts go with the last.
    if (this.#pid > 0) process.kill(this.#pid, "SIGKILL");
    await ended;
    await this.#containerd?.stop();
    execFileSync("sh", ["-c", 'umount -l "$1" 2>/dev/null || true', "sh", join(this.directory, "root")]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
