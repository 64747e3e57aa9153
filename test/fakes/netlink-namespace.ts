/** One network namespace of the fake kernel: its tables, and the kernel's errors when they are changed wrongly. */

import { contains, networkOf, parseAddress, parseCidr } from "../../src/cni/ipam/address.ts";
import { errnoError } from "../../src/host/errno.ts";
import type { BridgePort, Link, LinkAddress, Neighbour, Route, RouteChange } from "../../src/host/netlink.ts";

type Change<Op extends RouteChange["op"]> = Extract<RouteChange, { op: Op }>;

export class VethLink {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  mtu: number;
  up = false;
  kind: string | undefined = "veth";
  peer: { readonly namespace: FakeNamespace; readonly name: string } | undefined;
  masterIndex: number | undefined;
  port: BridgePort | undefined;

  constructor({ index, name, mac, mtu }: Pick<Link, "index" | "name" | "mac" | "mtu">) {
    this.index = index;
    this.name = name;
    this.mac = mac;
    this.mtu = mtu;
  }

  describe(): Link {
    const { index, name, mac, mtu, up, kind, masterIndex, port } = this;
    const peerIndex = this.peer?.namespace.links.get(this.peer.name)?.index;
    return { index, name, mac, mtu, up, kind, peerIndex, masterIndex, port };
  }
}

export class FakeNamespace {
  readonly inode: bigint;
  readonly links = new Map<string, VethLink>();
  readonly addresses: (LinkAddress & { readonly linkIndex: number })[] = [];
  routes: (Route & { readonly linkIndex: number; readonly protocol?: number })[] = [];
  neighbours: (Omit<Change<"neighbour.add">, "op" | "learned"> & { readonly learned: boolean })[] = [];
  /** Told of every link that goes, by whatever end: its sysctls go with it. */
  onLinkGone: ((name: string) => void) | undefined;
  #nextIndex = 1;

  constructor(inode: bigint) {
    this.inode = inode;
    this.addPlainLink("lo", { mac: "00:00:00:00:00:00", mtu: 65_536 });
  }

  takeIndex(): number {
    return this.#nextIndex++;
  }

  /** A link without a peer, as an uplink. */
  addPlainLink(name: string, { mac, mtu }: { mac: string; mtu: number }): VethLink {
    const link = new VethLink({ index: this.takeIndex(), name, mac, mtu });
    link.kind = undefined;
    this.links.set(name, link);
    return link;
  }

  addBridge({ op, name, mac, mtu }: Change<"bridge.add">): void {
    if (this.links.has(name)) throw errnoError("EEXIST", op, name);
    this.addPlainLink(name, { mac, mtu }).kind = "bridge";
  }

  enslave(link: VethLink, bridgeIndex: number): void {
    const bridge = this.#linkAt("veth.add", bridgeIndex);
    if (bridge.kind !== "bridge") throw errnoError("EOPNOTSUPP", "veth.add", link.name);
    link.masterIndex = bridgeIndex;
    link.port = { hairpin: false, isolated: false };
  }

  setPort({ op, name, hairpin, isolated }: Change<"bridge-port.set">): void {
    const link = this.requireLink(op, name);
    if (!link.port) throw errnoError("EINVAL", op, name);
    link.port = { hairpin, isolated };
  }

  neighboursOf(index: number): Neighbour[] {
    return this.neighbours
      .filter(({ linkIndex }) => linkIndex === index)
      .map(({ address, mac, learned }) => ({ address, mac, permanent: !learned }));
  }

  requireLink(op: string, name: string): VethLink {
    const link = this.links.get(name);
    if (!link) throw errnoError("ENODEV", op, name);
    return link;
  }

  /** Deletes both ends, and all that hangs on them. */
  deleteLink(name: string): void {
    const link = this.requireLink("link.delete", name);
    this.#forget(link);
    const far = link.peer?.namespace.links.get(link.peer.name);
    if (far && link.peer) link.peer.namespace.#forget(far);
  }

