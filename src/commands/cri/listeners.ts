/**
 * The sockets on which the proxy is reached: the main one and the extra ones, each bound by this process, inherited from
 * systemd or a predecessor, or taken over by path. What is served on them is the business of others.
 */
import { closeSync } from "node:fs";
import { lstat, readFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { CriConfig, CriListenerConfig } from "../../config/cri.ts";
import { createPeerGate } from "../../cri/serve/peer-gate.ts";
import { TrivetError } from "../../errors.ts";
import { descriptorOf } from "../../host/descriptor-of.ts";
import { adoptName } from "../../host/socket-succession.ts";
import {
  bindPrivately,
  listenUnix,
  type PublishedSocket,
  publishSocket,
  restrictAnew,
  type SocketAccess,
} from "../../host/unix-socket.ts";
import type { Log } from "../../observe/log.ts";

/** Who keeps the name: systemd holds its sockets while nobody runs, and makes and removes their files. */
export type ListenerOwner = "systemd" | "trivet";

/** The main socket's name: in LISTEN_FDNAMES, and in hand-overs. */
export const mainListener = "cri";

/** A listener that the settings want. */
export interface ListenerSpec {
  readonly name: string;
  readonly path: string;
  readonly access: SocketAccess;
  /** Undefined lets all users through who can open the socket. */
  readonly uids: readonly number[] | undefined;
}

/** A listening descriptor that this process was started with. */
export interface InheritedListener {
  readonly name: string;
  readonly fd: number;
  /** The name that clients use. */
  readonly path: string;
  readonly owner: ListenerOwner;
}

/** A listener that is served. */
export interface OpenListener {
  readonly name: string;
  readonly path: string;
  readonly owner: ListenerOwner;
}

/** Takes an accepted socket; `listener` is undefined for the main one. */
export type Accept = (client: Socket, listener: string | undefined) => void;

/** One of them, from when its server exists. */
interface Entry {
  readonly spec: ListenerSpec;
  readonly server: Server;
  readonly inherited: InheritedListener | undefined;
  published: PublishedSocket | undefined;
  /** The inode of its socket while it has a temporary name only. */
  aside: number | undefined;
}

/** The directory of an extra listener must be open to the users that it is for. */
const EXTRA_DIRECTORY_MODE = 0o755;

/** The listeners of these settings. */
export async function listenerSpecs({ listen, listeners }: CriConfig): Promise<ListenerSpec[]> {
  const extra = listeners.map(async (listener: CriListenerConfig) => {
    const { name, listen: path, mode, group, uids } = listener;
    const gid = group === undefined ? {} : { gid: await groupId(group) };
    return { name, path, access: { mode, ...gid, directoryMode: EXTRA_DIRECTORY_MODE }, uids };
  });
  return [{ name: mainListener, path: listen, access: {}, uids: undefined }, ...(await Promise.all(extra))];
}

async function groupId(group: string | number): Promise<number> {
  if (typeof group === "number") return group;
  const lines = (await readFile("/etc/group", "utf8").catch(() => "")).split("\n");
  const line = lines.find((candidate) => candidate.startsWith(`${group}:`));
  if (line !== undefined) return Number(line.split(":")[2]);
  const message = `cri.listeners: there is no group "${group}" in /etc/group: make it, or give a number`;
  throw new TrivetError({ kind: "invalid", op: "listener.group", subject: group, message });
}

/** All listeners of one process. */
export class Listeners {
  readonly #entries: readonly Entry[];
  readonly #unwanted: readonly InheritedListener[];
  readonly #log: Log;

  private constructor(
    entries: readonly Entry[],
    { unwanted, log }: { unwanted: readonly InheritedListener[]; log: Log },
  ) {
    this.#entries = entries;
    this.#unwanted = unwanted;
    this.#log = log;
  }

  /** Prepares the servers; nothing is accepted before `listen`. */
  static async create(options: {
    readonly specs: readonly ListenerSpec[];
    readonly inherited: readonly InheritedListener[];
    readonly accept: Accept;
    readonly log: Log;
  }): Promise<Listeners> {
    const { specs, inherited, accept, log } = options;
    const entries: Entry[] = [];
    for (const spec of specs) {
      const found = inherited.find((candidate) => isFor(spec, candidate));
      if (found && found.path !== spec.path) {
        log.warn("systemd listens at another path than the settings say", {
          listener: spec.name,
          systemd: found.path,
          settings: spec.path,
        });
      }
      const server = createServer({ allowHalfOpen: true }, await acceptOf(spec, accept, log));
      entries.push({ spec, server, inherited: found, published: undefined, aside: undefined });
    }
    const unwanted = inherited.filter(({ fd }) => !entries.some((entry) => entry.inherited?.fd === fd));
    return new Listeners(entries, { unwanted, log });
  }

  get open(): OpenListener[] {
    return this.#entries.map(({ spec, inherited }) => ({
      name: spec.name,
      path: inherited?.path ?? spec.path,
      owner: inherited?.owner ?? "trivet",
    }));
  }

  /** With the descriptors, for a successor. */
  get descriptors(): (OpenListener & { readonly fd: number })[] {
    return this.open.map((listener, index) => {
      const server = this.#entries[index]?.server;
      if (!server) throw new RangeError(`no server for ${listener.name}`);
      return { ...listener, fd: descriptorOf(server) };
    });
  }

  /** The inherited ones that go on, by the names that they had there. */
  get kept(): string[] {
    return this.#entries.flatMap(({ inherited }) => inherited?.name ?? []);
  }

  /**
   * Accepts on all of them. What can fail comes first: a call that was accepted on an inherited socket would be lost with this
   * process, while the one that served before would have answered it.
   */
  async listen(): Promise<void> {
    for (const unwanted of this.#unwanted) this.#leaveAlone(unwanted);
    for (const entry of this.#entries) {
      if (entry.inherited) await adoptInherited(entry, entry.inherited);
      else entry.published = await listenUnix(entry.server, entry.spec.path, entry.spec.access);
    }
    for (const { server, inherited } of this.#entries) if (inherited) await listenOn(server, inherited.fd);
  }

  #leaveAlone({ name, fd, owner }: InheritedListener): void {
    if (owner === "systemd") {
      this.#log.warn("an inherited socket has no listener in the settings: nobody serves it", { name, fd });
      return;
    }
    // Whoever connects yet is told, instead of waiting for ever. Its name is for the predecessor to take away.
    closeSync(fd);
  }

  /**
   * Accepts under temporary names for those paths that `served` has, until `adopt`, and under their own for the others.
   * Gives the names for whoever serves them now.
   */
  async listenAside(served: readonly string[]): Promise<{ path: string; temporary: string }[]> {
    const names: { path: string; temporary: string }[] = [];
    for (const entry of this.#entries) {
      const { path, access } = entry.spec;
      if (!served.includes(path)) {
        entry.published = await listenUnix(entry.server, path, access);
        continue;
      }
      const temporary = await bindPrivately(entry.server, path, access);
      entry.aside = (await lstat(temporary)).ino;
      names.push({ path, temporary });
    }
    return names;
  }

  /** Gives those that listen under temporary names their own, unless they have them already or somebody serves there. */
  async claimAside(): Promise<void> {
    for (const entry of this.#entries) {
      if (entry.published) continue;
      const { path, access } = entry.spec;
      const present = await lstat(path).catch(() => undefined);
      entry.published =
        present?.ino === entry.aside ? await adoptName(path) : await publishSocket(path, access);
    }
  }

  /** The names that were given to this process are its own from now on. */
  async adopt(): Promise<void> {
    for (const entry of this.#entries) entry.published ??= await adoptName(entry.spec.path);
  }

  /** Ends before it has served: the names that were inherited are still those of the predecessor, or of systemd. */
  async giveBack(): Promise<void> {
    await this.close(this.#entries.filter(({ inherited }) => inherited).map(({ spec }) => spec.name));
  }

  /** Stops accepting. The names of `given` are another's; the others are taken away. */
  async close(given: readonly string[] = []): Promise<void> {
    for (const { spec, server, published } of this.#entries) {
      if (!given.includes(spec.name)) await published?.withdraw();
      server.close();
    }
  }
}

/** Systemd's sockets are known by their name, those of a predecessor by their path, whatever they were called there. */
function isFor(spec: ListenerSpec, { name, path, owner }: InheritedListener): boolean {
  return owner === "systemd" ? name === spec.name : path === spec.path;
}

async function acceptOf(
  { name, uids }: ListenerSpec,
  accept: Accept,
  log: Log,
): Promise<(client: Socket) => void> {
  if (name === mainListener) return (client) => accept(client, undefined);
  if (uids === undefined) return (client) => accept(client, name);
  // Native code, which nothing else in this process needs.
  const { createPeerCredentials } = await import("../../host/peer-credentials.ts");
  const nowMs = () => performance.now();
  const mayStay = createPeerGate({ listener: name, uids, peerOf: createPeerCredentials(), log, nowMs });
  return (client) => {
    if (mayStay(client)) accept(client, name);
    else client.destroy();
  };
}

/** The settings may say something else about who may open it than they did. */
async function adoptInherited(entry: Entry, { path, owner }: InheritedListener): Promise<void> {
  if (owner === "systemd") return;
  await restrictAnew(path, entry.spec.access);
  entry.published = await adoptName(path);
}

async function listenOn(server: Server, fd: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
