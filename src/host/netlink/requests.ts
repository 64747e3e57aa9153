/** rtnetlink(7) requests as bytes. Numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h and neighbour.h. */
import ipaddr from "ipaddr.js";
import type { BridgePort, RouteChange } from "../netlink.ts";
import {
  AttributeWriter,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from "./codec.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_SETLINK = 19;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_NEWNEIGH = 28;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const IFLA_BR_STP_STATE = 5;
/** Of a bridge's port: hairpin mode, and isolation. */
export const IFLA_BRPORT_MODE = 4;
export const IFLA_BRPORT_ISOLATED = 33;
const IFLA_MASTER = 10;
const VETH_INFO_PEER = 1;
const IFLA_AF_SPEC = 26;
const IFLA_GROUP = 27;
const IFLA_NET_NS_FD = 28;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const ADDR_GEN_MODE_NONE = 1;
const IFF_UP = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_F_NODAD = 2;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const RTNH_F_ONLINK = 4;

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_STALE = 0x04;
/** Of a neighbour entry. */
export const NUD_PERMANENT = 0x80;

/** Address families (socket(2)). */
export const AF_INET = 2;
export const AF_INET6 = 10;

type Change<Op extends RouteChange["op"]> = Extract<RouteChange, { readonly op: Op }>;

/** An address of either family as the kernel's bytes. */
export function addressBytes(address: string): { family: number; bytes: Uint8Array } {
  const parsed = ipaddr.parse(address);
  return {
    family: parsed.kind() === "ipv4" ? AF_INET : AF_INET6,
    bytes: Uint8Array.from(parsed.toByteArray()),
  };
}

function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
}

/** struct ifinfomsg. */
export function linkHeader({ family = 0, index = 0, flags = 0 }): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt8(family, 0);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(flags, 12); // ifi_change: only the flags that are set here
  return header;
}

/** The request for a change, to be acknowledged. */
export function encodeChange(change: RouteChange): NetlinkMessage {
  switch (change.op) {
    case "veth.add":
      return encodeVeth(change);
    case "bridge.add":
      return encodeBridge(change);
    case "bridge-port.set":
      return linkMessage({ change, type: RTM_NEWLINK, attributes: (writer) => portFlags(writer, change) });
    case "link.delete":
      return linkMessage({ change, type: RTM_DELLINK });
    case "link.up":
      return linkMessage({ change, type: RTM_NEWLINK, flags: IFF_UP });
    case "link.no-address-generation":
      return linkMessage({ change, type: RTM_NEWLINK, attributes: noAddressGeneration });
    case "address.add":
      return encodeAddress(change);
    case "link.mtu":
      return linkMessage({ change, type: RTM_NEWLINK, attributes: (w) => w.u32(IFLA_MTU, change.mtu) });
    case "route.add":
    case "route.delete":
      return encodeRoute(change);
    case "neighbour.add":
      return encodeNeighbour(change);
  }
}

function message(change: RouteChange, subject: string, rest: Pick<NetlinkMessage, "type" | "payload">) {
  return { op: change.op, subject, flags: NLM_F_ACK, ...rest };
}

interface LinkMessage {
  readonly change: Change<
    "bridge-port.set" | "link.delete" | "link.up" | "link.no-address-generation" | "link.mtu"
  >;
  readonly type: number;
  readonly flags?: number;
  readonly attributes?: (writer: AttributeWriter) => void;
}

/** Addresses the link by its name, which saves the question for its index. */
function linkMessage({ change, type, flags = 0, attributes }: LinkMessage): NetlinkMessage {
  const writer = new AttributeWriter().text(IFLA_IFNAME, change.name);
  attributes?.(writer);
  const payload = Buffer.concat([linkHeader({ flags }), writer.finish()]);
  return message(change, change.name, { type, payload });
}

function noAddressGeneration(writer: AttributeWriter): void {
  writer.nest(IFLA_AF_SPEC, (families) =>
    families.nest(AF_INET6, (inet6) => inet6.u8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE)),
  );
}

/** Puts a link into a group. Not as RTM_NEWLINK, which without a link of that name would be about the group. */
export function groupMembership(name: string, group: number): NetlinkMessage {
  const attributes = new AttributeWriter().text(IFLA_IFNAME, name).u32(IFLA_GROUP, group);
  return {
    op: "link.group",
    subject: `${name} in group ${group}`,
    type: RTM_SETLINK,
    flags: NLM_F_ACK,
    payload: Buffer.concat([linkHeader({}), attributes.finish()]),
  };
}

/** Deletes all links of a group. */
export function groupDeletion(group: number): NetlinkMessage {
  const attributes = new AttributeWriter().u32(IFLA_GROUP, group);
  return {
    op: "link.group-delete",
    subject: String(group),
    type: RTM_DELLINK,
    flags: NLM_F_ACK,
    payload: Buffer.concat([linkHeader({}), attributes.finish()]),
  };
}

function portFlags(writer: AttributeWriter, { hairpin, isolated }: BridgePort): void {
  writer.nest(IFLA_LINKINFO, (info) =>
    info
      .text(IFLA_INFO_SLAVE_KIND, "bridge")
      .nest(IFLA_INFO_SLAVE_DATA, (data) =>
        data.u8(IFLA_BRPORT_MODE, Number(hairpin)).u8(IFLA_BRPORT_ISOLATED, Number(isolated)),
      ),
  );
}

