/**
 * Forgets tracked connections, through NFNETLINK_CTNETLINK: while an entry lives, its packets go where they went when it was
 * made, whatever the rules say by now. The kernel picks the entries out (CTA_FILTER, Linux 5.8), and each is deleted by its
 * tuple; a kernel that ignored the filter could only make us delete too little, since every entry is looked at again.
 */
import ipaddr from "ipaddr.js";
import { isKind } from "../errors.ts";
import {
  AttributeWriter,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  readAttributes,
} from "./netlink/codec.ts";
import {
  ackError,
  NETLINK_NETFILTER,
  type NetlinkConnection,
  openNetlink,
  type SocketSyscalls,
} from "./netlink/connection.ts";
import type { Netns, NetnsHandle } from "./netns.ts";

/** Connections to forget: of a protocol, and by what is given besides. */
export interface FlowFilter {
  readonly family: 4 | 6;
  readonly protocol: "tcp" | "udp" | "sctp";
  /** What the first packet was sent to. */
  readonly destinationPort?: number;
  readonly destination?: string;
  /** Who answers: the pod, where the destination was translated. */
  readonly answeredBy?: string;
}

/** Needs CAP_NET_ADMIN. */
export interface Conntrack {
  /**
   * Gives how many were forgotten. The kernel walks all its entries for each filter: not for every pod. Kind `unsupported`
   * where the kernel tracks no connections or cannot tell of them.
   */
  forget(filters: readonly FlowFilter[]): Promise<number>;
}

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const FILTER_IP_SRC = 1 << 0;
const FILTER_IP_DST = 1 << 1;
const FILTER_PROTO_NUM = 1 << 3;
const FILTER_PROTO_DST_PORT = 1 << 5;
const NLA_F_NESTED = 0x8000;
const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const;
const families = {
  4: { af: 2, source: 1, destination: 2 },
  6: { af: 10, source: 3, destination: 4 },
} as const;

/** `netns` is for tests: entries of another namespace than the process's own. */
export function createConntrack(
  syscalls: SocketSyscalls,
  where?: { readonly namespaces: Pick<Netns, "within">; readonly netns: NetnsHandle },
): Conntrack {
  const open = () => openNetlink(syscalls, NETLINK_NETFILTER);
  return {
    async forget(filters) {
      const connection = where ? where.namespaces.within(where.netns, open) : open();
      try {
        let forgotten = 0;
        for (const filter of filters) forgotten += await forgetSome(connection, filter);
        return forgotten;
      } finally {
        connection.close();
      }
    },
  };
}

async function forgetSome(connection: NetlinkConnection, filter: FlowFilter): Promise<number> {
  const question = dumpRequest(filter);
  const [outcome] = await connection.exchange([question]);
  if (outcome && outcome.ack.errno !== 0) throw ackError(question, outcome.ack);
  const found = (outcome?.replies ?? [])
    .map(({ payload }) => payload)
    .filter((entry) => matches(entry, filter));
  let forgotten = 0;
  for (const entry of found) {
    const request = deleteRequest(entry, filter);
    const [answer] = await connection.exchange([request]);
    if (!answer || answer.ack.errno === 0) forgotten += 1;
    else {
      const error = ackError(request, answer.ack);
      if (!isKind(error, "not-found")) throw error; // it may have ended by itself
    }
  }
  return forgotten;
}

function request(type: number, filter: FlowFilter, attributes: AttributeWriter): NetlinkMessage {
  const { family, protocol, destinationPort, answeredBy } = filter;
  const to = destinationPort === undefined ? `answered by ${answeredBy}` : `to port ${destinationPort}`;
  return {
    op: type === IPCTNL_MSG_CT_GET ? "conntrack.list" : "conntrack.delete",
    subject: `${protocol} ${to}`,
    type: (NFNL_SUBSYS_CTNETLINK << 8) | type,
    flags: type === IPCTNL_MSG_CT_GET ? NLM_F_DUMP : NLM_F_ACK,
    payload: Buffer.concat([Buffer.from([families[family].af, 0, 0, 0]), attributes.finish()]),
  };
}

