/** Looks at the machine's processes and mounts, to end and to prove gone only what belongs to one directory. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 20;

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly argv: readonly string[];
}

/** Every process that can be read; kernel threads have no arguments. */
export async function listProcesses(): Promise<ProcessInfo[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const processes = await Promise.all(pids.map(readProcess));
  return processes.filter((found) => found !== undefined);
}

async function readProcess(pid: number): Promise<ProcessInfo | undefined> {
  try {
    const [stat, commandLine] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "utf8"),
      readFile(`/proc/${pid}/cmdline`, "utf8"),
    ]);
    // The name is in brackets and may hold anything, a bracket too; state and parent follow it.
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z") return undefined;
    return { pid, parent: Number(parent), argv: commandLine.split("\0").slice(0, -1) };
  } catch {
    return undefined; // it has ended meanwhile
  }
}

/** The processes that `matches` picks, and all their descendants, but never this one. */
export async function processTrees(matches: (candidate: ProcessInfo) => boolean): Promise<ProcessInfo[]> {
  const all = await listProcesses();
  const found = new Map(all.filter(matches).map((entry) => [entry.pid, entry]));
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const entry of all) if (found.has(entry.parent)) found.set(entry.pid, entry);
  }
  found.delete(process.pid);
  return [...found.values()];
}

/** The processes that have `text` in one of their arguments, with their descendants. */
export function processesWith(text: string): Promise<ProcessInfo[]> {
  return processTrees(({ argv }) => argv.some((part) => part.includes(text)));
}

/** Resolves when none of these processes runs any more; false if some still do after `timeoutMs`. */
export async function waitForEnd(pids: readonly number[], timeoutMs: number): Promise<boolean> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    const running = new Set((await listProcesses()).map(({ pid }) => pid));
    if (!pids.some((pid) => running.has(pid))) return true;
    if (performance.now() > until) return false;
    await sleep(POLL_MS);
  }
}

/** The mount points at or below `directory`, the deepest first. */
export async function mountsBelow(directory: string): Promise<string[]> {
  const lines = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  return lines
    .map((line) => unescapeMount(line.split(" ")[4] ?? ""))
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .reverse();
}

/** Blanks, tabs, newlines and backslashes are octal in mountinfo. */
function unescapeMount(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
