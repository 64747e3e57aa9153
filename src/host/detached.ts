/**
 * Programs that outlive whoever starts them, also where the service manager ends everything of a session or a service with it: as a
 * service of systemd's where that runs, in a session of its own elsewhere.
 */
import { spawn } from "node:child_process";
import { access, open } from "node:fs/promises";
import { fromNodeError } from "./errno.ts";
import type { Exec } from "./exec.ts";

/** As an effect. Without systemd the output goes to `logFile`, with it to its journal. Resolves when the program was started. */
export type StartDetached = (argv: readonly [string, ...string[]], logFile: string) => Promise<void>;

const START_TIMEOUT_MS = 20_000;

export function createStartDetached(exec: Exec, unit: string): StartDetached {
  return async (argv, logFile) => {
    if (await isSystemdThere()) {
      const command = ["systemd-run", "--quiet", "--collect", `--unit=${unit}`, "--", ...argv] as const;
      const result = await exec([...command], { timeoutMs: START_TIMEOUT_MS }).catch(() => undefined);
      if (result?.exitCode === 0) return;
    }
    await startInSession(argv, logFile);
  };
}

const isSystemdThere = () =>
  access("/run/systemd/system").then(
    () => true,
    () => false,
  );

async function startInSession(
  [program, ...rest]: readonly [string, ...string[]],
  logFile: string,
): Promise<void> {
  try {
    const log = await open(logFile, "a", 0o600);
    try {
      await new Promise<void>((resolve, reject) => {
        const child = spawn(program, rest, { detached: true, cwd: "/", stdio: ["ignore", log.fd, log.fd] });
        child.once("error", reject);
        child.once("spawn", () => {
          child.unref();
          resolve();
        });
      });
    } finally {
      await log.close();
    }
  } catch (error) {
    throw fromNodeError(error, "process.detach", program);
  }
}
