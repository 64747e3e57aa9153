/** Container logs in the CRI format: `TIME STREAM TAG TEXT`, where the tag P marks a piece of a line and F its end. */
import { type FileHandle, open } from "node:fs/promises";

export type LogStream = "stdout" | "stderr";

/** containerd cuts longer lines into pieces of this size. */
const MAX_LINE_BYTES = 16 * 1024;
const LOG_FILE_MODE = 0o640;

/** The lines of one piece of output. Text after the last newline is a partial line, as containerd logs it. */
export function formatLog(text: string | Uint8Array, stream: LogStream, at = new Date()): Buffer {
  const bytes = Buffer.from(text);
  const time = at.toISOString().replace("Z", "000000Z");
  const parts: Buffer[] = [];
  const emit = (tag: "F" | "P", line: Buffer) =>
    parts.push(Buffer.from(`${time} ${stream} ${tag} `), line, Buffer.from("\n"));
  let start = 0;
  while (start < bytes.length) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    for (; end - start > MAX_LINE_BYTES; start += MAX_LINE_BYTES) {
      emit("P", bytes.subarray(start, start + MAX_LINE_BYTES));
    }
    emit(newline === -1 ? "P" : "F", bytes.subarray(start, end));
    start = end + 1;
  }
  return Buffer.concat(parts);
}

export interface ContainerLog {
  write(text: string | Uint8Array, stream?: LogStream): Promise<void>;
  close(): Promise<void>;
}

/** Opens the log of a container; nobody makes its directory but the kubelet. An empty path drops the output. */
export async function openContainerLog(path: string): Promise<ContainerLog> {
  let file: FileHandle | undefined = path === "" ? undefined : await open(path, "a", LOG_FILE_MODE);
  let writing = Promise.resolve();
  return {
    write(text, stream = "stdout") {
      // One write after another, so that lines of two streams never mix.
      writing = writing.then(async () => {
        await file?.appendFile(formatLog(text, stream));
      });
      return writing;
    },
    async close() {
      await writing.catch(() => undefined);
      await file?.close();
      file = undefined;
    },
  };
}

export interface LogLine {
  readonly time: string;
  readonly stream: string;
  readonly text: string;
}

/** Reads a log back, as the kubelet does for `kubectl logs`: pieces of a line are joined. */
export function parseLog(content: string): LogLine[] {
  const lines: LogLine[] = [];
  const open = new Map<string, string>();
  for (const raw of content.split("\n")) {
    const match = /^(\S+) (stdout|stderr) ([FP])\S* (.*)$/s.exec(raw);
    if (!match) continue;
    const [, time = "", stream = "", tag, text = ""] = match;
    const whole = (open.get(stream) ?? "") + text;
    open.delete(stream);
    if (tag === "P") open.set(stream, whole);
    else lines.push({ time, stream, text: whole });
  }
  for (const [stream, text] of open) lines.push({ time: "", stream, text });
  return lines;
}
