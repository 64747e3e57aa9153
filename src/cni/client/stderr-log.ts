/** The log of the standalone plugin: JSON lines like those of the daemon, without the weight of a logging library. */
import type { Log, LogFields } from "../../observe/log.ts";

/** `always` is on every line. Debug lines are dropped: a runtime shows stderr only when a call failed. */
export function createStderrLog(writeStderr: (text: string) => void, always: LogFields = {}): Log {
  const write = (level: string) => (message: string, fields?: LogFields) => {
    const time = new Date().toISOString();
    writeStderr(`${JSON.stringify({ level, time, name: "cni", ...always, ...fields, message })}\n`);
  };
  return {
    debug: () => undefined,
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (fields) => createStderrLog(writeStderr, { ...always, ...fields }),
  };
}
