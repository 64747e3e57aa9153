/** nf_tables requests as bytes. Numbers are those of linux/netfilter/nf_tables.h; attributes are in network byte order. */
import {
  AttributeWriter,
  attributeText,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  readAttributes,
} from "../netlink/codec.ts";
import { type Expression, NFPROTO_INET } from "./expressions.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFNL_BATCH_GENID = 1;
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
const NFT_MSG_GETGEN = 16;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_USERDATA = 7;

/** struct nfgenmsg. */
function genHeader(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 0xff]);
}

/** Opens a transaction: what follows takes effect as a whole, or not at all; with `generation`, only in that very one. */
export function batchBegin(generation?: number): NetlinkMessage {
  const attributes = new AttributeWriter();
  if (generation !== undefined) attributes.u32BigEndian(NFNL_BATCH_GENID, generation);
  return {
    type: NFNL_MSG_BATCH_BEGIN,
    flags: 0,
    payload: Buffer.concat([genHeader(0, NFNL_SUBSYS_NFTABLES), attributes.finish()]),
    op: "nft.transaction",
    subject: "the rule set",
  };
}

/** Ends and so commits it. */
export function batchEnd(): NetlinkMessage {
  const payload = genHeader(0, NFNL_SUBSYS_NFTABLES);
  return {
    type: NFNL_MSG_BATCH_END,
    flags: 0,
    payload,
    op: "nft.transaction-end",
    subject: "the rule set",
  };
}

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
  const attributes = new AttributeWriter().text(1, table);
  const flags = NLM_F_CREATE;
  return request({ op: "nft.table.add", subject: table, type: NFT_MSG_NEWTABLE, flags, attributes });
}

/** Deletes the table with all in it; refused if it is not there. */
export function deleteTable(table: string): NetlinkMessage {
  const attributes = new AttributeWriter().text(1, table);
  return request({ op: "nft.table.delete", subject: table, type: NFT_MSG_DELTABLE, attributes });
}

/** What a key or a value of a set consists of: the types are those of the nft program, the kernel only stores them. */
export interface SetColumns {
  readonly type: number;
  readonly bytes: number;
}

/** A set, or a map if it has values. */
export interface SetShape {
  readonly name: string;
  readonly key: SetColumns;
  readonly value?: SetColumns;
  readonly interval?: boolean;
}

const NFT_SET_INTERVAL = 4;
const NFT_SET_MAP = 8;

/** Makes the set, unless it is there. `id` tells it from others within one transaction. */
export function newSet(table: string, { name, key, value, interval }: SetShape, id: number): NetlinkMessage {
  const flags = (interval ? NFT_SET_INTERVAL : 0) | (value ? NFT_SET_MAP : 0);
  const attributes = new AttributeWriter()
    .text(1, table)
    .text(2, name)
    .u32BigEndian(3, flags)
    .u32BigEndian(4, key.type)
    .u32BigEndian(5, key.bytes);
  if (value) attributes.u32BigEndian(6, value.type).u32BigEndian(7, value.bytes);
  attributes.u32BigEndian(10, id);
  return request({
    op: "nft.set.add",
    subject: `${table} ${name}`,
    type: NFT_MSG_NEWSET,
    flags: NLM_F_CREATE,
    attributes,
  });
}

/** A chain; one that is called by others only has no hook. */
export interface ChainShape {
  readonly name: string;
  readonly hook?: { readonly type: "nat" | "filter"; readonly number: number; readonly priority: number };
}

/** Makes the chain, unless it is there. */
export function newChain(table: string, { name, hook }: ChainShape): NetlinkMessage {
  const attributes = new AttributeWriter().text(1, table).text(3, name);
  if (hook) {
    attributes.nest(4, (inner) => inner.u32BigEndian(1, hook.number).u32BigEndian(2, hook.priority >>> 0));
    attributes.text(7, hook.type);
  }
  return request({
    op: "nft.chain.add",
    subject: `${table} ${name}`,
    type: NFT_MSG_NEWCHAIN,
    flags: NLM_F_CREATE,
    attributes,
  });
}

