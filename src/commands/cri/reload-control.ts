/**
 * The control socket of a proxy, beside its main socket: what `trivet cri reload` and a newcomer ask of it. Only root can
 * open it.
 */
import { lstat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { WantedName } from "../../cri/serve/take-over.ts";
import { TrivetError } from "../../errors.ts";
import { serveAdmin } from "../../host/admin-socket.ts";
import { listenInPlaceOf } from "../../host/socket-succession.ts";
import { listenUnix } from "../../host/unix-socket.ts";

/** `/run/trivet/cri.sock` gives `/run/trivet/cri.ctl`: never longer than a main socket with the usual ending. */
export function controlSocketPath(listen: string): string {
  return join(dirname(listen), `${basename(listen).replace(/\.sock$/, "")}.ctl`);
}

/** Who serves. */
export interface ServingProcess {
  readonly pid: number;
  readonly version: string;
}

export interface ReloadAnswer {
  readonly from: ServingProcess;
  readonly to: ServingProcess;
}

/** A listener as the status has it. */
export interface ServedListener {
  readonly name: string;
  readonly path: string;
  /** `systemd` keeps its socket: nobody else may move its name. */
  readonly owner: "systemd" | "trivet";
}

export interface ControlStatus extends ServingProcess {
  readonly state: "starting" | "serving" | "reloading" | "leaving";
  readonly listeners: readonly ServedListener[];
  readonly connections: number;
  readonly streams: number;
}

/** What can be asked. */
export interface ControlMethods {
  status(): ControlStatus;
  reload(): Promise<ReloadAnswer>;
  /** A sentence on how it went. */
  reloadPolicies(): Promise<string>;
  /** Gives these names to a newcomer; resolves when they are its. */
  giveNames(newcomer: { readonly pid: number; readonly names: readonly WantedName[] }): Promise<void>;
  /** The newcomer serves. */
  confirm(): void;
}

/** The socket, which changes hands with the main one. */
export interface ControlSocket {
  /** Answers there again, after another process had the name. */
  restore(): Promise<void>;
  stop(): Promise<void>;
}

/** `inPlace` takes the name from a process that serves it. */
export async function serveControl(
  path: string,
  methods: ControlMethods,
  { inPlace }: { readonly inPlace: boolean },
): Promise<ControlSocket> {
  const answers = {
    status: async () => methods.status(),
    reload: () => methods.reload(),
    policies: () => methods.reloadPolicies(),
    "take-over": async (argument: unknown) => {
      await methods.giveNames(parseNewcomer(argument));
    },
    taken: async () => methods.confirm(),
  };
  const replacing = (server: Parameters<typeof listenUnix>[0], at: string) => listenInPlaceOf(server, at);
  let server = await serveAdmin(path, answers, inPlace ? replacing : listenUnix);
  let own = await inodeOf(path);
  return {
    async restore() {
      if ((await inodeOf(path)) === own) return; // nobody got so far as to take it
      server.retire();
      server = await serveAdmin(path, answers, replacing);
      own = await inodeOf(path);
    },
    stop: () => server.stop(),
  };
}

const inodeOf = (path: string): Promise<number | undefined> =>
  lstat(path).then(
    ({ ino }) => ino,
    () => undefined,
  );

function parseNewcomer(argument: unknown): { pid: number; names: WantedName[] } {
  const { pid, names } = (argument ?? {}) as { pid?: unknown; names?: unknown };
  const isName = (name: unknown): name is WantedName => {
    const { path, temporary } = (name ?? {}) as Partial<Record<keyof WantedName, unknown>>;
    return typeof path === "string" && typeof temporary === "string";
  };
  if (typeof pid === "number" && Array.isArray(names) && names.every(isName)) return { pid, names };
  throw new TrivetError({
    kind: "invalid",
    op: "cri.take-over",
    subject: "request",
    message: "a take-over needs the pid of the newcomer and the names that it wants",
  });
}
