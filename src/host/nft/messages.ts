/** nf_tables requests as bytes. Numbers are those of linux/netfilter/nf_tables.h; attributes are in network byte order. */
import {
  AttributeWriter,
  attributeText,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  readAttributes,
} from "../netlink/codec.ts";
import { writeElements } from "./sets.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_DELRULE = 8;
const NFT_MSG_NEWSET = 9;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFT_MSG_DELSETELEM = 14;
const NFPROTO_INET = 1;
const NFPROTO_IPV4 = 2;

const NF_INET_POST_ROUTING = 4;
/** Where source NAT belongs among the hooks. */
const NF_IP_PRI_NAT_SRC = 100;
const NFT_SET_INTERVAL = 4;
/** What the nft program calls ipv4_addr: the kernel only stores it. */
const TYPE_IPV4_ADDR = 7;
const NFT_META_NFPROTO = 15;
const NFT_PAYLOAD_NETWORK_HEADER = 1;
const NFT_CMP_EQ = 0;
const NFT_CMP_NEQ = 1;
const NFT_LOOKUP_F_INV = 1;
const REGISTER = 1;
const IPV4_SOURCE_OFFSET = 12;
const IPV4_DESTINATION_OFFSET = 16;

const SET = "pod_cidrs4";
const CHAIN = "postrouting";
/** Kept with the rule. A later release that needs another rule changes it, and so replaces the old one. */
const RULE_TAG = "trivet masquerade 1";

const NFTA_NAME = 1;
const NFTA_RULE_TABLE = 1;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_EXPRESSIONS = 4;
const NFTA_RULE_USERDATA = 7;

/** struct nfgenmsg. */
function genHeader(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 0xff]);
}

function batchMessage(type: number): NetlinkMessage {
  const op = type === NFNL_MSG_BATCH_BEGIN ? "nft.transaction" : "nft.transaction-end";
  return { type, flags: 0, payload: genHeader(0, NFNL_SUBSYS_NFTABLES), op, subject: "the rule set" };
}

/** Opens a transaction: what follows takes effect as a whole, or not at all. */
export const batchBegin = (): NetlinkMessage => batchMessage(NFNL_MSG_BATCH_BEGIN);
/** Ends and so commits it. */
export const batchEnd = (): NetlinkMessage => batchMessage(NFNL_MSG_BATCH_END);

interface Request {
  readonly op: string;
  readonly subject: string;
  readonly type: number;
  readonly flags?: number;
  readonly attributes: AttributeWriter;
}

function request({ op, subject, type, flags = 0, attributes }: Request): NetlinkMessage {
  return {
    op,
    subject,
    type: (NFNL_SUBSYS_NFTABLES << 8) | type,
    flags: flags === NLM_F_DUMP ? flags : flags | NLM_F_ACK,
    payload: Buffer.concat([genHeader(NFPROTO_INET), attributes.finish()]),
  };
}

/** Makes the table, unless it is there. */
export function newTable(table: string): NetlinkMessage {
  const attributes = new AttributeWriter().text(NFTA_NAME, table);
  return request({
    op: "nft.table.add",
    subject: table,
    type: NFT_MSG_NEWTABLE,
    flags: NLM_F_CREATE,
    attributes,
  });
}

/** Deletes the table with all in it; refused if it is not there. */
export function deleteTable(table: string): NetlinkMessage {
  const attributes = new AttributeWriter().text(NFTA_NAME, table);
  return request({ op: "nft.table.delete", subject: table, type: NFT_MSG_DELTABLE, attributes });
}

/** The whole change as one list of requests. Emptying the chain before the rule is added makes it repeatable. */
export function masquerade(
  table: string,
  change: { readonly add: readonly string[]; readonly remove: readonly string[] },
): NetlinkMessage[] {
  const elements = (op: string, type: number, cidrs: readonly string[]) =>
    cidrs.map((cidr) =>
      request({
        op,
        subject: `${cidr} in set ${SET} of table ${table}`,
        type,
        flags: type === NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0,
        attributes: writeElements(table, SET, cidr),
      }),
    );
  return [
    newTable(table),
    newSet(table),
    newChain(table),
    request({
      op: "nft.chain.flush",
      subject: `${table} ${CHAIN}`,
      type: NFT_MSG_DELRULE,
      attributes: ruleOwner(table),
    }),
    newRule(table),
    ...elements("nft.element.delete", NFT_MSG_DELSETELEM, change.remove),
    ...elements("nft.element.add", NFT_MSG_NEWSETELEM, change.add),
  ];
}

function newSet(table: string): NetlinkMessage {
  const attributes = new AttributeWriter()
    .text(1, table)
    .text(2, SET)
    .u32BigEndian(3, NFT_SET_INTERVAL)
    .u32BigEndian(4, TYPE_IPV4_ADDR)
    .u32BigEndian(5, 4) // bytes of a key
    .u32BigEndian(10, 1); // an id within this transaction
  return request({
    op: "nft.set.add",
    subject: `${table} ${SET}`,
    type: NFT_MSG_NEWSET,
    flags: NLM_F_CREATE,
    attributes,
  });
}

