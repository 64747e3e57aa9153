/** The real effects of doctor. In a container that sees the host's processes it looks at the host, through /proc/PID/root. */
import { access, constants, readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { isKind, TrivetError } from "../../errors.ts";
import { createBtrfs } from "../../host/btrfs.ts";
import { createExec } from "../../host/exec.ts";
import { createFiles } from "../../host/files.ts";
import { findHostProcess } from "../../host/host-process.ts";
import { listProcessesBeside } from "../../host/processes.ts";
import { createProjectQuota } from "../../host/quota.ts";
import { findSocketHolders } from "../../host/socket-holders.ts";
import { createSyscalls, type Syscalls } from "../../host/syscall.ts";
import { isLiveSocket } from "../../host/unix-socket.ts";
import { rootedFiles } from "../../install/rooted-files.ts";
import { version } from "../../version.ts";
import { searchPath, usualPath } from "../search-path.ts";
import type { QuotaState } from "./facts.ts";
import type { DoctorDeps, DoctorSettings } from "./gather.ts";

const HTTP_TIMEOUT_MS = 10_000;

/** What was asked for on the command line. */
export interface DoctorRequest {
  readonly settings: DoctorSettings;
  readonly given: DoctorDeps["given"];
  /** Where the host's files are; found out where it is not given. */
  readonly root?: string | undefined;
  /** The configuration file of `trivet node`, as this process sees it. */
  readonly config?: string | undefined;
}

export async function createDoctorDeps({
  settings,
  given,
  root,
  config,
}: DoctorRequest): Promise<DoctorDeps> {
  const syscalls = createSyscalls();
  const files = createFiles(syscalls);
  const host = await findHost(root);
  const path = searchPath();
  const reach = (asked: string) => (host.root === "/" ? asked : join(host.root, asked));
  // What is said of a path is said of the host's.
  const asOnHost = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: Error) => {
      throw host.root === "/"
        ? error
        : new Error(error.message.replaceAll(`${host.root}/`, "/"), { cause: error });
    });
  let holders: ReturnType<DoctorDeps["holders"]> | undefined;
  return {
    ...{
      settings,
      given,
      files: rootedFiles(files, host.root),
      reach,
      isThisNode: host.pid !== undefined,
      hostPid: host.pid,
    },
    exec: createExec(path, syscalls),
    askCri: async (socket, options) =>
      asOnHost((await import("../../host/cri-identity.ts")).askCri(socket, options)),
    askAdmin: async (socket, question, argument) =>
      asOnHost((await import("../../host/admin-socket.ts")).askAdmin(socket, question, argument ?? {})),
    listProcesses: async () => (host.pid === undefined ? [] : listProcessesBeside(host.pid)),
    mountTable: async () =>
      host.pid === undefined ? "" : readFile(`/proc/${host.pid}/mountinfo`, "utf8").catch(() => ""),
    ...{ get, pluginStatus, isLiveSocket },
    readConfig: () => readConfig(config, reach),
    quotaOf: (asked, type) => asOnHost(quotaOf(syscalls, reach(asked), type)),
    holders() {
      holders ??= findSocketHolders().catch(() => new Map());
      return holders;
    },
    hasProgram: (name, pid) => isProgram(name, pid, path),
    version,
  };
}

/** Where the node's files are, and a process that sees them: `self`, a number, or none where they are another machine's. */
export interface Host {
  readonly root: string;
  readonly pid: string | undefined;
}

/** `root` as it was given; without it the node itself, also from a container that sees its processes. */
export async function findHost(root: string | undefined): Promise<Host> {
  if (root === "/") return { root, pid: "self" };
  if (root !== undefined) return { root, pid: /^\/proc\/(\d+)\/root\/?$/.exec(root)?.[1] };
  const pid = await findHostProcess();
  return pid === undefined ? { root: "/", pid: "self" } : { root: `/proc/${pid}/root`, pid };
}

/** In the pod of the DaemonSet it is mounted, on a host it is where people put it. */
async function readConfig(given: string | undefined, reach: (path: string) => string) {
  const usual = [
    "/etc/trivet-node/config.yaml",
    reach("/etc/trivet/config.yaml"),
    reach("/etc/trivet/node.yaml"),
  ];
  for (const path of given === undefined ? usual : [given]) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) return text;
  }
  return undefined;
}

const BTRFS = 0x9123683e;

async function quotaOf(syscalls: Syscalls, path: string, type: number): Promise<QuotaState> {
  if (type === BTRFS) {
    const { mode, consistent, rescanning } = await createBtrfs(syscalls).quotaState(path);
    if (mode === "off") return "off";
    return consistent || rescanning ? "enforced" : "counted";
  }
  if (type !== 0xef53 && type !== 0x58465342) {
    const message = "its file system has no quotas that Trivet can use: XFS, ext4 and btrfs have";
    throw new TrivetError({ kind: "unsupported", op: "quota.state", subject: path, message });
  }
  try {
    const { accounting, enforced } = await createProjectQuota(syscalls).state(path);
    if (enforced) return "enforced";
    return accounting ? "counted" : "off";
  } catch (error) {
    if (isKind(error, "unsupported", "not-found")) return "off";
    throw error;
  }
}

async function get(url: string) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(HTTP_TIMEOUT_MS) });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    // What fetch itself says is that it failed.
    const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
    throw new Error(cause?.code ?? cause?.message ?? message);
  }
}

/** In this process, on the state of the node: as the standalone plugin does it. */
async function pluginStatus(config: string): Promise<string | undefined> {
  const [{ runCni }, { createCniDeps }] = await Promise.all([
    import("../../cni/client/run.ts"),
    import("../host.ts"),
  ]);
  let answer = "";
  const exitCode = await runCni({
    standalone: true,
    env: { CNI_COMMAND: "STATUS", CNI_PATH: "/opt/cni/bin" },
    readStdin: async () => config,
    writeStdout: (text) => {
      answer += text;
    },
    writeStderr: () => undefined,
    loadDeps: () => createCniDeps(),
  });
  if (exitCode === 0) return undefined;
  return (JSON.parse(answer) as { msg?: string }).msg ?? answer;
}

/** The programs of a process in a container are those of its container. */
async function isProgram(name: string, pid: number | undefined, path: string): Promise<boolean> {
  const [search, root] = pid === undefined ? [path, "/"] : [usualPath, `/proc/${pid}/root`];
  for (const directory of search.split(delimiter)) {
    const found = await access(join(root, directory, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
