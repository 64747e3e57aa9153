/** JSON lines on stderr. Callers name each field they log: no request, response or environment is ever dumped. */
import { writeSync } from "node:fs";
import { type DestinationStream, pino } from "pino";

export type LogFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose every line carries these fields too. */
  child(fields: LogFields): Log;
}

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

type Pino = ReturnType<typeof pino>;

function wrap(logger: Pino): Log {
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
    child: (fields) => wrap(logger.child(fields)),
  };
}

const STDERR = 2;
const BUSY_PIPE_MS = 10;
const BUSY_PIPE_TRIES = 10;

/**
 * Writes at once. A full disk, a reader that is gone or one that stands still costs the line, and never the process:
 * pino's own destination ends it, or waits for ever when it ends.
 */
function writeStderr(line: string): void {
  let rest = Buffer.from(line);
  for (let tries = 0; rest.length > 0 && tries < BUSY_PIPE_TRIES; ) {
    try {
      rest = rest.subarray(writeSync(STDERR, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
      tries += 1;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PIPE_MS);
    }
  }
}

/** A log of one process; `name` is its verb. Lines are written at once, so that a crash loses none. */
export function createLog(name: string, level: LogLevel, destination?: DestinationStream): Log {
  const options = {
    level,
    base: { name },
    messageKey: "message",
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return wrap(pino(options, destination ?? { write: writeStderr }));
}

/** Drops everything: for tests and for programs that speak on stdout only. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};
