/**
 * A node to install onto: a mount and a network namespace of its own, in which /opt, /var/lib, /var/log, /run and /etc are its own too
 * (/etc begins as the machine's). Nothing of the machine is changed. In place of systemd it has a program of that name, which starts,
 * reloads and stops the proxy by the commands of the unit files and writes down what it was told.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { treeManifest } from "./tree-manifest.ts";

const own = ["etc", "opt", "var/lib", "var/log", "run"] as const;

/** Understands what `trivet install` says to systemd, and no more. */
const systemctl = (directory: string) => `#!/bin/sh
set -u
echo "$*" >>${directory}/systemctl.log
socket=/run/trivet/cri.sock
home=$(readlink -f /opt/trivet)
proxies() {
  own=$(readlink /proc/self/ns/mnt)
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/ns/mnt" 2>/dev/null)" = "$own" ] || continue
    case $(readlink "$process/exe" 2>/dev/null) in
      "$home"/*/bin/node) tr '\\0' ' ' <"$process/cmdline" | grep -q ' cri --config ' && echo "\${process#/proc/}" ;;
    esac
  done
}
command=$1
shift
[ "\${1:-}" = --quiet ] && shift
case $command in
  daemon-reload) ;;
  show) echo no ;;
  is-active) case $1 in *.socket) [ -S $socket ] ;; *) [ -n "$(proxies)" ] ;; esac ;;
  start)
    [ -z "$(proxies)" ] || exit 0
    mkdir -p /run/trivet
    setsid $(sed -n 's/^ExecStart=//p' /etc/systemd/system/trivet-cri.service) >>${directory}/proxy.log 2>&1 </dev/null &
    for _ in $(seq 100); do [ -S $socket ] && exit 0; sleep 0.1; done
    exit 1 ;;
  reload) exec $(sed -n 's/^ExecReload=//p' /etc/systemd/system/trivet-cri.service) ;;
  stop)
    for process in $(proxies); do kill "$process"; done
    while [ -n "$(proxies)" ]; do sleep 0.1; done
    rm -f $socket ;;
  *) echo "systemctl: $command is not known here" >&2; exit 1 ;;
esac
`;

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Killed after this time, with all that it started. */
  readonly killAfterMs?: number;
}

/** Whatever the exit code. Others go on meanwhile: a load of calls is made by the same process. */
async function runToEnd(argv: readonly string[], { env, input = "", killAfterMs }: RunOptions): Promise<Ran> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"], detached: true });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk: Buffer) => {
      texts[name] += chunk;
    });
  }
  child.stdin.on("error", () => undefined); // it may well end without reading
  child.stdin.end(input);
  const timer =
    killAfterMs === undefined
      ? undefined
      : setTimeout(() => process.kill(-Number(child.pid), "SIGKILL"), killAfterMs);
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  return { status, ...texts };
}

export class NodeBox {
  readonly directory = mkdtempSync(join(tmpdir(), "trivet-box-"));
  readonly #holder: ChildProcess;
  /** A process that sees the node as it is. */
  readonly pid: number;
  /** Where programs are found: the fake systemctl first. */
  readonly path: string;

  constructor() {
    const programs = join(this.directory, "programs");
    mkdirSync(programs);
    writeFileSync(join(programs, "systemctl"), systemctl(this.directory));
    chmodSync(join(programs, "systemctl"), 0o755);
    this.path = `${programs}:${process.env.PATH ?? ""}`;
    for (const name of own) mkdirSync(join(this.directory, name), { recursive: true });
    execFileSync("cp", ["-a", "/etc/.", join(this.directory, "etc")]);
    const mounts = own.map((name) => `mount --bind ${join(this.directory, name)} /${name}`);
    const script = ["ip link set lo up", ...mounts, "echo ready", "exec sleep 3600"].join(" && ");
    this.#holder = spawn("unshare", ["--mount", "--net", "--propagation", "private", "sh", "-c", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.pid = Number(this.#holder.pid);
  }

  /** To be awaited before anything else. */
  async ready(): Promise<void> {
    const { stdout } = this.#holder;
    if (!stdout) throw new Error("the node has no output");
    for await (const text of stdout) if (String(text).includes("ready")) return;
    throw new Error("the node could not be made");
  }

  /** A path of the node, as the machine sees it. */
  at(path: string): string {
    return join(this.directory, path);
  }

  /** Runs a program on the node, with the node's files, network and systemctl. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return runToEnd(["nsenter", "-t", String(this.pid), "-m", "-n", "--", ...argv], this.#inPath(options));
  }

  /** Runs a program on the machine, with the node's systemctl. */
  runOutside(argv: readonly [string, ...string[]]): Promise<Ran> {
    return runToEnd(argv, this.#inPath({}));
  }

  #inPath({ env, ...rest }: RunOptions): RunOptions {
    return { ...rest, env: { ...process.env, PATH: this.path, ...env } };
  }

  /** All that the node has on its disk, to compare; times are left out, since to put a file back changes them. */
  async disk(): Promise<Record<string, object>> {
    const shown: Record<string, object> = {};
    for (const name of own.filter((part) => part !== "run")) {
      const manifest = await treeManifest(createSyscalls(), this.at(name));
      for (const [path, what] of Object.entries(manifest)) {
        // A directory's size is that of the names that it has had.
        const { mtimeNs: _, ...rest } = what as { mtimeNs: bigint };
        shown[join("/", name, path)] = rest;
      }
    }
    return shown;
  }

  /** What systemctl was told since the last look. */
  told(): string[] {
    const log = join(this.directory, "systemctl.log");
    const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n").filter(Boolean) : [];
    rmSync(log, { force: true });
    return lines;
  }

  proxyLog(): string {
    return readFileSync(join(this.directory, "proxy.log"), "utf8");
  }

  async destroy(): Promise<void> {
    await this.run(["systemctl", "stop"]);
    const ended = new Promise((resolve) => this.#holder.once("exit", resolve));
    this.#holder.kill("SIGKILL");
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}
