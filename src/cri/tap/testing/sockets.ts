/** A proxy on real unix sockets in a directory of its own, for tests, and what is needed to talk through it. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Log, type LogFields, silentLog } from "../../../observe/log.ts";
import { createProxy, type ProxyOptions, type Proxy as Tap } from "../proxy.ts";

/** A proxy that listens. */
export interface TestProxy {
  readonly proxy: Tap;
  /** Where clients dial, and where the proxy dials. */
  readonly path: string;
  readonly upstreamPath: string;
  /** Warnings and errors. */
  readonly lines: { message: string; fields: LogFields | undefined }[];
  close(): Promise<void>;
}

/** Listens in a new temporary directory, which `close` removes. */
export async function startProxy(options: Partial<ProxyOptions> = {}): Promise<TestProxy> {
  const directory = mkdtempSync(join(tmpdir(), "trivet-tap-"));
  const path = join(directory, "proxy.sock");
  const upstreamPath = options.upstreamPath ?? join(directory, "containerd.sock");
  const lines: TestProxy["lines"] = [];
  const keep = (message: string, fields?: LogFields) => lines.push({ message, fields });
  const log: Log = { ...silentLog, warn: keep, error: keep };
  const hooks = options.hooks ?? { onRequest: () => ({ hold: false, call: undefined }) };
  const proxy = createProxy({ upstreamPath, hooks, log, ...options });
  const server = createServer((socket) => proxy.accept(socket));
  await listen(server, path);
  return {
    proxy,
    path,
    upstreamPath,
    lines,
    async close() {
      proxy.close();
      await new Promise((resolve) => server.close(resolve));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Resolves when the path accepts. */
export function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
}

/** A server that hands out raw sockets. */
export async function rawServer(
  path: string,
  onSocket: (socket: Socket) => void,
): Promise<{ close(): void }> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  await listen(server, path);
  return {
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** A raw socket; its errors go nowhere, its end is for the test to see. */
export function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    socket.once("error", reject);
    socket.on("error", () => undefined);
  });
}

/** Waits until `holds`, a few seconds at most. */
export async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never came true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
