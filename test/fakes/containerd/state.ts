/**
 * What the fake containerd knows: sandboxes, containers, images and the names that are taken. Plain data; it may be
 * handed to a second server, as a real containerd finds its containers again after a restart.
 */
import { randomBytes } from "node:crypto";
import type { ContainerConfig, ContainerState, Image, PodSandboxConfig, SandboxState } from "./messages.ts";
import { notFound, unknown } from "./status.ts";

export interface SandboxRecord {
  readonly id: string;
  readonly name: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  readonly createdAtNs: bigint;
  /** A path as containerd makes it; the fake creates no namespace there. Empty for the host's network. */
  readonly netnsPath: string;
  state: SandboxState;
  /** What CNI gave; the first one is the pod's address. */
  ips: readonly string[];
  /** Whether CNI's ADD was called and its DEL has not succeeded yet. */
  attached: boolean;
}

export interface ContainerRecord {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly imageId: string;
  readonly imageRef: string;
  /** Empty where the sandbox has no log directory or the container no log path. */
  readonly logPath: string;
  readonly createdAtNs: bigint;
  state: ContainerState;
  startedAtNs: bigint;
  finishedAtNs: bigint;
  exitCode: number;
  reason: string;
  message: string;
  resources: object | null;
  /** Tells the run that it should end; present once started. */
  stop: AbortController | undefined;
  /** Ends the run at once, whatever it does; present once started. */
  kill: (() => void) | undefined;
  /** Resolves when the container has exited; present once started. */
  exited: Promise<void> | undefined;
}

export interface State {
  readonly sandboxes: Map<string, SandboxRecord>;
  readonly containers: Map<string, ContainerRecord>;
  readonly images: Map<string, Image>;
  /** Reserved name -> id, for sandboxes and containers. */
  readonly names: Map<string, string>;
}

export function createState(): State {
  return { sandboxes: new Map(), containers: new Map(), images: new Map(), names: new Map() };
}

const ID_BYTES = 32;

/** An id as containerd makes it: 64 hexadecimal digits. */
export function newId(): string {
  return randomBytes(ID_BYTES).toString("hex");
}

const startedAtNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

/** Wall-clock nanoseconds that never stand still or go back, so that an order of events can be read from them. */
export function nowNs(): bigint {
  return startedAtNs + process.hrtime.bigint();
}

/** Takes a name for `id`. A name stays taken from the first attempt until the object is removed. */
export function reserveName(state: State, kind: "sandbox" | "container", name: string, id: string): void {
  const holder = state.names.get(name);
  if (holder !== undefined && holder !== id) {
    throw unknown(
      `failed to reserve ${kind} name ${JSON.stringify(name)}: name ${JSON.stringify(name)} is reserved for ${JSON.stringify(holder)}`,
    );
  }
  state.names.set(name, id);
}

/** By full id or by a prefix that only one object has, as containerd's index does it. */
function lookUp<T>(records: ReadonlyMap<string, T>, id: string): T | undefined {
  const exact = records.get(id);
  if (exact !== undefined || id === "") return exact;
  const matches = [...records].filter(([key]) => key.startsWith(id));
  return matches.length === 1 ? matches[0]?.[1] : undefined;
}

export function findSandbox(state: State, id: string): SandboxRecord | undefined {
  return lookUp(state.sandboxes, id);
}

export function findContainer(state: State, id: string): ContainerRecord | undefined {
  return lookUp(state.containers, id);
}

/** The container, or the NOT_FOUND that most of containerd's methods answer. */
export function requireContainer(state: State, id: string): ContainerRecord {
  const found = findContainer(state, id);
  if (!found) throw notFound(`an error occurred when try to find container ${JSON.stringify(id)}`);
  return found;
}
