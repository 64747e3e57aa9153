/** What rtnetlink(7) tells: one link, the addresses and routes of one link, the route to one address. */
import ipaddr from "ipaddr.js";
import { isKind } from "../../errors.ts";
import type { BridgePort, Link, LinkAddress, Neighbour, Route } from "../netlink.ts";
import {
  AttributeWriter,
  attributeText,
  type NetlinkMessage,
  type NetlinkReply,
  NLM_F_ACK,
  NLM_F_DUMP,
  readAttributes,
} from "./codec.ts";
import { ackError, type NetlinkConnection, type NetlinkOutcome } from "./connection.ts";
import {
  AF_INET,
  AF_INET6,
  addressBytes,
  addressHeader,
  IFLA_BRPORT_ISOLATED,
  IFLA_BRPORT_MODE,
  linkHeader,
  NUD_PERMANENT,
  routeHeader,
} from "./requests.ts";

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWNEIGH = 28;
const RTM_GETNEIGH = 30;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINKINFO = 18;
const IFLA_EXT_MASK = 29;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const IFF_UP = 1;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_TABLE = 15;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_IFINDEX = 8;

async function ask(
  connection: NetlinkConnection,
  message: NetlinkMessage,
  options?: { strict: boolean },
): Promise<readonly NetlinkReply[]> {
  const [outcome] = await connection.exchange([message], options);
  if (!outcome) return [];
  if (outcome.ack.errno !== 0) throw ackError(message, outcome.ack);
  return outcome.replies;
}

type WantedLink = { readonly name: string } | { readonly index: number };

/** The question for one link (RTM_GETLINK), without the statistics that make up most of the answer. */
export function linkRequest(wanted: WantedLink): NetlinkMessage {
  const byName = "name" in wanted;
  const writer = new AttributeWriter().u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (byName) writer.text(IFLA_IFNAME, wanted.name);
  const header = linkHeader(byName ? {} : { index: wanted.index });
  return {
    op: "link.get",
    subject: byName ? wanted.name : `link ${wanted.index}`,
    type: RTM_GETLINK,
    flags: NLM_F_ACK,
    payload: Buffer.concat([header, writer.finish()]),
  };
}

/** The answer to it; undefined where there is no such link. */
export function readLink(request: NetlinkMessage, outcome: NetlinkOutcome | undefined): Link | undefined {
  if (!outcome) return undefined;
  if (outcome.ack.errno !== 0) {
    const error = ackError(request, outcome.ack);
    if (isKind(error, "not-found")) return undefined;
    throw error;
  }
  const reply = outcome.replies.find(({ type }) => type === RTM_NEWLINK);
  return reply && decodeLink(reply.payload);
}

/** Asks for one link. */
export async function findLink(connection: NetlinkConnection, wanted: WantedLink): Promise<Link | undefined> {
  const request = linkRequest(wanted);
  const [outcome] = await connection.exchange([request]);
  return readLink(request, outcome);
}

function macText(bytes: Buffer | undefined): string {
  return (bytes?.toString("hex").match(/../g) ?? []).join(":");
}

function decodeLink(payload: Buffer): Link {
  const attributes = readAttributes(payload.subarray(16));
  const info = readAttributes(attributes.get(IFLA_LINKINFO) ?? Buffer.alloc(0));
  const isPort = attributeText(info.get(IFLA_INFO_SLAVE_KIND)) === "bridge";
  return {
    index: payload.readInt32LE(4),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    name: attributeText(attributes.get(IFLA_IFNAME)) ?? "",
    mac: macText(attributes.get(IFLA_ADDRESS)),
    mtu: attributes.get(IFLA_MTU)?.readUInt32LE(0) ?? 0,
    kind: attributeText(info.get(IFLA_INFO_KIND)),
    peerIndex: attributes.get(IFLA_LINK)?.readUInt32LE(0),
    masterIndex: attributes.get(IFLA_MASTER)?.readUInt32LE(0),
    port: isPort ? decodePort(info.get(IFLA_INFO_SLAVE_DATA) ?? Buffer.alloc(0)) : undefined,
  };
}

function decodePort(bytes: Buffer): BridgePort {
  const attributes = readAttributes(bytes);
  const isSet = (type: number) => attributes.get(type)?.readUInt8(0) === 1;
  return { hairpin: isSet(IFLA_BRPORT_MODE), isolated: isSet(IFLA_BRPORT_ISOLATED) };
}

/** The neighbours on a link, of both families (RTM_GETNEIGH); those of others are left out by the kernel. */
export async function listNeighbours(connection: NetlinkConnection, linkIndex: number): Promise<Neighbour[]> {
  const question: NetlinkMessage = {
    op: "neighbour.list",
    subject: `link ${linkIndex}`,
    type: RTM_GETNEIGH,
    flags: NLM_F_DUMP,
    payload: Buffer.concat([Buffer.alloc(12), new AttributeWriter().u32(NDA_IFINDEX, linkIndex).finish()]),
  };
  const replies = await ask(connection, question, { strict: true });
  return replies
    .filter(({ type, payload }) => type === RTM_NEWNEIGH && payload.readInt32LE(4) === linkIndex)
    .flatMap(({ payload }) => {
      const attributes = readAttributes(payload.subarray(12));
      const address = attributes.get(NDA_DST);
      const mac = macText(attributes.get(NDA_LLADDR)) || undefined;
      const permanent = (payload.readUInt16LE(8) & NUD_PERMANENT) !== 0;
      return address ? [{ address: addressText(address), mac, permanent }] : [];
    });
}

