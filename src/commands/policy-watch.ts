/**
 * Tells when files of a directory change: at once by the kernel's notes, and by looking from time to time, since a directory
 * that is replaced, or a link that points elsewhere, sends none.
 */
import { type FSWatcher, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

export interface DirectoryWatch {
  readonly directory: string;
  /** The names of files that count. */
  readonly wanted: RegExp;
  /** Called some time after a change, once for many in a row. */
  readonly onChange: () => void;
  /** The kernel sends no notes for this directory. Once. */
  readonly onError: (error: unknown) => void;
  readonly settleMs?: number;
  readonly pollMs?: number;
}

// An editor writes, renames and removes; a ConfigMap swaps a link and removes the old tree.
const SETTLE_MS = 200;
const POLL_MS = 5_000;
/** Somebody who writes all the time must not keep a change from being seen. */
const MAX_SETTLE_MS = 2_000;
/** A ConfigMap's files stay as they are while the link `..data` that they go by is put elsewhere. */
const CONFIG_MAP_LINK = "..";

/** What the files look like from outside: enough to see that one has changed. */
async function fingerprint(directory: string, wanted: RegExp): Promise<string> {
  try {
    const names = (await readdir(directory)).filter((name) => wanted.test(name)).sort();
    const own = await stat(directory);
    const parts = [`${own.dev}:${own.ino}`];
    for (const name of names) {
      const file = await stat(join(directory, name)).catch(() => undefined);
      parts.push(`${name}:${file?.ino}:${file?.size}:${file?.mtimeMs}`);
    }
    return parts.join("/");
  } catch {
    return "gone";
  }
}

export function watchDirectory(options: DirectoryWatch): { close(): void } {
  const { directory, wanted, onChange, onError, settleMs = SETTLE_MS, pollMs = POLL_MS } = options;
  let watcher: FSWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;
  let complained = false;
  let last: string | undefined;
  let closed = false;

  let waitsSince: number | undefined;
  const soon = () => {
    const now = performance.now();
    waitsSince ??= now;
    clearTimeout(timer);
    timer = setTimeout(
      () => {
        waitsSince = undefined;
        onChange();
      },
      Math.max(0, Math.min(settleMs, waitsSince + MAX_SETTLE_MS - now)),
    );
    timer.unref();
  };
  const noted = (_event: string, name: string | null) => {
    if (name === null || wanted.test(name) || name.startsWith(CONFIG_MAP_LINK)) soon();
  };
  const listen = () => {
    watcher?.close();
    try {
      watcher = watch(directory, { persistent: false }, noted);
      watcher.on("error", fail);
    } catch (error) {
      fail(error);
    }
  };
  const fail = (error: unknown) => {
    watcher = undefined;
    if (!complained) onError(error);
    complained = true;
  };
  const look = async () => {
    const now = await fingerprint(directory, wanted);
    if (closed) return;
    if (last !== undefined && now !== last) {
      listen(); // it may be another directory by this name
      soon();
    }
    last = now;
  };
  listen();
  void look();
  const poll = setInterval(() => void look(), pollMs);
  poll.unref();
  return {
    close() {
      closed = true;
      clearInterval(poll);
      clearTimeout(timer);
      watcher?.close();
    },
  };
}
