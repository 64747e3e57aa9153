/**
 * The agent: runs the plugin for clients on a unix socket, which saves each call the start of a process. Keeps nothing that a
 * restart would lose. It leaves links, leases and rules where they are when it stops: pods go on working.
 */
import { createServer, type Server, type Socket } from "node:net";
import { asTrivetError, TrivetError } from "../errors.ts";
import { listenUnix } from "../host/unix-socket.ts";
import type { Log } from "../observe/log.ts";
import { type IncomingCall, readCall } from "./agent-request.ts";
import { type CallSlots, createCallSlots } from "./call-slots.ts";
import { watchRules } from "./datapath/rules-watch.ts";
import type { CniDeps } from "./deps.ts";
import type { LiveSandboxes } from "./gc/live-sandboxes.ts";
import { startSweepLoop } from "./gc/loop.ts";
import { repairQuietly } from "./gc/repair-loop.ts";
import { type CniPlugin, createPlugin } from "./plugin.ts";
import { encodeRefusal, encodeReply } from "./protocol/agent-frame.ts";
import { defaultStateDir } from "./protocol/defaults.ts";
import { removeOldBoots } from "./state/paths.ts";

/** Calls at work. Those beyond wait: a process of Node.js for each of them would be far more expensive. */
const MAX_AT_WORK = 128;
/** Beyond, the system closes a connection at once, and its client does the call by itself. */
const MAX_CONNECTIONS = 4_096;
/** All requests that are held, at work or waiting. Beyond, they are refused. */
const MAX_HELD_BYTES = 64 << 20;
/** A client sends its request at once. */
const REQUEST_TIMEOUT_MS = 5_000;
/** Of the time for stopping, what calls get to end by themselves; in the rest they are taken back. */
const PATIENT_SHARE = 0.8;

