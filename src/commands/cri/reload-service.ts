/**
 * The serving process's part in reloads: it hands over to a successor that it starts, or gives its names to a newcomer, and
 * then lets its calls end. Ties the order of `src/cri/serve` to sockets, processes and the service manager.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type HandOverEffects, handOver, type Successor } from "../../cri/serve/hand-over.ts";
import { giveNames, type TakeOverEffects, type WantedName } from "../../cri/serve/take-over.ts";
import type { createProxy } from "../../cri/tap/proxy.ts";
import { TrivetError } from "../../errors.ts";
import type { NotifyService, ServiceState } from "../../host/service-notify.ts";
import { yieldName } from "../../host/socket-succession.ts";
import { isLiveSocket } from "../../host/unix-socket.ts";
import type { Log } from "../../observe/log.ts";
import type { Listeners } from "./listeners.ts";
import type { ControlMethods, ControlSocket, ControlStatus, ReloadAnswer } from "./reload-control.ts";
import { startSuccessor } from "./reload-successor.ts";

/** What the process consists of, as far as a reload concerns it. */
export interface ReloadServiceOptions {
  readonly version: string;
  readonly log: Log;
  readonly tap: ReturnType<typeof createProxy>;
  readonly listeners: Listeners;
  readonly notify: NotifyService;
  /** What only one process can have besides the listeners: the port of the metrics. */
  readonly addresses: { open(): Promise<void>; close(): Promise<void> };
  /** Reads the policies again and says in a sentence how it went; throws where the last good ones stay. */
  readonly reloadPolicies: () => Promise<string>;
  /** Those that succeed are counted by the process that serves then. */
  readonly onReloadFailed: () => void;
  readonly handOverMs: number;
  /** Ends the process, with all calls over or out of time. */
  readonly end: () => void;
}

/** A successor has this long to start and read its settings: a small board with a slow disk takes seconds. */
const PREPARE_MS = 30_000;
const TAKE_OVER_MS = 15_000;
/** A newcomer has this long to say that it serves. */
const CONFIRM_MS = 5_000;
const CONFIRM_POLL_MS = 50;
/** Whoever found the old socket by its name just before it changed has connected by then. */
const LINGER_MS = 200;
/** For the last answer on the control socket. */
const FAREWELL_MS = 250;

/** Serving until a reload, then leaving. */
export class ReloadService implements ControlMethods {
  readonly #options: ReloadServiceOptions;
  #state: ControlStatus["state"] = "starting";
  #stopping = false;
  /** From when it is being started. */
  #successor: Promise<Successor> | undefined;
  #confirmed = false;
  /** Set once it is there: the control socket needs this object to answer. */
  control: ControlSocket | undefined;

  constructor(options: ReloadServiceOptions) {
    this.#options = options;
  }

