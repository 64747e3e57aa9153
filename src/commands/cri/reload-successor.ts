/**
 * The serving side of a hand-over: starts a successor with the listening descriptors, and talks to it. The successor must
 * be no child of this process, which will end before it: the service manager is to be told of its end.
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import type { Successor, SuccessorReport } from "../../cri/serve/hand-over.ts";
import { TrivetError } from "../../errors.ts";
import type { OpenListener } from "./listeners.ts";
import {
  type HandedSocket,
  handOverVariable,
  type PredecessorMessage,
  type SuccessorMessage,
} from "./reload-predecessor.ts";

/** How this process was started, and how long a successor may take. */
export interface SuccessorOptions {
  readonly execPath: string;
  readonly execArgv: readonly string[];
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly listeners: readonly (OpenListener & { readonly fd: number })[];
  readonly prepareMs: number;
  readonly takeOverMs: number;
}

/** Set by the start script: the name that it was called by, of which a link may be a part. */
const programVariable = "TRIVET_PROGRAM";
const KILL_WAIT_MS = 2_000;
const KILL_POLL_MS = 10;

/** What to start: the same words, by the name that the administrator used, so that a new version is found behind it. */
export function successorArgv({
  execPath,
  execArgv,
  argv,
  env,
}: Pick<SuccessorOptions, "execPath" | "execArgv" | "argv" | "env">): string[] {
  const program = env[programVariable];
  const words = argv.slice(2).filter((word) => word !== "--take-over");
  if (program) return [program, ...words];
  return [execPath, ...execArgv, ...argv.slice(1, 2), ...words];
}

/** The environment that goes on, with what sd_listen_fds(3) wants but for the pid, which nobody knows yet. */
export function successorEnv({
  env,
  listeners,
}: Pick<SuccessorOptions, "env" | "listeners">): Record<string, string | undefined> {
  const sockets: HandedSocket[] = listeners.map(({ name, path, owner }) => ({ name, path, owner }));
  return {
    ...env,
    // The directory of this version's compiled code: the next version has one of its own.
    NODE_COMPILE_CACHE: undefined,
    LISTEN_PID: undefined,
    LISTEN_FDS: String(sockets.length),
    LISTEN_FDNAMES: sockets.map(({ name }) => name).join(":"),
    [handOverVariable]: JSON.stringify({ sockets }),
  };
}

/** Starts it. Rejects if nothing can be started at all. */
export async function startSuccessor(options: SuccessorOptions): Promise<Successor> {
  // Three megabytes that only a reload needs. Nothing of our own may be loaded so late: an upgrade may have removed it.
  const { spawn } = await import("node:child_process");
  // The shell starts it in the background and ends: init becomes its parent. In a session of its own all of them can be
  // ended by one signal, whatever they have come to.
  const starter = spawn("/bin/sh", ["-c", '"$@" &', "trivet", ...successorArgv(options)], {
    detached: true,
    env: successorEnv(options),
    stdio: ["ignore", "inherit", "inherit", ...options.listeners.map(({ fd }) => fd), "ipc"],
  });
  await new Promise<void>((resolve, reject) => {
    starter.once("spawn", resolve);
    starter.once("error", (cause) => reject(failure(`no successor can be started: ${cause.message}`, cause)));
  });
  const talk = listenTo(starter);
  return {
    async prepared() {
      const message = await talk.next("prepared", options.prepareMs);
      return { pid: message.pid, version: message.version, kept: message.kept } satisfies SuccessorReport;
    },
    async takeOver() {
      const order: PredecessorMessage = { type: "take-over" };
      starter.send(order, () => undefined);
      await talk.next("serving", options.takeOverMs);
    },
    kill: () => killSession(starter),
  };
}

type MessageOf<Type extends SuccessorMessage["type"]> = Extract<SuccessorMessage, { type: Type }>;

/** The messages by type, and the end of the talk, whichever comes first. */
function listenTo(starter: ChildProcess) {
  const seen = new Map<string, SuccessorMessage>();
  let ended = false;
  let wake: () => void = () => undefined;
  starter.on("message", (message: SuccessorMessage) => {
    if (typeof message?.type === "string") seen.set(message.type, message);
    wake();
  });
  starter.on("disconnect", () => {
    ended = true;
    wake();
  });
  starter.on("error", () => undefined); // an order that did not arrive: the end of the talk says so
  return {
    async next<Type extends "prepared" | "serving">(type: Type, timeoutMs: number): Promise<MessageOf<Type>> {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        wake();
      }, timeoutMs);
      try {
        for (;;) {
          const found = seen.get(type);
          if (found) return found as MessageOf<Type>;
          const failed = seen.get("failed");
          if (failed?.type === "failed") throw failure(failed.message);
          if (ended) throw failure("the successor ended before it was ready: its lines in the log say why");
          if (late) throw failure(`the successor was not ready (${type}) after ${timeoutMs} ms`);
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

async function killSession(starter: ChildProcess): Promise<void> {
  if (starter.connected) starter.disconnect();
  const { pid } = starter;
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
    // Gone when nobody is left in the group; init reaps them.
    for (let waited = 0; waited < KILL_WAIT_MS; waited += KILL_POLL_MS) {
      process.kill(-pid, 0);
      await pause(KILL_POLL_MS);
    }
  } catch {
    // Nobody is left.
  }
}

function failure(message: string, cause?: unknown): TrivetError {
  return new TrivetError({ kind: "unavailable", op: "cri.hand-over", subject: "successor", message, cause });
}