/** The addresses of a link. The kernel lists all of the namespace; the others are left out here. */
export async function listAddresses(
  connection: NetlinkConnection,
  linkIndex: number,
): Promise<LinkAddress[]> {
  const replies = await ask(connection, {
    op: "address.list",
    subject: `link ${linkIndex}`,
    type: RTM_GETADDR,
    flags: NLM_F_DUMP,
    payload: addressHeader(0, linkIndex),
  });
  return replies
    .filter(({ type, payload }) => type === RTM_NEWADDR && payload.readUInt32LE(4) === linkIndex)
    .flatMap(({ payload }) => {
      const attributes = readAttributes(payload.subarray(8));
      const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
      return bytes ? [{ address: addressText(bytes), prefixLength: payload.readUInt8(1) }] : [];
    });
}

/** Unicast routes of the main table, all or of one link. */
export async function listRoutes(connection: NetlinkConnection, linkIndex?: number): Promise<Route[]> {
  const replies = await ask(connection, {
    op: "route.list",
    subject: linkIndex === undefined ? "the main table" : `link ${linkIndex}`,
    type: RTM_GETROUTE,
    flags: NLM_F_DUMP,
    payload: routeHeader({ family: 0 }),
  });
  return replies
    .filter(({ type, payload }) => type === RTM_NEWROUTE && payload.readUInt8(7) === RTN_UNICAST)
    .filter(({ payload }) => tableOf(payload) === RT_TABLE_MAIN)
    .map(({ payload }) => decodeRoute(payload))
    .filter((route) => linkIndex === undefined || route.linkIndex === linkIndex);
}

/** Unicast routes of the main table of one protocol; the kernel picks them out (NETLINK_GET_STRICT_CHK). */
export async function listRoutesOf(connection: NetlinkConnection, protocol: number): Promise<Route[]> {
  const found: Route[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    const header = routeHeader({ family, protocol });
    const question = {
      op: "route.list",
      subject: `protocol ${protocol}`,
      type: RTM_GETROUTE,
      flags: NLM_F_DUMP,
      payload: header,
    };
    const replies = await ask(connection, question, { strict: true });
    const matching = replies.filter(({ type, payload }) => {
      const isUnicast = type === RTM_NEWROUTE && payload.readUInt8(7) === RTN_UNICAST;
      return isUnicast && payload.readUInt8(5) === protocol && tableOf(payload) === RT_TABLE_MAIN;
    });
    found.push(...matching.map(({ payload }) => decodeRoute(payload)));
  }
  return found;
}

/** What the kernel would do with a packet to this address (RTM_GETROUTE without a dump). */
export async function findRoute(connection: NetlinkConnection, address: string): Promise<Route | undefined> {
  const { family, bytes } = addressBytes(address);
  const header = Buffer.alloc(12);
  header.writeUInt8(family, 0);
  header.writeUInt8(bytes.length * 8, 1);
  const message: NetlinkMessage = {
    op: "route.get",
    subject: address,
    type: RTM_GETROUTE,
    flags: NLM_F_ACK,
    payload: Buffer.concat([header, new AttributeWriter().bytes(RTA_DST, bytes).finish()]),
  };
  const [outcome] = await connection.exchange([message]);
  if (!outcome || unroutable.has(outcome.ack.errno)) return undefined;
  if (outcome.ack.errno !== 0) throw ackError(message, outcome.ack);
  const reply = outcome.replies.find(({ type }) => type === RTM_NEWROUTE);
  return reply && decodeRoute(reply.payload);
}

/** ESRCH, EINVAL and EACCES stand for no, blackhole and prohibited route; ENETUNREACH, EHOSTUNREACH say it. */
const unroutable = new Set([3, 13, 22, 101, 113]);

function tableOf(payload: Buffer): number {
  return readAttributes(payload.subarray(12)).get(RTA_TABLE)?.readUInt32LE(0) ?? payload.readUInt8(4);
}

function decodeRoute(payload: Buffer): Route {
  const attributes = readAttributes(payload.subarray(12));
  const destination = attributes.get(RTA_DST);
  const gateway = attributes.get(RTA_GATEWAY);
  const any = payload.readUInt8(0) === 2 ? "0.0.0.0" : "::";
  return {
    destination: destination ? addressText(destination) : any,
    prefixLength: payload.readUInt8(1),
    gateway: gateway && addressText(gateway),
    linkIndex: attributes.get(RTA_OIF)?.readUInt32LE(0),
  };
}

function addressText(bytes: Buffer): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}
