/**
 * For whoever runs in a container that sees the host's processes (`hostPID`): a process that sees the host as it is, by whose
 * /proc/PID/root and namespaces the host is reached.
 */
import { readFile, readlink } from "node:fs/promises";

/** What is read of a process; undefined where it may not be looked at, or is gone. */
export interface ProcessFacts {
  /** Names the mount namespace, such as `mnt:[4026531841]`. */
  readonly mountNamespace: string | undefined;
  readonly parent: string | undefined;
  /** The program's name as the kernel has it, at most 15 characters. */
  readonly name: string;
}

/** As an effect. `pid` may be `self`. */
export type ReadProcess = (pid: string) => Promise<ProcessFacts>;

/** What starts containers runs on the host itself. */
const shims = /^(containerd-shim|conmon|dockerd|crio)/;
const MAX_ANCESTORS = 16;

/**
 * The first process, or, where that may not be looked at (a host within a sandbox keeps it to itself), the one that started this
 * container. Undefined where this process sees the host itself, or no such process.
 */
export async function findHostProcess(read: ReadProcess = readProcess): Promise<string | undefined> {
  const own = await read("self");
  const first = await read("1");
  if (first.mountNamespace !== undefined)
    return first.mountNamespace === own.mountNamespace ? undefined : "1";
  let pid = own.parent;
  for (let step = 0; step < MAX_ANCESTORS && pid !== undefined && Number(pid) > 1; step++) {
    const { mountNamespace, parent, name } = await read(pid);
    if (shims.test(name) && mountNamespace !== undefined && mountNamespace !== own.mountNamespace) return pid;
    pid = parent;
  }
  return undefined;
}

async function readProcess(pid: string): Promise<ProcessFacts> {
  const [mountNamespace, status] = await Promise.all([
    readlink(`/proc/${pid}/ns/mnt`).catch(() => undefined),
    readFile(`/proc/${pid}/status`, "utf8").catch(() => ""),
  ]);
  return {
    mountNamespace,
    parent: /^PPid:\s*(\d+)/m.exec(status)?.[1],
    name: /^Name:\s*(.*)/m.exec(status)?.[1] ?? "",
  };
}
