/** Which releases in /opt/trivet processes run, by the kernel's own word. Needs to see the node's processes. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { runtimeRoot } from "../../install/runtime.ts";

interface Running {
  /** The directory's name below `/opt/trivet`. */
  readonly release: string;
  readonly argv: readonly string[];
}

async function listRunning(): Promise<Running[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      // A program that was removed since is named with " (deleted)" behind it.
      const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
      const release = program.startsWith(`${runtimeRoot}/`) ? program.split("/")[3] : undefined;
      if (release === undefined) return undefined;
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return { release, argv: command.split("\0") };
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
