/** A verb of Trivet as a process of its own, started as a user would start it; it can be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TrivetError } from "../../errors.ts";
import { packageRoot } from "../../host/package-root.ts";
import { isLiveSocket } from "../../host/unix-socket.ts";

export interface DaemonOptions {
  /** The verb and its flags. */
  readonly args: readonly string[];
  /** The path of the network namespace to start it in; this process's own without it. */
  readonly netns?: string;
  /** Where its stderr goes, appended. */
  readonly logFile: string;
  /** Whether it serves by now. */
  ready(): Promise<boolean>;
}

export interface Daemon {
  /** The process now running; undefined when it is not. */
  readonly pid: number | undefined;
  start(): Promise<void>;
  /** SIGTERM; gives the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** The last lines of its log. */
  logTail(lines: number): Promise<string[]>;
}

const START_TIMEOUT_MS = 15_000;
const POLL_MS = 20;

/** `ready` for a daemon that is ready when its socket accepts. */
export function socketAnswers(path: string): () => Promise<boolean> {
  return () => isLiveSocket(path);
}

export function createDaemon(options: DaemonOptions): Daemon {
  const [verb = "trivet"] = options.args;
  let child: ChildProcess | undefined;
  let ended: Promise<number | null> = Promise.resolve(null);

  const waitUntilReady = async (): Promise<void> => {
    const giveUp = Date.now() + START_TIMEOUT_MS;
    while (!(await options.ready())) {
      const dead = child?.exitCode !== null || child.signalCode !== null;
      if (!dead && Date.now() < giveUp) {
        await sleep(POLL_MS);
        continue;
      }
      const why = dead ? `ended with code ${child?.exitCode}` : `was not ready after ${START_TIMEOUT_MS} ms`;
      const message = `trivet ${verb} ${why}; its log is ${options.logFile}`;
      throw new TrivetError({ kind: "unavailable", op: "demo.start", subject: verb, message });
    }
  };

  return {
    get pid() {
      return child?.pid;
    },
    async start() {
      const log = await open(options.logFile, "a");
      const trivet = join(packageRoot, "bin/trivet");
      // nsenter becomes what it starts: the pid is Trivet's.
      const entering = options.netns === undefined ? [] : ["nsenter", `--net=${options.netns}`];
      const [program = trivet, ...argv] = [...entering, trivet, ...options.args];
      const started = spawn(program, argv, {
        stdio: ["ignore", log.fd, log.fd],
      });
      child = started;
      ended = new Promise((resolve) => {
        started.once("error", () => resolve(null));
        started.once("exit", (code) => resolve(code));
      });
      await log.close();
      await waitUntilReady();
    },
    async stop() {
      child?.kill("SIGTERM");
      const code = await ended;
      child = undefined;
      return code;
    },
    async kill() {
      child?.kill("SIGKILL");
      await ended;
      child = undefined;
    },
    async logTail(lines) {
      const text = await readFile(options.logFile, "utf8").catch(() => "");
      return text.split("\n").filter(Boolean).slice(-lines);
    },
  };
}
