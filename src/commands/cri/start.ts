/**
 * How a proxy comes to its listeners: by itself, with sockets from systemd, as the successor of a process that hands over, or
 * by taking the names of one that serves.
 */
import { setTimeout as pause } from "node:timers/promises";
import { TrivetError } from "../../errors.ts";
import { askAdmin } from "../../host/admin-socket.ts";
import { inheritedSockets } from "../../host/inherited-sockets.ts";
import { isLiveSocket } from "../../host/unix-socket.ts";
import type { Log } from "../../observe/log.ts";
import { type InheritedListener, type Listeners, mainListener } from "./listeners.ts";
import { type ControlStatus, controlSocketPath } from "./reload-control.ts";
import type { Predecessor } from "./reload-predecessor.ts";

/** How this process was started. */
export interface Beginning {
  readonly predecessor: Predecessor | undefined;
  readonly takeOver: boolean;
}

const PORT_TRIES = 100;
const PORT_RETRY_MS = 100;

/** The sockets that this process was started with, under the names that clients use. */
export async function inheritListeners(
  { predecessor }: Beginning,
  wanted: readonly string[],
): Promise<InheritedListener[]> {
  const { env, pid } = process;
  const sockets = await inheritedSockets({ env, pid, fromPredecessor: predecessor !== undefined });
  for (const name of ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]) delete env[name];
  return sockets.map(({ name, fd, boundPath }, index) => {
    const handed = predecessor?.sockets[index];
    if (handed) return { ...handed, fd };
    if (boundPath === undefined) {
      const message = `the inherited socket ${name} has no path any more: is it an abstract one?`;
      throw new TrivetError({ kind: "invalid", op: "sockets.inherit", subject: name, message });
    }
    // Without FileDescriptorName= a socket has the name of its unit.
    const isMain = sockets.length === 1 && !wanted.includes(name);
    return { name: isMain ? mainListener : name, fd, path: boundPath, owner: "systemd" as const };
  });
}

/** The names of a process that serves, for as long as it takes to become theirs. */
export class NameTakeOver {
  readonly #control: string;
  readonly #listeners: Listeners;
  readonly #log: Log;

  constructor(listen: string, { listeners, log }: { listeners: Listeners; log: Log }) {
    this.#control = controlSocketPath(listen);
    this.#listeners = listeners;
    this.#log = log;
  }

  /** Accepts on all listeners, in the place of the process that has served them. False if there was none. */
  async run(): Promise<boolean> {
    const serving = await this.#serving();
    const served = serving?.listeners.map(({ path }) => path) ?? [];
    const names = await this.#listeners.listenAside(served);
    if (names.length === 0) return false;
    try {
      await askAdmin(this.#control, "take-over", { pid: process.pid, names });
      await this.#listeners.adopt();
    } catch (error) {
      await this.#claim(error);
    }
    await askAdmin(this.#control, "taken", null).catch((error: unknown) => {
      this.#log.warn("the process that served was not told to leave", { error: String(error) });
    });
    return true;
  }

  async #serving(): Promise<ControlStatus | undefined> {
    try {
      return (await askAdmin(this.#control, "status", null)) as ControlStatus;
    } catch (error) {
      const main = this.#listeners.open.find(({ name }) => name === mainListener)?.path ?? "";
      if (!(await isLiveSocket(main))) return undefined;
      const why = error instanceof Error ? error.message : String(error);
      const message = `${main} is served by a process that gives nothing away (${why}): stop that one first`;
      throw new TrivetError({ kind: "conflict", op: "cri.take-over", subject: main, message });
    }
  }

  /** It refused, or it ended in the middle of it: then the names are free for anybody, or ours already. */
  async #claim(refusal: unknown): Promise<void> {
    try {
      await this.#listeners.claimAside();
      this.#log.warn("the process that served ended before it gave its names", { error: String(refusal) });
    } catch {
      await this.#listeners.close();
      throw refusal;
    }
  }
}

/** Tries for a while: a process that leaves frees its port in its own time. */
export async function openPatiently(open: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await open();
    } catch (error) {
      if (tries >= PORT_TRIES) throw error;
      await pause(PORT_RETRY_MS);
    }
  }
}
