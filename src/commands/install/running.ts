/** Which releases in /opt/trivet processes run, by the kernel's own word. Needs to see the node's processes. */
import { readlink, realpath } from "node:fs/promises";
import { listProcesses } from "../../host/processes.ts";
import { runtimeRoot } from "../../install/runtime.ts";

interface Running {
  /** The directory's name below `/opt/trivet`. */
  readonly release: string;
  readonly argv: readonly string[];
}

/** The root's own: a container or a user may have a program in a directory of that name too. */
async function listRunning(): Promise<Running[]> {
  // Where /opt is a link, as with ostree, the kernel names the place that it leads to.
  const root = await realpath(runtimeRoot).catch(() => runtimeRoot);
  const processes = await listProcesses();
  const found = await Promise.all(
    processes.map(async ({ pid, argv }) => {
      // A program that was removed since is named with " (deleted)" behind it.
      const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
      const release = program.startsWith(`${root}/`)
        ? program.slice(root.length + 1).split("/")[0]
        : undefined;
      return release === undefined ? undefined : { release, argv };
    }),
  );
  return found.filter((one) => one !== undefined);
}

/** The releases of the proxies that run: of two during a hand-over, and of those that let their last calls end. */
export async function runningProxies(): Promise<ReadonlySet<string>> {
  const running = await listRunning();
  const proxies = running.filter(({ argv }) =>
    argv.some((word, at) => word === "cri" && argv[at + 1] !== "reload"),
  );
  return new Set(proxies.map(({ release }) => release));
}

/** Whether a process runs a program that lies there: it may need more of its files yet. */
export async function isReleaseRun(directory: string): Promise<boolean> {
  return (await listRunning()).some(({ release }) => `${runtimeRoot}/${release}` === directory);
}