function newChain(table: string): NetlinkMessage {
  const attributes = new AttributeWriter()
    .text(1, table)
    .text(3, CHAIN)
    .nest(4, (hook) => hook.u32BigEndian(1, NF_INET_POST_ROUTING).u32BigEndian(2, NF_IP_PRI_NAT_SRC))
    .text(7, "nat");
  return request({
    op: "nft.chain.add",
    subject: `${table} ${CHAIN}`,
    type: NFT_MSG_NEWCHAIN,
    flags: NLM_F_CREATE,
    attributes,
  });
}

function ruleOwner(table: string): AttributeWriter {
  return new AttributeWriter().text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, CHAIN);
}

type Expression = readonly [name: string, data: AttributeWriter];

/** From a pod network, to none of them, and not to a multicast group: masquerade. */
function newRule(table: string): NetlinkMessage {
  const expressions: Expression[] = [
    ["meta", new AttributeWriter().u32BigEndian(1, REGISTER).u32BigEndian(2, NFT_META_NFPROTO)],
    ["cmp", compare(NFT_CMP_EQ, Uint8Array.of(NFPROTO_IPV4))],
    ["payload", loadAddress(IPV4_SOURCE_OFFSET)],
    ["lookup", new AttributeWriter().text(1, SET).u32BigEndian(2, REGISTER)],
    ["payload", loadAddress(IPV4_DESTINATION_OFFSET)],
    [
      "lookup",
      new AttributeWriter().text(1, SET).u32BigEndian(2, REGISTER).u32BigEndian(5, NFT_LOOKUP_F_INV),
    ],
    ["payload", loadAddress(IPV4_DESTINATION_OFFSET)],
    ["bitwise", keepFirstFourBits()],
    ["cmp", compare(NFT_CMP_NEQ, Uint8Array.of(0xe0, 0, 0, 0))],
    ["masq", new AttributeWriter()],
  ];
  const attributes = ruleOwner(table).nest(NFTA_RULE_EXPRESSIONS, (list) => {
    for (const [name, data] of expressions) {
      list.nest(1, (element) => element.text(1, name).nest(2, (inner) => inner.append(data)));
    }
  });
  attributes.bytes(NFTA_RULE_USERDATA, commentUserdata(RULE_TAG));
  return request({
    op: "nft.rule.add",
    subject: `${table} ${CHAIN}`,
    type: NFT_MSG_NEWRULE,
    flags: NLM_F_CREATE | NLM_F_APPEND,
    attributes,
  });
}

function loadAddress(offset: number): AttributeWriter {
  return new AttributeWriter()
    .u32BigEndian(1, REGISTER)
    .u32BigEndian(2, NFT_PAYLOAD_NETWORK_HEADER)
    .u32BigEndian(3, offset)
    .u32BigEndian(4, 4);
}

function compare(operation: number, value: Uint8Array): AttributeWriter {
  return new AttributeWriter()
    .u32BigEndian(1, REGISTER)
    .u32BigEndian(2, operation)
    .nest(3, (data) => data.bytes(1, value));
}

function keepFirstFourBits(): AttributeWriter {
  return new AttributeWriter()
    .u32BigEndian(1, REGISTER)
    .u32BigEndian(2, REGISTER)
    .u32BigEndian(3, 4)
    .nest(4, (mask) => mask.bytes(1, Uint8Array.of(0xf0, 0, 0, 0)))
    .nest(5, (xor) => xor.bytes(1, new Uint8Array(4)));
}

/** A comment in the form in which the nft program keeps and shows it: type 0, length, text with NUL. */
function commentUserdata(text: string): Buffer {
  const bytes = Buffer.from(`${text}\0`);
  return Buffer.concat([Buffer.from([0, bytes.length]), bytes]);
}

/** Asks for the rules of our chain. */
export function getRules(table: string): NetlinkMessage {
  return request({
    op: "nft.rule.list",
    subject: `${table} ${CHAIN}`,
    type: NFT_MSG_GETRULE,
    flags: NLM_F_DUMP,
    attributes: ruleOwner(table),
  });
}

/** Whether a dumped rule is the one that `masquerade` makes. */
export function isOurRule(payload: Buffer): boolean {
  const userdata = readAttributes(payload.subarray(4)).get(NFTA_RULE_USERDATA);
  return userdata !== undefined && attributeText(userdata.subarray(2)) === RULE_TAG;
}

/** Asks for the elements of our set. */
export function getElements(table: string): NetlinkMessage {
  return request({
    op: "nft.element.list",
    subject: `${table} ${SET}`,
    type: NFT_MSG_GETSETELEM,
    flags: NLM_F_DUMP,
    attributes: new AttributeWriter().text(1, table).text(2, SET),
  });
}
