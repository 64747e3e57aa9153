/**
 * Links, addresses, routes and neighbours through rtnetlink(7), as an effect. A connection belongs to the network
 * namespace in which it was opened, wherever this process is later. Decides nothing: no retries, no defaults.
 */
import type { NetlinkMessage } from "./netlink/codec.ts";
import {
  ackError,
  NETLINK_ROUTE,
  type NetlinkOutcome,
  openNetlink,
  type SocketSyscalls,
} from "./netlink/connection.ts";
import { createDeletions } from "./netlink/deletions.ts";
import * as queries from "./netlink/queries.ts";
import { encodeChange } from "./netlink/requests.ts";
import type { Netns, NetnsHandle } from "./netns.ts";

/** One change. Addresses are texts without a prefix length, MACs are written `02:00:5e:00:00:01`. */
export type RouteChange =
  /** Both ends of a veth pair in one request, the peer at once in its namespace and under its final name. */
  | {
      readonly op: "veth.add";
      readonly name: string;
      readonly mac: string;
      readonly mtu: number;
      readonly peer: { readonly name: string; readonly mac: string; readonly netns: NetnsHandle };
      /** The bridge that the near end becomes a port of, at once. */
      readonly bridgeIndex?: number | undefined;
    }
  /** A bridge without spanning tree. A MAC that is given stays: the bridge does not take one of its ports. */
  | { readonly op: "bridge.add"; readonly name: string; readonly mac: string; readonly mtu: number }
  /** Of a link that is a port of a bridge. */
  | ({ readonly op: "bridge-port.set"; readonly name: string } & BridgePort)
  | { readonly op: "link.delete"; readonly name: string }
  | { readonly op: "link.up"; readonly name: string }
  /** No link-local IPv6 address of the kernel's making. */
  | {
      readonly op: "link.no-address-generation";
      readonly name: string;
      /** A kernel or a link without IPv6, where nothing would be generated either, is no failure. */
      readonly ifSupported?: boolean;
    }
  /** Usable at once: without duplicate address detection. */
  | {
      readonly op: "address.add";
      readonly linkIndex: number;
      readonly address: string;
      readonly prefixLength: number;
      /** One that is there already is no failure. */
      readonly unlessThere?: boolean;
    }
  | {
      readonly op: "route.add";
      readonly linkIndex: number;
      readonly destination: string;
      readonly prefixLength: number;
      /** Without it the destination is on the link itself. With it the gateway is taken to be on the link. */
      readonly gateway?: string;
      /** Whose route it is (rtm_protocol, 5 to 255); that of an administrator without it. */
      readonly protocol?: number;
      /** One to that destination that is there already is no failure, wherever it leads. */
      readonly unlessThere?: boolean;
    }
  /** Only a route of this protocol, through this gateway and link; `not-found` for any other. */
  | {
      readonly op: "route.delete";
      readonly linkIndex: number;
      readonly destination: string;
      readonly prefixLength: number;
      readonly gateway: string;
      readonly protocol: number;
    }
  | { readonly op: "link.mtu"; readonly name: string; readonly mtu: number }
  /** A permanent entry, so that nobody needs to be asked for the MAC. Replaces what is there. */
  | {
      readonly op: "neighbour.add";
      readonly linkIndex: number;
      readonly address: string;
      readonly mac: string;
      /** As if it had been learned: the kernel confirms it at its first use, and forgets it by itself. */
      readonly learned?: boolean;
    };

/** How a bridge treats one of its ports. */
export interface BridgePort {
  /** What comes from the port may leave by it. */
  readonly hairpin: boolean;
  /** Isolated ports do not reach one another. */
  readonly isolated: boolean;
}

/** An interface as the kernel describes it. The MAC is in lower case. */
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** The driver, such as `veth`; undefined for hardware. */
  readonly kind: string | undefined;
  /** Of a veth, the index of its other end in that one's namespace. */
  readonly peerIndex: number | undefined;
  /** The bridge or other link that this one is a part of. */
  readonly masterIndex: number | undefined;
  /** Where the master is a bridge. */
  readonly port: BridgePort | undefined;
}

/** An entry of the ARP or IPv6 neighbour table. */
export interface Neighbour {
  readonly address: string;
  /** In lower case; undefined where it is not known. */
  readonly mac: string | undefined;
  readonly permanent: boolean;
}