const ruleOwner = (table: string, chain: string) => new AttributeWriter().text(1, table).text(2, chain);

/** Removes all rules of a chain. */
export function flushChain(table: string, chain: string): NetlinkMessage {
  const attributes = ruleOwner(table, chain);
  const subject = `${table} ${chain}`;
  return request({ op: "nft.chain.flush", subject, type: NFT_MSG_DELRULE, attributes });
}

/** One rule. Its tag is kept with it, and shown by the nft program as a comment. */
export interface RuleShape {
  readonly chain: string;
  readonly tag: string;
  readonly expressions: readonly Expression[];
}

/** Adds the rule at the end of its chain. */
export function newRule(table: string, { chain, tag, expressions }: RuleShape): NetlinkMessage {
  const attributes = ruleOwner(table, chain).nest(4, (list) => {
    for (const [name, data] of expressions) {
      list.nest(1, (element) => element.text(1, name).nest(2, (inner) => inner.append(data)));
    }
  });
  attributes.bytes(NFTA_RULE_USERDATA, commentUserdata(tag));
  return request({
    op: "nft.rule.add",
    subject: `${table} ${chain}: ${tag}`,
    type: NFT_MSG_NEWRULE,
    flags: NLM_F_CREATE | NLM_F_APPEND,
    attributes,
  });
}

/** A comment in the form in which the nft program keeps and shows it: type 0, length, text with NUL. */
function commentUserdata(text: string): Buffer {
  const bytes = Buffer.from(`${text}\0`);
  return Buffer.concat([Buffer.from([0, bytes.length]), bytes]);
}

/** Asks for the rules of the table. */
export function getRules(table: string): NetlinkMessage {
  const attributes = new AttributeWriter().text(1, table);
  const flags = NLM_F_DUMP;
  return request({ op: "nft.rule.list", subject: table, type: NFT_MSG_GETRULE, flags, attributes });
}

/** Chain and tag of a dumped rule. */
export function readRule(payload: Buffer): { chain: string; tag: string } {
  const attributes = readAttributes(payload.subarray(4));
  const chain = attributeText(attributes.get(NFTA_RULE_CHAIN)) ?? "";
  return { chain, tag: attributeText(attributes.get(NFTA_RULE_USERDATA)?.subarray(2)) ?? "" };
}

/** What is to be done with elements of a set; `attributes` name the table, the set and the elements. */
export interface ElementRequest {
  readonly op: "add" | "add-new" | "delete" | "find";
  readonly subject: string;
  readonly attributes: AttributeWriter;
}

const elementTypes = {
  add: { type: NFT_MSG_NEWSETELEM, flags: NLM_F_CREATE, op: "nft.element.add" },
  "add-new": { type: NFT_MSG_NEWSETELEM, flags: NLM_F_CREATE | NLM_F_EXCL, op: "nft.element.add" },
  delete: { type: NFT_MSG_DELSETELEM, flags: 0, op: "nft.element.delete" },
  find: { type: NFT_MSG_GETSETELEM, flags: 0, op: "nft.element.get" },
} as const;

/** `add` takes an element that is there and equal for done; `add-new` refuses it. */
export function element({ op, subject, attributes }: ElementRequest): NetlinkMessage {
  return request({ ...elementTypes[op], subject, attributes });
}

/** Asks for all elements of a set. */
export function getElements(table: string, set: string): NetlinkMessage {
  return request({
    op: "nft.element.list",
    subject: `${table} ${set}`,
    type: NFT_MSG_GETSETELEM,
    flags: NLM_F_DUMP,
    attributes: new AttributeWriter().text(1, table).text(2, set),
  });
}

/** Asks for the generation of the rule set, which every change of anybody raises. */
export function getGeneration(): NetlinkMessage {
  const attributes = new AttributeWriter();
  return request({ op: "nft.generation", subject: "the rule set", type: NFT_MSG_GETGEN, attributes });
}

/** Its number. */
export function readGeneration(payload: Buffer): number {
  return readAttributes(payload.subarray(4)).get(1)?.readUInt32BE(0) ?? 0;
}