  #forget(link: VethLink): void {
    this.links.delete(link.name);
    const rest = this.addresses.filter(({ linkIndex }) => linkIndex !== link.index);
    this.addresses.splice(0, this.addresses.length, ...rest);
    this.routes = this.routes.filter(({ linkIndex }) => linkIndex !== link.index);
    this.neighbours = this.neighbours.filter(({ linkIndex }) => linkIndex !== link.index);
    this.onLinkGone?.(link.name);
  }

  #linkAt(op: string, index: number): VethLink {
    const link = [...this.links.values()].find((each) => each.index === index);
    if (!link) throw errnoError("ENODEV", op, `link ${index}`);
    return link;
  }

  addressesOf(index: number): LinkAddress[] {
    return this.addresses
      .filter(({ linkIndex }) => linkIndex === index)
      .map(({ address, prefixLength }) => ({ address, prefixLength }));
  }

  addAddress({ op, linkIndex, address, prefixLength }: Change<"address.add">): void {
    this.#linkAt(op, linkIndex);
    const taken = this.addresses.some((each) => each.linkIndex === linkIndex && each.address === address);
    if (taken) throw errnoError("EEXIST", op, `${address}/${prefixLength}`);
    this.addresses.push({ linkIndex, address, prefixLength });
  }

  deleteRoute({ op, linkIndex, destination, prefixLength, gateway, protocol }: Change<"route.delete">): void {
    const index = this.routes.findIndex(
      (route) =>
        route.destination === destination &&
        route.prefixLength === prefixLength &&
        route.gateway === gateway &&
        route.linkIndex === linkIndex &&
        route.protocol === protocol,
    );
    if (index < 0) throw errnoError("ESRCH", op, `${destination}/${prefixLength} via ${gateway}`);
    this.routes.splice(index, 1);
  }

  addRoute({ op, linkIndex, destination, prefixLength, gateway, protocol }: Change<"route.add">): void {
    const subject = `${destination}/${prefixLength}${gateway === undefined ? "" : ` via ${gateway}`}`;
    if (!this.#linkAt(op, linkIndex).up) throw errnoError("ENETDOWN", op, subject);
    const taken = this.routes.some(
      (route) => route.destination === destination && route.prefixLength === prefixLength,
    );
    if (taken) throw errnoError("EEXIST", op, subject);
    this.routes.push({
      destination,
      prefixLength,
      gateway,
      linkIndex,
      ...(protocol !== undefined && { protocol }),
    });
  }

  addNeighbour({ op, linkIndex, address, mac, learned = false }: Change<"neighbour.add">): void {
    this.#linkAt(op, linkIndex);
    this.neighbours = this.neighbours.filter(
      (each) => each.linkIndex !== linkIndex || each.address !== address,
    );
    this.neighbours.push({ linkIndex, address, mac, learned });
  }

  routeTo(text: string): Route | undefined {
    const address = parseAddress(text);
    const prefixLength = address?.family === 6 ? 128 : 32;
    // What is the host's own goes by the loopback interface.
    if (this.addresses.some((own) => own.address === text)) {
      return { destination: text, prefixLength, gateway: undefined, linkIndex: 1 };
    }
    const matching = this.routes.filter((route) => {
      const cidr = parseCidr(`${route.destination}/${route.prefixLength}`);
      return address !== undefined && cidr !== undefined && contains(networkOf(cidr), address);
    });
    const [best] = matching.sort((left, right) => right.prefixLength - left.prefixLength);
    if (!best) return undefined;
    const { protocol: _protocol, ...route } = best;
    return { ...route, destination: text, prefixLength };
  }

  describe(): string[] {
    return [
      ...[...this.links.values()].map(
        ({ index, name, mac, mtu, up }) => `link ${index} ${name} ${mac} mtu ${mtu} ${up ? "up" : "down"}`,
      ),
      ...this.addresses.map(
        ({ linkIndex, address, prefixLength }) => `address ${address}/${prefixLength} on ${linkIndex}`,
      ),
      ...this.routes.map(
        ({ linkIndex, destination, prefixLength, gateway }) =>
          `route ${destination}/${prefixLength} via ${gateway ?? "link"} on ${linkIndex}`,
      ),
      // Those that are learned the kernel forgets by itself.
      ...this.neighbours
        .filter(({ learned }) => !learned)
        .map(({ linkIndex, address, mac }) => `neighbour ${address} ${mac} on ${linkIndex}`),
    ];
  }
}
