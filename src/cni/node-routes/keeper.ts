/**
 * Keeps the host's routes to the pods of other nodes as they should be: when nodes change, and every few seconds, since something
 * may take them away. Only routes of our own protocol number are looked at and touched; they stay when the agent ends.
 */
import { asTrivetError, isKind } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Netlink, RouteConnection } from "../../host/netlink.ts";
import type { Log } from "../../observe/log.ts";
import { formatAddress, formatNetwork } from "../ipam/address.ts";
import { type PeerRoute, type RefusedPeer, withoutOverlaps } from "./peers.ts";
import { planRoutes, ROUTE_PROTOCOL, type WantedRoute } from "./plan.ts";

/** How it stands after a pass, for metrics. */
export interface NodeRoutesState {
  readonly installed: number;
  /** Next hops that are not on a link of this host: a router must know the way. */
  readonly skipped: number;
  /** Destinations for which somebody else has a route. */
  readonly conflicts: number;
  /** Networks that cannot have a route at all. */
  readonly refused: number;
}

/** Takes how it stands. Must not throw. */
export interface NodeRoutesObserver {
  pass(state: NodeRoutesState): void;
  /** Routes that were ours and had been taken away by somebody. */
  repaired(count: number): void;
}

interface NodeRoutesOptions {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
  /** Routes of the configuration: they go over what nodes say. */
  readonly staticRoutes: readonly PeerRoute[];
  /** Whether nodes will be told: until then no route of ours is removed, since its node may still be there. */
  readonly awaitsNodes: boolean;
  readonly observer?: NodeRoutesObserver | undefined;
}

/** Runs until it is stopped. */
export interface NodeRoutes {
  /** What all other nodes come to; replaces what was said before. */
  setPeers(routes: readonly PeerRoute[], refused: readonly RefusedPeer[]): void;
  /** One pass, at the end of those under way: for those who wait for it. Never rejects. */
  pass(): Promise<void>;
  stop(): Promise<void>;
}

const PASS_MS = 10_000;
/** A route to a next hop is looked up anew after so many passes; until then what was found holds. */
const LOOKUP_PASSES = 6;
/** Lookups in a row before other work gets its turn: some 20 us each. */
const LOOKUPS_AT_ONCE = 200;
const SHOWN_NETWORKS = 3;
/** The loopback interface, to which every address of the host itself leads. */
const LOOPBACK_INDEX = 1;

/** Begins with a pass at once. */
export function keepNodeRoutes(options: NodeRoutesOptions): NodeRoutes {
  const keeper = new Keeper(options);
  const stopping = new AbortController();
  let turn = Promise.resolve();
  const pass = () => {
    turn = turn.then(() => keeper.pass());
    return turn;
  };
  const run = async () => {
    while (!stopping.signal.aborted) {
      await pass();
      await options.clock.sleep(PASS_MS, stopping.signal).catch(() => undefined);
    }
  };
  const running = run();
  let waiting = false;
  return {
    setPeers(routes, refused) {
      keeper.setPeers(routes, refused);
      // Hundreds of changes at once are one pass.
      if (waiting || stopping.signal.aborted) return;
      waiting = true;
      turn = turn.then(() => {
        waiting = false;
        return keeper.pass();
      });
    },
    pass,
    async stop() {
      stopping.abort();
      await Promise.all([running, turn]);
    },
  };
}

type Hop = { readonly linkIndex: number } | { readonly skipped: string };

class Keeper {
  readonly #options: NodeRoutesOptions;
  #peers: readonly PeerRoute[] = [];
  #refused: readonly RefusedPeer[] = [];
  #known: boolean;
  readonly #hops = new Map<string, Hop>();
  /** Whatever was told, so that it is told once as long as it lasts. */
  #told = new Set<string>();
  #passes = 0;
  /** What the pass before left in place. */
  #installed = new Set<string>();

  constructor(options: NodeRoutesOptions) {
    this.#options = options;
    this.#known = !options.awaitsNodes;
  }

  setPeers(routes: readonly PeerRoute[], refused: readonly RefusedPeer[]): void {
    this.#peers = routes;
    this.#refused = refused;
    this.#known = true;
  }

  async pass(): Promise<void> {
    const { netlink, log } = this.#options;
    let host: RouteConnection | undefined;
    try {
      host = netlink.connect();
      await this.#reconcile(host);
    } catch (error) {
      // The next pass tries again.
      log.warn("the routes to other nodes could not be kept", {
        error: asTrivetError(error, "node-routes.pass", "host").message,
      });
    } finally {
      host?.close();
    }
  }

