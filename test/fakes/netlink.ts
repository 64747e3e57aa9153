/**
 * Network namespaces, links, addresses, routes and neighbours in memory. `FakeKernel` outlives a process; `FakeProcess` is
 * one process's view of it, with a hook around every effect and a `halt` that is SIGKILL. As in the real kernel a
 * batch goes on after a change that fails. The contract in `test/contract/netlink.ts` runs on this and on the real one.
 */
import { isKind, TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { Netlink, RouteChange, RouteConnection } from "../../src/host/netlink.ts";
import type { Netns, NetnsHandle } from "../../src/host/netns.ts";
import { FakeNamespace, VethLink } from "./netlink-namespace.ts";

/** Called around each effect: `netlink.apply`, `netlink.query`, `netns.open`. */
export type KernelHook = (op: string, subject: string, when: "before" | "after") => void;

export class FakeKernel {
  #nextInode = 4_026_531_840n;
  readonly host = new FakeNamespace(this.#nextInode++);
  /** What is at a path: a namespace, or a plain file that remains of one. */
  readonly #paths = new Map<string, FakeNamespace | "plain-file">();
  #open = 0;

  addNamespace(path: string): FakeNamespace {
    const namespace = new FakeNamespace(this.#nextInode++);
    this.#paths.set(path, namespace);
    return namespace;
  }

  /** The last holder has gone: the links in it vanish with their peers. A mount point may remain as a plain file. */
  removeNamespace(path: string, remains: "nothing" | "plain-file" = "nothing"): void {
    const namespace = this.#paths.get(path);
    if (namespace instanceof FakeNamespace) {
      for (const name of [...namespace.links.keys()]) namespace.deleteLink(name);
    }
    if (remains === "nothing") this.#paths.delete(path);
    else this.#paths.set(path, remains);
  }

  namespaceAt(path: string): FakeNamespace | "plain-file" | undefined {
    return this.#paths.get(path);
  }

  /** Sockets and namespaces that a process has open: what it leaks. */
  get openDescriptors(): number {
    return this.#open;
  }

  opened(): () => void {
    this.#open += 1;
    let open = true;
    return () => {
      if (open) this.#open -= 1;
      open = false;
    };
  }

  /** Everything in every namespace, one line each, for comparing states. */
  describe(): string[] {
    const all = [...this.#paths].flatMap(([path, namespace]) =>
      namespace instanceof FakeNamespace ? namespace.describe().map((line) => `${path}: ${line}`) : [],
    );
    return [...this.host.describe().map((line) => `host: ${line}`), ...all].sort();
  }
}

interface FakeHandle extends NetnsHandle {
  readonly namespace: FakeNamespace;
}

const isFakeHandle = (handle: NetnsHandle): handle is FakeHandle => "namespace" in handle;

export class FakeProcess {
  readonly #kernel: FakeKernel;
  onEffect: KernelHook | undefined;
  #halted = false;

  constructor(kernel: FakeKernel) {
    this.#kernel = kernel;
  }

  /** From now on every effect fails and changes nothing. */
  halt(): void {
    this.#halted = true;
  }

  effect<T>(op: string, subject: string, act: () => T): T {
    this.#refuseWhenHalted(op, subject);
    this.onEffect?.(op, subject, "before");
    this.#refuseWhenHalted(op, subject);
    const result = act();
    this.onEffect?.(op, subject, "after");
    this.#refuseWhenHalted(op, subject);
    return result;
  }

  #refuseWhenHalted(op: string, subject: string): void {
    if (!this.#halted) return;
    throw new TrivetError({ kind: "cancelled", op, subject, message: "the process was killed" });
  }

  readonly netns: Netns = {
    open: (path) => {
      const namespace = this.effect("netns.open", path, () => this.#kernel.namespaceAt(path));
      if (!(namespace instanceof FakeNamespace)) return undefined;
      // Only now: an open that fails leaves no descriptor.
      const handle: FakeHandle = {
        path,
        fd: 3,
        inode: namespace.inode,
        namespace,
        close: this.#kernel.opened(),
      };
      return handle;
    },
    currentInode: () => this.#kernel.host.inode,
    within: (_handle, action) => action(),
  };

  readonly netlink: Netlink = {
    connect: (handle) => {
      if (handle && !isFakeHandle(handle)) throw new Error("this handle is of no fake namespace");
      return this.#connection(handle ? handle.namespace : this.#kernel.host, this.#kernel.opened());
    },
  };

  #connection(namespace: FakeNamespace, close: () => void): RouteConnection {
    const query = async <T>(subject: string, act: () => T) => this.effect("netlink.query", subject, act);
    return {
      apply: async (changes) => {
        if (changes.length === 0) return;
        const ops = changes.map((change) => change.op).join(", ");
        this.effect("netlink.apply", ops, () => applyAll(namespace, changes));
      },
      applyThenLink: async (changes, name) => {
        const ops = changes.map((change) => change.op).join(", ");
        return this.effect("netlink.apply", ops, () => {
          applyAll(namespace, changes);
          return namespace.links.get(name)?.describe();
        });
      },
      link: (name) => query(name, () => namespace.links.get(name)?.describe()),
      linkAt: (index) =>
        query(`link ${index}`, () =>
          [...namespace.links.values()].find((link) => link.index === index)?.describe(),
        ),
      neighbours: (index) => query(`neighbours of ${index}`, () => namespace.neighboursOf(index)),
      addresses: (index) => query(`addresses of ${index}`, () => namespace.addressesOf(index)),
      routes: (index) =>
        query(`routes of ${index ?? "all"}`, () =>
          namespace.routes
            .filter((route) => index === undefined || route.linkIndex === index)
            .map(({ protocol: _protocol, ...route }) => route),
        ),
      routesOf: (wanted) =>
        query(`routes of protocol ${wanted}`, () =>
          namespace.routes
            .filter(({ protocol }) => protocol === wanted)
            .map(({ protocol: _protocol, ...route }) => route),
        ),
      routeTo: (address) => query(`route to ${address}`, () => namespace.routeTo(address)),
      close,
    };
  }
}

function applyAll(namespace: FakeNamespace, changes: readonly RouteChange[]): void {
  let first: unknown;
  for (const change of changes) {
    try {
      apply(namespace, change);
    } catch (error) {
      first ??= error;
    }
  }
  if (first) throw first;
}

function apply(namespace: FakeNamespace, change: RouteChange): void {
  switch (change.op) {
    case "veth.add":
      addPair(namespace, change);
      return;
    case "bridge.add":
      namespace.addBridge(change);
      return;
    case "bridge-port.set":
      namespace.setPort(change);
      return;
    case "link.delete":
      namespace.deleteLink(change.name);
      return;
    case "link.up":
      namespace.requireLink(change.op, change.name).up = true;
      return;
    case "link.no-address-generation":
      // Below IPv6's smallest MTU the kernel takes IPv6 away from the link.
      if (namespace.requireLink(change.op, change.name).mtu < 1_280 && !change.ifSupported) {
        throw errnoError("EAFNOSUPPORT", change.op, change.name);
      }
      return;
    case "address.add":
      unlessThere(change, () => namespace.addAddress(change));
      return;
    case "link.mtu":
      namespace.requireLink(change.op, change.name).mtu = change.mtu;
      return;
    case "route.add":
      unlessThere(change, () => namespace.addRoute(change));
      return;
    case "route.delete":
      namespace.deleteRoute(change);
      return;
    case "neighbour.add":
      namespace.addNeighbour(change);
      return;
  }
}

function addPair(namespace: FakeNamespace, change: Extract<RouteChange, { op: "veth.add" }>): void {
  const { name, mac, mtu, peer } = change;
  if (!isFakeHandle(peer.netns)) throw new Error("this handle is of no fake namespace");
  const other = peer.netns.namespace;
  const subject = `${name} and ${peer.name} in ${peer.netns.path}`;
  if (namespace.links.has(name) || other.links.has(peer.name)) {
    throw errnoError("EEXIST", change.op, subject);
  }
  const near = new VethLink({ index: namespace.takeIndex(), name, mac, mtu });
  const far = new VethLink({ index: other.takeIndex(), name: peer.name, mac: peer.mac, mtu });
  if (change.bridgeIndex !== undefined) namespace.enslave(near, change.bridgeIndex);
  near.peer = { namespace: other, name: far.name };
  far.peer = { namespace, name: near.name };
  namespace.links.set(name, near);
  other.links.set(peer.name, far);
}

function unlessThere(change: { readonly unlessThere?: boolean }, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!change.unlessThere || !isKind(error, "conflict")) throw error;
  }
}
