/** Takes the snapshot that everything is decided by: the processes, and whatever file may say how the kubelet is started. Changes nothing. */
import { isKind } from "../../errors.ts";
import type { KubeletDeps } from "./deps.ts";
import { kindOfProcess } from "./detect.ts";
import { type KubeletVersion, type NodeFacts, type NodeProcess, parseVersion } from "./facts.ts";
import { argumentsPath } from "./microk8s.ts";
import { usualFiles } from "./plain.ts";
import { serviceOf } from "./service-files.ts";
import { unitDirectories } from "./unit.ts";
import { flagOf } from "./words.ts";

type GatherDeps = Pick<KubeletDeps, "files" | "exec" | "listProcesses">;

const VERSION_TIMEOUT_MS = 10_000;
const usualUnits = [
  "kubelet.service",
  "k3s.service",
  "k3s-agent.service",
  "rke2-server.service",
  "rke2-agent.service",
];
const rancher = ["/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml"];
const startScripts = ["/etc/init.d/k3s", "/etc/init.d/k3s-agent"];

/** Throws what reading a file throws, other than that it is not there. */
export async function gatherFacts(deps: GatherDeps): Promise<NodeFacts> {
  const processes = (await deps.listProcesses()).filter(({ argv }) => kindOfProcess(argv) !== undefined);
  const reader = createReader(deps.files);
  const units = new Set([...usualUnits, ...processes.flatMap(({ service }) => service ?? [])]);
  for (const unit of units) {
    for (const directory of unitDirectories) {
      await reader.file(`${directory}/${unit}`);
      await reader.directory(`${directory}/${unit}.d`);
    }
  }
  const snapshot = (version?: KubeletVersion): NodeFacts => ({
    init: "none",
    processes,
    files: reader.found,
    version,
  });
  for (const unit of units) {
    for (const path of serviceOf(snapshot(), unit)?.environmentFiles ?? []) await reader.file(path);
  }
  for (const path of [...usualFiles, ...rancher, ...startScripts, argumentsPath]) await reader.file(path);
  const configurations = processes.flatMap(({ argv }) => flagOf(argv, "config") ?? []);
  for (const path of configurations) await reader.file(path);
  const directories = processes.flatMap(
    ({ argv }) => flagOf(argv, "config-dir")?.replace(/(.)\/+$/, "$1") ?? [],
  );
  for (const path of [...directories, ...[...rancher, ...configurations].map((path) => `${path}.d`)]) {
    await reader.directory(path);
  }
  return { ...snapshot(await versionOf(deps, processes)), init: await initOf(deps) };
}

interface Reader {
  readonly found: Map<string, string>;
  file(path: string): Promise<void>;
  /** The files in it, not those in its directories. */
  directory(path: string): Promise<void>;
}

function createReader(files: KubeletDeps["files"]): Reader {
  const found = new Map<string, string>();
  const file = async (path: string) => {
    if (!path.startsWith("/")) return;
    const bytes = await ifThere(files.read(path));
    if (bytes) found.set(path, bytes.toString("utf8"));
  };
  return {
    found,
    file,
    async directory(path) {
      const entries = path.startsWith("/") ? ((await ifThere(files.list(path))) ?? []) : [];
      for (const { name, kind } of entries) {
        if (kind === "file" || kind === "symlink") await file(`${path}/${name}`);
      }
    },
  };
}

async function ifThere<T>(effect: Promise<T>): Promise<T | undefined> {
  try {
    return await effect;
  } catch (error) {
    // A link to a directory cannot be read as a file, nor a file listed as a directory; neither says anything here.
    if (isKind(error, "not-found") || /EISDIR|ENOTDIR/.test(String(error))) return undefined;
    throw error;
  }
}

async function initOf({ files }: GatherDeps): Promise<NodeFacts["init"]> {
  if (await ifThere(files.stat("/run/systemd/system"))) return "systemd";
  return (await ifThere(files.stat("/run/openrc"))) ? "openrc" : "none";
}

/** Asked of the very program that runs. Undefined where it does not say. */
async function versionOf(
  { exec }: GatherDeps,
  processes: readonly NodeProcess[],
): Promise<KubeletVersion | undefined> {
  const kubelet = processes.find(({ argv }) => kindOfProcess(argv) === "kubelet");
  if (!kubelet) return undefined;
  const [named = ""] = kubelet.argv;
  const program = named.startsWith("/") ? named : `/proc/${kubelet.pid}/exe`;
  const answer = await exec([program, "--version"], { timeoutMs: VERSION_TIMEOUT_MS }).catch(() => undefined);
  return answer?.exitCode === 0 ? parseVersion(answer.stdout) : undefined;
}