  async #reconcile(host: RouteConnection): Promise<void> {
    const { kept, dropped } = withoutOverlaps([...this.#options.staticRoutes, ...this.#peers]);
    const refused = [...this.#refused, ...dropped];
    const notes = new Map<string, string>();
    for (const { subject, why } of refused) notes.set(subject, `no route to ${subject}: ${why}`);
    const { wanted, skipped } = await this.#resolve(host, kept);
    for (const [why, networks] of skipped) notes.set(why, `no route to ${summary(networks)}: ${why}`);
    const present = await host.routesOf(ROUTE_PROTOCOL);
    const plan = planRoutes(wanted, present);
    if (this.#known) for (const change of plan.remove) await this.#remove(host, change);
    const conflicts = new Map<string, string>();
    for (const change of plan.add) {
      const conflict = await this.#add(host, change);
      if (conflict) conflicts.set(nameOf(change), conflict);
    }
    for (const [route, note] of conflicts) notes.set(`conflict ${route}`, note);
    const back = plan.add.map(nameOf).filter((name) => this.#installed.has(name) && !conflicts.has(name));
    const repaired = back.length;
    this.#tell(notes);
    this.#report({
      wanted,
      repaired,
      skipped: [...skipped.values()].flat().length,
      conflicts,
      refused: refused.length,
    });
  }

  #report(pass: {
    wanted: readonly WantedRoute[];
    repaired: number;
    skipped: number;
    conflicts: ReadonlyMap<string, string>;
    refused: number;
  }): void {
    const { log, observer } = this.#options;
    const { wanted, repaired, skipped, conflicts, refused } = pass;
    this.#installed = new Set(wanted.map(nameOf).filter((name) => !conflicts.has(name)));
    if (repaired > 0) {
      log.warn("routes to other nodes had been taken away, and are there again", { routes: repaired });
      observer?.repaired(repaired);
    }
    const installed = this.#installed.size;
    observer?.pass({ installed, skipped, conflicts: conflicts.size, refused });
  }

  /** Which next hops are on a link of ours, and on which one. */
  async #resolve(host: RouteConnection, routes: readonly PeerRoute[]) {
    const wanted: WantedRoute[] = [];
    const skipped = new Map<string, string[]>();
    if (this.#passes % LOOKUP_PASSES === 0) this.#hops.clear();
    this.#passes += 1;
    let lookups = 0;
    for (const { destination, nextHop, from } of routes) {
      const gateway = formatAddress(nextHop);
      let hop = this.#hops.get(gateway);
      if (!hop) {
        lookups += 1;
        if (lookups % LOOKUPS_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
        hop = await lookUp(host, gateway);
        this.#hops.set(gateway, hop);
      }
      const { base, prefixLength } = destination;
      if ("skipped" in hop) {
        const network = `${formatNetwork(destination)} of ${from} via ${gateway}`;
        const others = skipped.get(hop.skipped);
        if (others) others.push(network);
        else skipped.set(hop.skipped, [network]);
      } else {
        wanted.push({ destination: formatAddress(base), prefixLength, gateway, linkIndex: hop.linkIndex });
      }
    }
    return { wanted, skipped };
  }

  async #add(host: RouteConnection, change: Parameters<RouteConnection["apply"]>[0][number] & WantedRoute) {
    try {
      await host.apply([change]);
      this.#options.log.info("route to another node added", { route: nameOf(change) });
      return undefined;
    } catch (error) {
      if (isKind(error, "conflict")) {
        return `no route ${nameOf(change)}: there is one to the same network that is not ours, and stays`;
      }
      // The link may have gone down just now, or be another one by now.
      this.#hops.delete(change.gateway);
      return `no route ${nameOf(change)}: ${asTrivetError(error, "route.add", "").message}`;
    }
  }

  async #remove(
    host: RouteConnection,
    change: Parameters<RouteConnection["apply"]>[0][number] & WantedRoute,
  ) {
    try {
      await host.apply([change]);
      this.#options.log.info("route to another node removed", { route: nameOf(change) });
    } catch (error) {
      if (!isKind(error, "not-found")) throw error;
    }
  }

  /** What is new, and once that something has ended. */
  #tell(notes: ReadonlyMap<string, string>): void {
    const { log } = this.#options;
    for (const [what, note] of notes) if (!this.#told.has(what)) log.warn(note);
    this.#told = new Set(notes.keys());
  }
}

function nameOf({ destination, prefixLength, gateway }: WantedRoute): string {
  return `${destination}/${prefixLength} via ${gateway}`;
}

/** Thousands of nodes behind one router are one line in the log. */
function summary(networks: readonly string[]): string {
  const rest = networks.length - SHOWN_NETWORKS;
  return `${networks.slice(0, SHOWN_NETWORKS).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

async function lookUp(host: RouteConnection, address: string): Promise<Hop> {
  const route = await host.routeTo(address);
  if (route?.linkIndex === undefined) return { skipped: "the next hop cannot be reached from this host" };
  if (route.linkIndex === LOOPBACK_INDEX) {
    return { skipped: "the next hop is an address of this host itself: two nodes say that they have it" };
  }
  if (route.gateway !== undefined) {
    return {
      skipped: `the next hop is behind the router ${route.gateway}, which must know the way to these pods`,
    };
  }
  return { linkIndex: route.linkIndex };
}
