/** The real effects of doctor. In a container that sees the host's processes it looks at the host, through /proc/1/root. */
import { access, constants, readlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { createExec } from "../../host/exec.ts";
import { createFiles } from "../../host/files.ts";
import { listHostProcesses, listProcesses } from "../../host/processes.ts";
import { findSocketHolders } from "../../host/socket-holders.ts";
import { createSyscalls } from "../../host/syscall.ts";
import { isLiveSocket } from "../../host/unix-socket.ts";
import { rootedFiles } from "../../install/rooted-files.ts";
import { version } from "../../version.ts";
import type { DoctorDeps, DoctorSettings } from "./gather.ts";

const SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const HTTP_TIMEOUT_MS = 3_000;

/** `root` is where the host's files are; found out where it is not given. */
export async function createDoctorDeps(settings: DoctorSettings, root?: string): Promise<DoctorDeps> {
  const syscalls = createSyscalls();
  const files = createFiles(syscalls);
  const host = root ?? ((await isInContainer()) ? "/proc/1/root" : "/");
  const path = [process.env.PATH, SEARCH].filter(Boolean).join(delimiter);
  return {
    settings,
    files: rootedFiles(files, host),
    reach: (asked) => (host === "/" ? asked : join(host, asked)),
    exec: createExec(path, syscalls),
    askCri: async (socket) => (await import("../../host/cri-identity.ts")).askCri(socket),
    askAdmin: async (socket, question, argument) =>
      (await import("../../host/admin-socket.ts")).askAdmin(socket, question, argument ?? {}),
    listProcesses: host === "/" ? listProcesses : listHostProcesses,
    getText,
    pluginStatus,
    isLiveSocket,
    findSocketHolders,
    hasProgram: (name) => isProgram(name, path),
    version,
  };
}

async function isInContainer(): Promise<boolean> {
  const [own, first] = await Promise.all(
    ["self", "1"].map((pid) => readlink(`/proc/${pid}/ns/mnt`).catch(() => "")),
  );
  return own !== first && first !== "";
}

async function getText(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(HTTP_TIMEOUT_MS) });
  return response.text();
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

async function isProgram(name: string, path: string): Promise<boolean> {
  for (const directory of path.split(delimiter)) {
    const found = await access(join(directory, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