/** An address of an interface, without its scope and lifetime. */
export interface LinkAddress {
  readonly address: string;
  readonly prefixLength: number;
}

/** A unicast route of the main table. */
export interface Route {
  readonly destination: string;
  readonly prefixLength: number;
  readonly gateway: string | undefined;
  readonly linkIndex: number | undefined;
}

/** A rtnetlink socket. Not for use after `close`. */
export interface RouteConnection {
  /**
   * Sends all changes in one go. The kernel works them off in order and goes on after one that fails, so a change
   * that needs the success of another belongs into a later call. Throws the first failure: errno and kernel's text.
   */
  apply(changes: readonly RouteChange[]): Promise<void>;
  /** `apply`, and then `link`, in one go. */
  applyThenLink(changes: readonly RouteChange[], name: string): Promise<Link | undefined>;
  link(name: string): Promise<Link | undefined>;
  linkAt(index: number): Promise<Link | undefined>;
  addresses(linkIndex: number): Promise<LinkAddress[]>;
  /** The neighbours on one link, of both families. */
  neighbours(linkIndex: number): Promise<Neighbour[]>;
  /** The routes of the main table, all or those through one link. Dumps the table: only for small ones. */
  routes(linkIndex?: number): Promise<Route[]>;
  /** The unicast routes of the main table that this protocol made. The kernel leaves the others out. */
  routesOf(protocol: number): Promise<Route[]>;
  /** The route that a packet to this address would take; undefined where there is none. */
  routeTo(address: string): Promise<Route | undefined>;
  close(): void;
}

/** Opens connections: each costs one descriptor until it is closed. */
export interface Netlink {
  /** In the process's own namespace, or in `netns`. */
  connect(netns?: NetnsHandle): RouteConnection;
}

/** `namespaces` is needed to open a socket inside another namespace. */
export function createNetlink(syscalls: SocketSyscalls, namespaces: Pick<Netns, "within">): Netlink {
  const deleteLink = createDeletions();
  return {
    connect(netns) {
      const open = () => openNetlink(syscalls, NETLINK_ROUTE);
      const connection = netns ? namespaces.within(netns, open) : open();
      return {
        async apply(changes) {
          if (changes.length === 0) return;
          const [first] = changes;
          if (first?.op === "link.delete" && changes.length === 1) {
            return deleteLink({ connection, namespace: String(netns?.inode), name: first.name });
          }
          const messages = changes.map(encodeChange);
          // Deleting a device takes the kernel some 20 ms: not on the event loop.
          const slow = changes.some((change) => change.op === "link.delete");
          throwFirst(changes, messages, await connection.exchange(messages, { slow }));
        },
        async applyThenLink(changes, name) {
          const messages = changes.map(encodeChange);
          const outcomes = await connection.exchange([...messages, queries.linkRequest({ name })]);
          throwFirst(changes, messages, outcomes);
          return queries.readLink(queries.linkRequest({ name }), outcomes.at(-1));
        },
        link: (name) => queries.findLink(connection, { name }),
        linkAt: (index) => queries.findLink(connection, { index }),
        neighbours: (linkIndex) => queries.listNeighbours(connection, linkIndex),
        addresses: (linkIndex) => queries.listAddresses(connection, linkIndex),
        routes: (linkIndex) => queries.listRoutes(connection, linkIndex),
        routesOf: (protocol) => queries.listRoutesOf(connection, protocol),
        routeTo: (address) => queries.findRoute(connection, address),
        close: () => connection.close(),
      };
    },
  };
}

const EEXIST = 17;

/** Throws the first failure among the changes, but for what was there already and may be. */
function throwFirst(
  changes: readonly RouteChange[],
  messages: readonly NetlinkMessage[],
  outcomes: readonly NetlinkOutcome[],
): void {
  for (const [index, change] of changes.entries()) {
    const ack = outcomes[index]?.ack;
    if (!ack || ack.errno === 0) continue;
    const error = ackError(messages[index], ack);
    if ("unlessThere" in change && change.unlessThere && ack.errno === EEXIST) continue;
    if ("ifSupported" in change && change.ifSupported && error.kind === "unsupported") continue;
    throw error;
  }
}