const bytesOf = (address: string): Buffer => Buffer.from(ipaddr.parse(address).toByteArray());

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}

interface Tuple {
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  readonly destinationPort?: number | undefined;
}

function writeTuple(filter: FlowFilter, { source, destination, destinationPort }: Tuple): AttributeWriter {
  const types = families[filter.family];
  return new AttributeWriter()
    .nest(CTA_TUPLE_IP, (ip) => {
      if (source !== undefined) ip.bytes(types.source, bytesOf(source));
      if (destination !== undefined) ip.bytes(types.destination, bytesOf(destination));
    })
    .nest(CTA_TUPLE_PROTO, (proto) => {
      proto.u8(CTA_PROTO_NUM, protocolNumbers[filter.protocol]);
      if (destinationPort !== undefined) proto.bytes(CTA_PROTO_DST_PORT, portBytes(destinationPort));
    });
}

function dumpRequest(filter: FlowFilter): NetlinkMessage {
  const { destination, destinationPort, answeredBy } = filter;
  const original =
    FILTER_PROTO_NUM |
    (destination === undefined ? 0 : FILTER_IP_DST) |
    (destinationPort === undefined ? 0 : FILTER_PROTO_DST_PORT);
  const reply = answeredBy === undefined ? 0 : FILTER_PROTO_NUM | FILTER_IP_SRC;
  const attributes = new AttributeWriter().nest(CTA_TUPLE_ORIG, (tuple) =>
    tuple.append(writeTuple(filter, { destination, destinationPort })),
  );
  if (reply !== 0) {
    attributes.nest(CTA_TUPLE_REPLY, (tuple) => tuple.append(writeTuple(filter, { source: answeredBy })));
  }
  attributes.nest(CTA_FILTER, (flags) =>
    flags.u32(CTA_FILTER_ORIG_FLAGS, original).u32(CTA_FILTER_REPLY_FLAGS, reply),
  );
  return request(IPCTNL_MSG_CT_GET, filter, attributes);
}

/** The entry's own words name it: its tuple, id and zone, as they came. */
function deleteRequest(entry: Buffer, filter: FlowFilter): NetlinkMessage {
  const attributes = readAttributes(entry.subarray(4));
  const writer = new AttributeWriter();
  for (const [type, nested] of [
    [CTA_TUPLE_ORIG, NLA_F_NESTED],
    [CTA_ID, 0],
    [CTA_ZONE, 0],
  ] as const) {
    const value = attributes.get(type);
    if (value) writer.bytes(type | nested, value);
  }
  return request(IPCTNL_MSG_CT_DELETE, filter, writer);
}

function matches(entry: Buffer, filter: FlowFilter): boolean {
  const attributes = readAttributes(entry.subarray(4));
  const types = families[filter.family];
  const part = (tuple: number, of: number) => {
    const nested = readAttributes(attributes.get(tuple) ?? Buffer.alloc(0)).get(of);
    return readAttributes(nested ?? Buffer.alloc(0));
  };
  const isAt = (address: string | undefined, bytes: Buffer | undefined) =>
    address === undefined || bytes?.equals(bytesOf(address)) === true;
  const proto = part(CTA_TUPLE_ORIG, CTA_TUPLE_PROTO);
  const port = proto.get(CTA_PROTO_DST_PORT)?.readUInt16BE(0);
  return (
    entry.readUInt8(0) === types.af &&
    proto.get(CTA_PROTO_NUM)?.readUInt8(0) === protocolNumbers[filter.protocol] &&
    (filter.destinationPort === undefined || filter.destinationPort === port) &&
    isAt(filter.destination, part(CTA_TUPLE_ORIG, CTA_TUPLE_IP).get(types.destination)) &&
    isAt(filter.answeredBy, part(CTA_TUPLE_REPLY, CTA_TUPLE_IP).get(types.source))
  );
}
