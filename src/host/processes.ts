/**
 * The processes of a host: those with its root directory, so that containers, also with a kubelet of their own, do not count; and of
 * root or of our own user, since anybody may call a process of theirs what they like, and what is found here is trusted by its name.
 * Their mount namespaces say less: systemd gives one to each service that it shields from a part of the file system.
 */
import { readdir, readFile, stat } from "node:fs/promises";

export interface HostProcess {
  readonly pid: number;
  /** Clock ticks since boot at which it was started: with the pid it names a process for good. */
  readonly startTicks: bigint;
  readonly argv: readonly string[];
  /** The systemd service that it belongs to by its control group. */
  readonly service: string | undefined;
}

/** As an effect. Processes that end meanwhile are left out. */
export type ListProcesses = () => Promise<HostProcess[]>;

/** Those that have the same root as this process. */
export const listProcesses: ListProcesses = () => listWith("self");

/** Those that have the same root as this one. */
export const listProcessesBeside = (pid: string): Promise<HostProcess[]> => listWith(pid);

async function listWith(other: string): Promise<HostProcess[]> {
  const own = await rootOf(other);
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => readProcess(pid, own).catch(() => undefined)));
  return found.filter((process) => process !== undefined);
}

/** The directory by device and inode, of which every file system has its own. */
async function rootOf(pid: string): Promise<string> {
  const { dev, ino } = await stat(`/proc/${pid}/root/`, { bigint: true });
  return `${dev}:${ino}`;
}

async function readProcess(pid: string, root: string): Promise<HostProcess | undefined> {
  const directory = `/proc/${pid}`;
  // Kernel threads have no command line.
  const line = await readFile(`${directory}/cmdline`, "utf8");
  if (line === "" || (await rootOf(pid)) !== root) return undefined;
  if (!isTrusted(await readFile(`${directory}/status`, "utf8"))) return undefined;
  const [state, groups] = await Promise.all([
    readFile(`${directory}/stat`, "utf8"),
    readFile(`${directory}/cgroup`, "utf8").catch(() => ""),
  ]);
  // The second field is the name in parentheses, and may hold anything; the start is the 22nd.
  const fields = state.slice(state.lastIndexOf(")") + 2).split(" ");
  return {
    pid: Number(pid),
    startTicks: BigInt(fields[22 - 3] ?? 0),
    argv: line.replace(/\0+$/, "").split("\0"),
    service: /\/([^/\n]+\.service)(?:\/[^\n]*)?$/m.exec(groups)?.[1],
  };
}

/** By all of its user ids: who starts a set-user-id program chooses its arguments, the first one too. */
function isTrusted(status: string): boolean {
  const [, ids = ""] = /^Uid:\s+(.*)$/m.exec(status) ?? [];
  const own = process.geteuid?.();
  return ids.split(/\s+/).every((id) => id === "0" || id === String(own));
}
