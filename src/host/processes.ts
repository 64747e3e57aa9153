/** The processes of a host: those of one mount namespace, so that containers, also with a kubelet of their own, do not count. */
import { readdir, readFile, readlink } from "node:fs/promises";

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

/** Those that see the same mounts as this process. */
export const listProcesses: ListProcesses = () => listWith("self");

/** Those that see the same mounts as the first process: of the host, for whoever runs in a container that sees its processes. */
export const listHostProcesses: ListProcesses = () => listWith("1");

/** Those that see the same mounts as this one. */
export const listProcessesBeside = (pid: string): Promise<HostProcess[]> => listWith(pid);

async function listWith(other: string): Promise<HostProcess[]> {
  const own = await readlink(`/proc/${other}/ns/mnt`);
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => readProcess(pid, own).catch(() => undefined)));
  return found.filter((process) => process !== undefined);
}

async function readProcess(pid: string, namespace: string): Promise<HostProcess | undefined> {
  const directory = `/proc/${pid}`;
  // Kernel threads have no command line.
  const line = await readFile(`${directory}/cmdline`, "utf8");
  if (line === "" || (await readlink(`${directory}/ns/mnt`)) !== namespace) return undefined;
  const [stat, groups] = await Promise.all([
    readFile(`${directory}/stat`, "utf8"),
    readFile(`${directory}/cgroup`, "utf8").catch(() => ""),
  ]);
  // The second field is the name in parentheses, and may hold anything; the start is the 22nd.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    pid: Number(pid),
    startTicks: BigInt(fields[22 - 3] ?? 0),
    argv: line.replace(/\0+$/, "").split("\0"),
    service: /\/([^/\n]+\.service)(?:\/[^\n]*)?$/m.exec(groups)?.[1],
  };
}
