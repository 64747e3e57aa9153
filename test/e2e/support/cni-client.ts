/** The static client as a runtime starts it, and something that listens in the agent's place. */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CniAnswer } from "./cni-world.ts";

const repository = fileURLToPath(new URL("../../..", import.meta.url));

/** Builds the client, and puts it into `directory` with `standalone` as the program to fall back on. Gives its path. */
export function installClient(directory: string, standalone: string): string {
  execFileSync(join(repository, "hack/build-cni-client"), { stdio: ["ignore", "ignore", "inherit"] });
  mkdirSync(directory, { recursive: true });
  const path = join(directory, "trivet");
  copyFileSync(join(repository, "dist/cni/trivet"), path);
  chmodSync(path, 0o755);
  writeFileSync(join(directory, ".trivet-standalone"), `${standalone}\n`);
  return path;
}

/** A program that takes the standalone plugin's place: it says how it was started and what it got. */
export function writeStandIn(path: string): void {
  writeFileSync(path, `#!/bin/sh\necho "standalone $* $CNI_COMMAND $(sha256sum | cut -d' ' -f1)"\nexit 7\n`);
  chmodSync(path, 0o755);
}

export interface Running {
  readonly env?: Readonly<Record<string, string>>;
  /** `closed`: there is no such descriptor when the plugin starts. */
  readonly stdin: string | Uint8Array | "closed";
  /** Around the client: `["ip", "netns", "exec", NAME]`. */
  readonly before?: readonly string[];
}

/** Runs a plugin to its end; `exitCode` is negative where a signal ended it. */
export function runPlugin(path: string, { env = {}, stdin, before = [] }: Running): Promise<CniAnswer> {
  const wrapped = stdin === "closed" ? ["sh", "-c", 'exec "$0" <&-', path] : [path];
  const [program = path, ...args] = [...before, ...wrapped];
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...env } });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => void out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => void err.push(chunk));
  child.stdin.on("error", () => undefined); // it may end without reading
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({
        exitCode: code ?? -1,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      }),
    );
  });
}

export interface SeenCall {
  readonly line: Record<string, unknown>;
  readonly stdin: Buffer;
}

export interface StandInAgent {
  readonly seen: SeenCall[];
  stop(): Promise<void>;
}

/** What it does when the first line has come, and when all of the call has. */
export interface Behaviour {
  readonly onLine?: (socket: Socket) => void;
  readonly onCall?: (socket: Socket, call: SeenCall) => void;
}

const go = '{"protocol":2,"go":true}\n';

/** An answer in the agent's form. */
export function replyText(exitCode: number, stdout: string, stderr = ""): string {
  const [stdoutBytes, stderrBytes] = [Buffer.byteLength(stdout), Buffer.byteLength(stderr)];
  return `${JSON.stringify({ protocol: 2, exitCode, stdoutBytes, stderrBytes })}\n${stdout}${stderr}`;
}

/** Says `go` and answers with an empty success, unless told otherwise. */
export async function startStandIn(
  path: string,
  {
    onLine = (socket) => void socket.write(go),
    onCall = (socket) => void socket.end(replyText(0, "")),
  }: Behaviour = {},
): Promise<StandInAgent> {
  const seen: SeenCall[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
    let bytes = Buffer.alloc(0);
    let line: Record<string, unknown> | undefined;
    socket.on("data", (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf(0x0a);
      if (!line && end >= 0) {
        line = JSON.parse(bytes.subarray(0, end).toString("utf8")) as Record<string, unknown>;
        bytes = bytes.subarray(end + 1);
        onLine(socket);
      }
      if (!line || bytes.length <= Number(line.stdinBytes)) return;
      const call = { line, stdin: bytes.subarray(0, -1) };
      seen.push(call);
      onCall(socket, call);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    seen,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