  status(): ControlStatus {
    const { version, tap, listeners } = this.#options;
    const { connections, streams } = tap.stats();
    return { pid: process.pid, version, state: this.#state, listeners: listeners.open, connections, streams };
  }

  /** All is served from now on. */
  started(): void {
    this.#state = "serving";
  }

  reloadPolicies(): Promise<string> {
    return this.#options.reloadPolicies();
  }

  async reload(): Promise<ReloadAnswer> {
    this.#begin();
    const result = await handOver(this.#handOverEffects());
    if (result.outcome === "handed-over") {
      const { pid, version } = result.successor;
      return { from: { pid: process.pid, version: this.#options.version }, to: { pid, version } };
    }
    const goesOn = this.#stopping ? "was told to end" : "goes on serving";
    const message = `the reload failed, and process ${process.pid} ${goesOn}: ${result.reason}`;
    throw new TrivetError({ kind: "unavailable", op: "cri.reload", subject: "successor", message });
  }

  async giveNames({ pid, names }: { readonly pid: number; readonly names: readonly WantedName[] }) {
    this.#begin();
    this.#confirmed = false;
    try {
      for (const name of names) this.#requireOwn(name);
    } catch (error) {
      this.#state = "serving";
      throw error;
    }
    this.#options.log.info("a newcomer takes the sockets over", { newcomer: pid });
    const { settled } = await giveNames(this.#takeOverEffects(pid), names);
    settled.catch((error: unknown) =>
      this.#options.log.error("the take-over went wrong", { error: String(error) }),
    );
  }

  confirm(): void {
    this.#confirmed = true;
  }

  /** The process is told to end: no successor may take over any more. One that has taken over goes on. */
  async abandon(): Promise<void> {
    this.#stopping = true;
    const successor = await this.#successor?.catch(() => undefined);
    await successor?.kill();
  }

  get starting(): boolean {
    return this.#state === "starting";
  }

  get leaving(): boolean {
    return this.#state === "leaving";
  }

  #begin(): void {
    const { log } = this.#options;
    if (this.#state === "serving" && !this.#stopping) {
      this.#state = "reloading";
      log.info("reloading");
      return;
    }
    const messages = {
      starting: "this process does not serve yet",
      serving: "this process was told to end",
      reloading: "a reload is going on already",
      leaving: "this process serves no more: it only ends its calls",
    } as const;
    const message = messages[this.#state];
    throw new TrivetError({ kind: "busy", op: "cri.reload", subject: "trivet cri", message });
  }

  #requireGoingOn(): void {
    if (this.#stopping) throw new Error("this process was told to end");
  }

  #requireOwn({ path }: WantedName): void {
    const found = this.#options.listeners.open.find((listener) => listener.path === path);
    if (found?.owner === "trivet") return;
    const message = found
      ? `${path} belongs to systemd: upgrade with "systemctl reload" of its service`
      : `${path} is not served by this process`;
    throw new TrivetError({ kind: "precondition", op: "cri.take-over", subject: path, message });
  }

  #handOverEffects(): HandOverEffects {
    const { listeners, addresses, log } = this.#options;
    return {
      announce: () => this.#tell({ RELOADING: 1, STATUS: "reloading: starting a successor" }),
      start: async () => {
        this.#requireGoingOn();
        this.#successor = startSuccessor({
          execPath: process.execPath,
          execArgv: process.execArgv,
          argv: process.argv,
          env: process.env,
          listeners: listeners.descriptors,
          prepareMs: PREPARE_MS,
          takeOverMs: TAKE_OVER_MS,
        });
        const successor = await this.#successor;
        // Whoever stops this process ends the successor as well, now that it is known.
        this.#requireGoingOn();
        log.info("successor started");
        return successor;
      },
      yieldAddresses: async () => {
        log.info("successor is prepared");
        await addresses.close();
      },
      resume: (reason) => this.#resume(reason),
      leave: (report) => {
        log.info("handed over", { successor: report.pid, version: report.version });
        this.#leave(report.kept, 0);
      },
    };
  }

  #takeOverEffects(newcomer: number): TakeOverEffects {
    const { addresses, listeners } = this.#options;
    return {
      yieldAddresses: () => addresses.close(),
      give: ({ path, temporary }) => yieldName(path, temporary),
      confirmed: () => this.#waitForConfirmation(newcomer),
      answers: isLiveSocket,
      resume: (reason) => this.#resume(reason),
      leave: (paths) => {
        const given = listeners.open.filter(({ path }) => paths.includes(path)).map(({ name }) => name);
        this.#options.log.info("handed over", { successor: newcomer });
        this.#leave(given, LINGER_MS);
      },
    };
  }

  async #waitForConfirmation(newcomer: number): Promise<boolean> {
    for (let waited = 0; waited < CONFIRM_MS && !this.#confirmed; waited += CONFIRM_POLL_MS) {
      if (!isAlive(newcomer)) break;
      await pause(CONFIRM_POLL_MS);
    }
    return this.#confirmed;
  }

  async #resume(reason: string): Promise<void> {
    const { log, addresses } = this.#options;
    this.#successor = undefined;
    if (this.#stopping) return;
    this.#options.onReloadFailed();
    log.error("the reload failed: this process goes on serving", { reason });
    // Each by itself: the calls come first, and they are served already.
    const attempts = await Promise.allSettled([addresses.open(), this.control?.restore()]);
    for (const attempt of attempts) {
      if (attempt.status === "rejected")
        log.error("not all was taken back", { error: String(attempt.reason) });
    }
    await this.#tell({
      READY: 1,
      MAINPID: process.pid,
      STATUS: `serving; the last reload failed: ${reason}`,
    });
    this.#state = "serving";
  }

  #leave(given: readonly string[], lingerMs: number): void {
    this.#state = "leaving";
    this.#successor = undefined; // what ends this process from now on is none of its business
    const { listeners, tap, log, handOverMs, end } = this.#options;
    const leave = async () => {
      await pause(lingerMs);
      await listeners.close(given);
      const { connections, streams } = tap.stats();
      log.info("letting calls end", { connections, streams, forMs: handOverMs });
      await tap.drain({ timeoutMs: handOverMs });
      await pause(FAREWELL_MS);
      // Its name as well, where the successor has another one.
      await this.control?.stop();
    };
    leave()
      .catch((error: unknown) => log.error("could not leave in order", { error: String(error) }))
      .finally(end);
  }

  async #tell(state: ServiceState): Promise<void> {
    await this.#options
      .notify(state)
      .catch((error: Error) =>
        this.#options.log.warn("the service manager was not told", { error: error.message }),
      );
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