/** Where the agent listens, and what it works with. */
export interface CniAgentOptions {
  readonly socketPath: string;
  readonly deps: CniDeps;
  readonly log: Log;
  /** Where state of earlier boots is removed at start. The state itself is where each configuration says. */
  readonly stateDir?: string;
  /** The runtime's sandboxes, asked before anything of a pod is swept. */
  readonly sandboxes?: LiveSandboxes | undefined;
  /** Between two looks for what dead pods left; 0: none. */
  readonly sweepIntervalMs?: number | undefined;
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
  const plugin = createPlugin({ deps, log, sandboxes: options.sandboxes });
  const connections = createConnections({ plugin, deps, log });
  const server = createServer((socket) => connections.accept(socket));
  server.maxConnections = MAX_CONNECTIONS;
  const published = await listenUnix(server, socketPath);
  log.info("cni agent listens", { socket: socketPath });
  const { sweepIntervalMs: intervalMs } = options;
  const { sweepers } = plugin;
  const afterwards = () => repairQuietly(deps, stateDir, log);
  const looping = { sweepers, stateDir, clock: deps.clock, intervalMs, afterwards };
  const loop = intervalMs === 0 ? undefined : startSweepLoop(looping);
  const rules = loop && watchRules({ deps, log, repair: afterwards });
  return {
    async stop({ timeoutMs }) {
      const swept = Promise.all([loop?.stop(), rules?.stop()]);
      await published.withdraw();
      const closed = closeServer(server);
      await connections.end(timeoutMs);
      await closed;
      await swept;
    },
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

interface Work {
  readonly plugin: CniPlugin;
  readonly deps: CniDeps;
  readonly log: Log;
}

interface Connections {
  accept(socket: Socket): void;
  end(timeoutMs: number): Promise<void>;
}

/** Each connection is one call, and knows nothing of the others. */
function createConnections(work: Work): Connections {
  const slots = createCallSlots(MAX_AT_WORK);
  const held = createBudget(MAX_HELD_BYTES);
  /** Those that were told to go on are waited for, also before their call is here: an ADD that was sent is not done elsewhere. */
  const open = new Map<Socket, Promise<void> | undefined>();
  let isEnding = false;
  const serveOne = async (socket: Socket) => {
    const share = held.share();
    const done = Promise.withResolvers<void>();
    const mayGo = () => {
      if (!isEnding) open.set(socket, done.promise);
      return !isEnding;
    };
    try {
      const { reserve } = share;
      const call = await readCall(socket, { timeoutMs: REQUEST_TIMEOUT_MS, reserve, mayGo });
      if (typeof call === "string") {
        await finish(socket, encodeRefusal(call));
        return;
      }
      await answer({ ...work, slots, socket }, call);
    } catch (error) {
      const failure = asTrivetError(error, "agent.request", "connection");
      if (failure.kind !== "cancelled")
        work.log.warn("cni agent dropped a client", { error: failure.message });
      socket.destroy();
    } finally {
      share.giveBack();
      done.resolve();
    }
  };
  const settled = async () => {
    await Promise.all(open.values());
  };
  return {
    accept(socket) {
      open.set(socket, undefined);
      socket.on("close", () => open.delete(socket));
      // Of a client that went away there is nothing to say to anybody.
      socket.on("error", () => socket.destroy());
      void serveOne(socket);
    },
    async end(timeoutMs) {
      isEnding = true;
      for (const [socket, done] of open) if (!done) socket.destroy();
      const atWork = settled();
      const inTime = await within(work.deps, PATIENT_SHARE * timeoutMs, atWork);
      for (const socket of open.keys()) socket.destroy();
      if (inTime) return;
      await within(work.deps, (1 - PATIENT_SHARE) * timeoutMs, atWork);
    },
  };
}

/** Whether it ended in time. */
async function within({ clock }: CniDeps, timeoutMs: number, work: Promise<void>): Promise<boolean> {
  const ended = new AbortController();
  const late = clock.sleep(timeoutMs, ended.signal).then(
    () => false,
    () => true,
  );
  const inTime = await Promise.race([work.then(() => true), late]);
  ended.abort();
  return inTime;
}

/** Memory that connections share. */
function createBudget(limitBytes: number) {
  let used = 0;
  return {
    share() {
      let own = 0;
      return {
        reserve(sizeBytes: number): boolean {
          if (used + sizeBytes > limitBytes) return false;
          own += sizeBytes;
          used += sizeBytes;
          return true;
        },
        giveBack() {
          used -= own;
          own = 0;
        },
      };
    },
  };
}

interface Answering extends Work {
  readonly slots: CallSlots;
  readonly socket: Socket;
}

/** Runs the call and hands over its answer. What a client that went away does not know of is taken back. Never rejects. */
async function answer({ plugin, deps, slots, socket }: Answering, call: IncomingCall): Promise<void> {
  const gone = new AbortController();
  socket.once("close", () => gone.abort(clientGone()));
  if (socket.destroyed) gone.abort(clientGone());
  const { protocol, command, deadlineMs } = call;
  const arrived = deps.clock.monotonicNs();
  const env = { ...call.env, CNI_COMMAND: command };
  const request = { env, stdin: Buffer.from(call.stdin).toString("utf8") };
  const work = async () => {
    const waitedMs = Number(deps.clock.monotonicNs() - arrived) / 1e6;
    const left = Math.max(1, Math.floor(deadlineMs - waitedMs));
    const reply = await plugin.call({ ...request, deadlineMs: left, signal: gone.signal });
    const delivered = await finish(socket, encodeReply(protocol, { ...reply, stderr: "" }));
    if (delivered || command !== "ADD" || reply.exitCode !== 0) return;
    await plugin.call({ ...request, env: { ...env, CNI_COMMAND: "DEL" } });
  };
  // A status is short, and must be true also when all places are taken by calls that hang.
  const running = command === "STATUS" ? work() : slots.run(gone.signal, work);
  await running.catch(() => undefined); // given up while it waited for a place
}

function clientGone(): TrivetError {
  return new TrivetError({
    kind: "cancelled",
    op: "agent.connection",
    subject: "client",
    message: "the client went away before it had its answer: the runtime gave the call up",
  });
}

/** Ends the connection with these bytes. False if the client went away before they were on their way to it. */
function finish(socket: Socket, bytes: string): Promise<boolean> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve(false);
    // A client that never takes its answer must not stay for ever.
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    socket.end(bytes, (error?: Error | null) => resolve(!error));
  });
}