function encodeBridge(change: Change<"bridge.add">): NetlinkMessage {
  const writer = new AttributeWriter()
    .text(IFLA_IFNAME, change.name)
    .u32(IFLA_MTU, change.mtu)
    .bytes(IFLA_ADDRESS, macBytes(change.mac))
    .nest(IFLA_LINKINFO, (info) =>
      info.text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, (data) => data.u32(IFLA_BR_STP_STATE, 0)),
    );
  return {
    ...message(change, change.name, {
      type: RTM_NEWLINK,
      payload: Buffer.concat([linkHeader({}), writer.finish()]),
    }),
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
  };
}

function encodeVeth(change: Change<"veth.add">): NetlinkMessage {
  const writer = new AttributeWriter()
    .text(IFLA_IFNAME, change.name)
    .u32(IFLA_MTU, change.mtu)
    .bytes(IFLA_ADDRESS, macBytes(change.mac))
    .nest(IFLA_LINKINFO, (info) =>
      info
        .text(IFLA_INFO_KIND, "veth")
        .nest(IFLA_INFO_DATA, (data) =>
          data.nest(
            VETH_INFO_PEER,
            (peer) =>
              peer
                .text(IFLA_IFNAME, change.peer.name)
                .u32(IFLA_MTU, change.mtu)
                .bytes(IFLA_ADDRESS, macBytes(change.peer.mac))
                .u32(IFLA_NET_NS_FD, change.peer.netns.fd),
            linkHeader({}),
          ),
        ),
    );
  if (change.bridgeIndex !== undefined) writer.u32(IFLA_MASTER, change.bridgeIndex);
  return {
    op: change.op,
    subject: `${change.name} and ${change.peer.name} in ${change.peer.netns.path}`,
    type: RTM_NEWLINK,
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    payload: Buffer.concat([linkHeader({}), writer.finish()]),
  };
}

/** struct ifaddrmsg. */
export function addressHeader(family: number, linkIndex: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(family, 0);
  header.writeUInt32LE(linkIndex, 4);
  return header;
}

function encodeAddress(change: Change<"address.add">): NetlinkMessage {
  const { family, bytes } = addressBytes(change.address);
  const header = addressHeader(family, change.linkIndex);
  header.writeUInt8(change.prefixLength, 1);
  // IPv4 knows no duplicate address detection and stores no flag for it.
  if (family === AF_INET6) header.writeUInt8(IFA_F_NODAD, 2);
  const writer = new AttributeWriter().bytes(IFA_LOCAL, bytes).bytes(IFA_ADDRESS, bytes);
  return {
    ...message(change, `${change.address}/${change.prefixLength}`, {
      type: RTM_NEWADDR,
      payload: Buffer.concat([header, writer.finish()]),
    }),
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
  };
}

interface RouteHeader {
  readonly family: number;
  readonly prefixLength?: number;
  readonly scope?: number;
  readonly flags?: number;
  readonly protocol?: number | undefined;
}

/** struct rtmsg of a unicast route in the main table. */
export function routeHeader({
  family,
  prefixLength = 0,
  scope = 0,
  flags = 0,
  protocol,
}: RouteHeader): Buffer {
  const header = Buffer.alloc(12);
  const by = protocol ?? RTPROT_STATIC;
  header.set([family, prefixLength, 0, 0, RT_TABLE_MAIN, by, scope, RTN_UNICAST]);
  header.writeUInt32LE(flags, 8);
  return header;
}

function encodeRoute(change: Change<"route.add" | "route.delete">): NetlinkMessage {
  const { family, bytes } = addressBytes(change.destination);
  const { prefixLength, gateway, protocol } = change;
  const header = routeHeader({
    family,
    prefixLength,
    scope: gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
    flags: gateway === undefined ? 0 : RTNH_F_ONLINK,
    protocol,
  });
  const writer = new AttributeWriter();
  if (prefixLength > 0) writer.bytes(RTA_DST, bytes);
  if (gateway !== undefined) writer.bytes(RTA_GATEWAY, addressBytes(gateway).bytes);
  writer.u32(RTA_OIF, change.linkIndex);
  const via = gateway === undefined ? "" : ` via ${gateway}`;
  return {
    ...message(change, `${change.destination}/${prefixLength}${via}`, {
      type: change.op === "route.add" ? RTM_NEWROUTE : RTM_DELROUTE,
      payload: Buffer.concat([header, writer.finish()]),
    }),
    ...(change.op === "route.add" && { flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL }),
  };
}

function encodeNeighbour(change: Change<"neighbour.add">): NetlinkMessage {
  const { family, bytes } = addressBytes(change.address);
  const header = Buffer.alloc(12); // struct ndmsg
  header.writeUInt8(family, 0);
  header.writeInt32LE(change.linkIndex, 4);
  header.writeUInt16LE(change.learned ? NUD_STALE : NUD_PERMANENT, 8);
  const writer = new AttributeWriter().bytes(NDA_DST, bytes).bytes(NDA_LLADDR, macBytes(change.mac));
  return {
    ...message(change, change.address, {
      type: RTM_NEWNEIGH,
      payload: Buffer.concat([header, writer.finish()]),
    }),
    // It may have been learned a moment before.
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
  };
}
