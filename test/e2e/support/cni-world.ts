/**
 * A node, its pods and the world outside, each a network namespace: nothing of the machine's own network is touched. The
 * node has an uplink of MTU 1400 to the outside, which knows no way back to pod addresses.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCni } from "../../../src/cni/client/run.ts";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
export const uplink = { node: "198.51.100.1", outside: "198.51.100.2", mtu: 1400 };

export interface CniAnswer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Json = Record<string, unknown>;

export class World {
  readonly #name = `trivet-${process.pid}-${Date.now() % 100_000}`;
  readonly #namespaces: string[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), "trivet-cni-"));
  readonly socket = join(this.directory, "run", "cni.sock");
  readonly stateDir = join(this.directory, "state");
  agent: ChildProcess | undefined;

  constructor() {
    for (const part of ["node", "out"]) this.addNamespace(part);
    const peer = ["peer", "name", "up0", "netns", this.name("out")];
    ip("-n", this.name("node"), "link", "add", "up0", "mtu", "1400", "type", "veth", ...peer);
    for (const [part, address] of [
      ["node", uplink.node],
      ["out", uplink.outside],
    ] as const) {
      ip("-n", this.name(part), "link", "set", "lo", "up");
      ip("-n", this.name(part), "address", "add", `${address}/24`, "dev", "up0");
      ip("-n", this.name(part), "link", "set", "up0", "up");
    }
    ip("-n", this.name("node"), "route", "add", "default", "via", uplink.outside);
  }

  name(part: string): string {
    return `${this.#name}-${part}`;
  }

  netns(part: string): string {
    return `/run/netns/${this.name(part)}`;
  }

  addNamespace(part: string): void {
    ip("netns", "add", this.name(part));
    this.#namespaces.push(part);
  }

  /** Many, by one process. */
  addNamespaces(parts: readonly string[]): void {
    ipBatch(parts.map((part) => `netns add ${this.name(part)}`));
    this.#namespaces.push(...parts);
  }

  removeNamespace(part: string): void {
    ip("netns", "del", this.name(part));
    this.#namespaces.splice(this.#namespaces.indexOf(part), 1);
  }

  /** Runs a program inside a namespace; throws if it fails. */
  exec(part: string, ...argv: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.name(part), ...argv], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Whether a packet gets there and back. */
  pings(part: string, address: string): boolean {
    try {
      this.exec(part, "busybox", "ping", "-c", "2", "-i", "0.2", "-W", "2", address);
      return true;
    } catch {
      return false;
    }
  }

  /** Serves `bytes` to whoever connects; tells who they were. */
  async serve(
    part: string,
    port: number,
    bytes: number,
  ): Promise<{ clients: string[]; stop(): Promise<void> }> {
    const program = `require("net").createServer((socket) => {
      socket.on("error", () => undefined);
      console.log(socket.remoteAddress);
      socket.end(Buffer.alloc(${bytes}));
    }).listen(${port}, "0.0.0.0", () => console.log("ready"))`;
    const argv = ["netns", "exec", this.name(part), process.execPath, "-e", program];
    const server = spawn("ip", argv, { stdio: ["ignore", "pipe", "inherit"] });
    const clients: string[] = [];
    await new Promise<void>((resolve) => {
      server.stdout.on("data", (chunk: Buffer) => {
        for (const line of chunk.toString().trim().split("\n")) {
          if (line === "ready") resolve();
          else clients.push(line);
        }
      });
    });
    const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
    return {
      clients,
      stop: () => {
        server.kill();
        return ended;
      },
    };
  }

  /** Connects over TCP and gives the number of bytes that come. */
  fetch(part: string, address: string, port: number): number {
    const program = `let size = 0;
      const socket = require("net").connect(${port}, "${address}");
      socket.setTimeout(10_000, () => socket.destroy(new Error("no answer")));
      socket.on("data", (chunk) => { size += chunk.length; });
      socket.on("close", () => console.log(size));`;
    return Number(this.exec(part, process.execPath, "-e", program));
  }

  /** Starts the agent on the node, and waits until it listens. */
  async startAgent(): Promise<ChildProcess> {
    const script = join(repository, "test/e2e/support/cni-agent-process.ts");
    const argv = [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      script,
      this.socket,
      this.stateDir,
    ];
    // `ip netns exec` becomes the program that it runs: the pid is the agent's.
    const agent = spawn("ip", ["netns", "exec", this.name("node"), ...argv], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.agent = agent;
    await new Promise<void>((resolve, reject) => {
      agent.once("exit", (code) => reject(new Error(`the agent ended with code ${code}`)));
      agent.stdout.once("data", () => resolve());
    });
    agent.removeAllListeners("exit");
    return agent;
  }

  async stopAgent(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const { agent } = this;
    this.agent = undefined;
    if (!agent || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = new Promise((resolve) => agent.once("exit", resolve));
    agent.kill(signal);
    await ended;
  }

  agentDescriptors(): number {
    return readdirSync(`/proc/${this.agent?.pid}/fd`).length;
  }

  config(changes: Json = {}): Json {
    return {
      ...{ cniVersion: "1.0.0", name: "pods", type: "trivet", ipMasq: true },
      ...{ socket: this.socket, stateDir: this.stateDir },
      ipam: { ranges: [[{ subnet: "10.88.0.0/16" }]] },
      ...changes,
    };
  }

  env(command: string, pod: string): Record<string, string> {
    return {
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod,
      CNI_IFNAME: "eth0",
      CNI_NETNS: this.netns(pod),
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod}`,
      CNI_PATH: "/opt/cni/bin",
    };
  }

  /** A call through the agent; it fails the test if the agent does not take it. */
  async call(command: string, pod: string, changes: Json = {}): Promise<CniAnswer> {
    let stdout = "";
    let stderr = "";
    const exitCode = await runCni({
      env: this.env(command, pod),
      readStdin: async () => JSON.stringify(this.config(changes)),
      writeStdout: (text) => {
        stdout += text;
      },
      writeStderr: (text) => {
        stderr += text;
      },
      loadDeps: async () => {
        throw new Error("the agent did not take the call");
      },
      connectTimeoutMs: 5_000,
    });
    return { exitCode, stdout, stderr };
  }

  /** A call through `bin/trivet`, as a runtime starts it, in the node's namespace. */
  spawnPlugin(command: string, pod: string, changes: Json = {}): Promise<CniAnswer> {
    const argv = ["netns", "exec", this.name("node"), join(repository, "bin/trivet")];
    const child = spawn("ip", argv, { env: { PATH: process.env.PATH, ...this.env(command, pod) } });
    child.stdin.end(JSON.stringify(this.config(changes)));
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve({ exitCode: code ?? -1, stdout, stderr }));
    });
  }

  /** What a leak on the node would change. */
  picture(): { links: string; routes: string; neighbours: string; files: string[] } {
    const show = (...argv: string[]) => this.exec("node", "ip", "-o", ...argv);
    const files = readdirSync(this.directory, { recursive: true, encoding: "utf8" }).filter((path) =>
      /\/(leases|attachments|staging)\/./.test(path),
    );
    return {
      links: show("link").replaceAll(/\\.*/g, ""),
      routes: show("-4", "route"),
      neighbours: show("-4", "neigh", "show", "nud", "permanent"),
      files,
    };
  }

  async destroy(): Promise<void> {
    await this.stopAgent();
    ipBatch(this.#namespaces.reverse().map((part) => `netns del ${this.name(part)}`));
    rmSync(this.directory, { recursive: true });
  }
}

export function ip(...argv: string[]): string {
  return execFileSync("ip", argv, { encoding: "utf8" });
}

/** One command a line. */
function ipBatch(commands: readonly string[]): void {
  execFileSync("ip", ["-batch", "-"], { input: commands.join("\n") });
}

/** The pod's address in a result of ADD. */
export function addressIn({ stdout, exitCode }: CniAnswer): string {
  if (exitCode !== 0) throw new Error(`ADD failed: ${stdout}`);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return (ips[0]?.address ?? "").replace("/32", "");
}
