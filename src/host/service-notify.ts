/**
 * Tells a service manager how a daemon stands (sd_notify(3)), through the program `systemd-notify`: Node opens no unix
 * datagram socket, and a process that must start anywhere loads no native code for it. Does nothing under any other
 * service manager.
 */
import { TrivetError } from "../errors.ts";

/** The assignments that a manager understands. */
export type ServiceState = Readonly<
  Partial<Record<"READY" | "RELOADING" | "STOPPING" | "MAINPID" | "STATUS", string | number>>
>;

/** Resolves when the manager has read the state. */
export type NotifyService = (state: ServiceState) => Promise<void>;

const TIMEOUT_MS = 5_000;

/** `env` is the process's own: without NOTIFY_SOCKET in it nobody is told. Rejects with `io` if the program fails. */
export function createServiceNotifier(env: Readonly<Record<string, string | undefined>>): NotifyService {
  if (!env.NOTIFY_SOCKET) return async () => undefined;
  return async (state) => {
    const { execFile } = await import("node:child_process");
    const assignments = Object.entries(state).map(([name, value]) => `${name}=${value}`);
    await new Promise<void>((resolve, reject) => {
      const options = {
        timeout: TIMEOUT_MS,
        env: { PATH: env.PATH, NOTIFY_SOCKET: env.NOTIFY_SOCKET, LC_ALL: "C" },
      };
      execFile("systemd-notify", assignments, options, (error, _, stderr) => {
        if (!error) return resolve();
        const why = stderr.trim() || error.message;
        const message = `systemd cannot be told ${assignments.join(" ")}: ${why}`;
        reject(
          new TrivetError({
            kind: "io",
            op: "service.notify",
            subject: "systemd-notify",
            message,
            cause: error,
          }),
        );
      });
    });
  };
}
