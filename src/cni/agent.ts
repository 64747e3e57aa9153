/**
 * The agent: runs the plugin for clients on a unix socket, which saves each call the start of a process. Keeps nothing that a
 * restart would lose. It leaves links, leases and rules where they are when it stops: pods go on working.
 */
import { createServer, type Server, type Socket } from "node:net";
import { asTrivetError, TrivetError } from "../errors.ts";
import { listenUnix } from "../host/unix-socket.ts";
import type { Log } from "../observe/log.ts";
import type { CniDeps } from "./deps.ts";
import { type CniPlugin, createPlugin } from "./plugin.ts";
import {
  AGENT_PROTOCOL,
  type AgentReply,
  decodeRequest,
  encodeFrame,
  MAX_REQUEST_BYTES,
} from "./protocol/agent-frame.ts";
import { defaultStateDir } from "./protocol/defaults.ts";
import { removeOldBoots } from "./state/paths.ts";

/** Calls at work or waiting for their attachment's turn. More are refused, and then run by their own client. */
const MAX_CALLS = 256;
/** A client sends its request at once. */
const REQUEST_TIMEOUT_MS = 5_000;

/** Where the agent listens, and what it works with. */
export interface CniAgentOptions {
  readonly socketPath: string;
  readonly deps: CniDeps;
  readonly log: Log;
  /** Where state of earlier boots is removed at start. The state itself is where each configuration says. */
  readonly stateDir?: string;
}

/** A running agent. */
export interface CniAgent {
  /** Accepts nothing more, and waits for running calls, at most this long. */
  stop(options: { readonly timeoutMs: number }): Promise<void>;
}

/** Throws kind `conflict` if another process serves the socket. */
export async function startCniAgent(options: CniAgentOptions): Promise<CniAgent> {
  const { socketPath, deps, log, stateDir = defaultStateDir } = options;
  const old = await removeOldBoots(deps.files, stateDir, deps.bootId);
  if (old.length > 0) log.info("removed the state of earlier boots", { stateDir, boots: old });
  const calls = new Set<Promise<void>>();
  const sockets = new Set<Socket>();
  const plugin = createPlugin({ deps, log });
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // Of a client that went away there is nothing to say to anybody.
    socket.on("error", () => socket.destroy());
    const call = serve({ socket, plugin, log, busy: calls.size >= MAX_CALLS });
    calls.add(call);
    void call.finally(() => calls.delete(call));
  });
  const published = await listenUnix(server, socketPath);
  log.info("cni agent listens", { socket: socketPath });
  return {
    async stop({ timeoutMs }) {
      await published.withdraw();
      const closed = closeServer(server);
      const patience = new AbortController();
      await Promise.race([
        Promise.all(calls),
        deps.clock.sleep(timeoutMs, patience.signal).catch(() => undefined),
      ]);
      patience.abort();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

interface Serving {
  readonly socket: Socket;
  readonly plugin: CniPlugin;
  readonly log: Log;
  readonly busy: boolean;
}

/** One connection, one call. Never rejects. */
async function serve({ socket, plugin, log, busy }: Serving): Promise<void> {
  const gone = new AbortController();
  socket.once("close", () => gone.abort(clientGone()));
  let reply: AgentReply;
  try {
    const line = await readLine(socket);
    reply = busy ? refusal("busy") : await answer(plugin, line, gone.signal);
  } catch (error) {
    const failure = asTrivetError(error, "agent.request", "connection");
    if (failure.kind !== "cancelled") log.warn("cni agent refused a request", { error: failure.message });
    reply = refusal(failure.kind === "range" ? "size" : "format");
  }
  await new Promise<void>((resolve) => {
    if (socket.destroyed) return resolve();
    socket.once("close", () => resolve());
    // A client that never takes its answer must not keep a place among the calls.
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    socket.end(encodeFrame(reply));
  });
}

function clientGone(): TrivetError {
  return new TrivetError({
    kind: "cancelled",
    op: "agent.connection",
    subject: "client",
    message: "the client went away before it had its answer: the runtime gave the call up",
  });
}

async function answer(plugin: CniPlugin, line: string, signal: AbortSignal): Promise<AgentReply> {
  const request = decodeRequest(line);
  if (!request) return refusal("format");
  if (request.protocol !== AGENT_PROTOCOL) return refusal("protocol");
  const { exitCode, stdout } = await plugin.call({
    env: { ...request.env, CNI_COMMAND: request.command },
    stdin: Buffer.from(request.stdin, "base64").toString("utf8"),
    deadlineMs: request.deadlineMs,
    signal,
  });
  return { protocol: AGENT_PROTOCOL, exitCode, stdout, stderr: "" };
}

/** Nothing was done, and the client may run the call by itself. */
function refusal(refused: NonNullable<AgentReply["refused"]>): AgentReply {
  const stderr = `the agent speaks protocol ${AGENT_PROTOCOL} and refused the request: ${refused}\n`;
  return { protocol: AGENT_PROTOCOL, exitCode: 1, stdout: "", stderr, refused };
}

/** The first line that a socket sends. Throws kind `range` if it is too long. */
function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const fail = (kind: "range" | "cancelled" | "deadline", message: string) =>
      reject(new TrivetError({ kind, op: "agent.request", subject: "connection", message }));
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => fail("deadline", "the client sent no whole request in time"));
    socket.once("close", () => fail("cancelled", "the client went away before it sent a request"));
    socket.on("data", (chunk: Buffer) => {
      const end = chunk.indexOf(0x0a);
      size += chunk.length;
      if (size > MAX_REQUEST_BYTES)
        return fail("range", `the request is longer than ${MAX_REQUEST_BYTES} bytes`);
      chunks.push(end < 0 ? chunk : chunk.subarray(0, end));
      if (end < 0) return;
      socket.setTimeout(0);
      socket.removeAllListeners("data");
      socket.resume(); // so that the end of the connection is noticed
      resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}
