/**
 * The one thing that Trivet wants of nf_tables so far: masquerade for what leaves a set of pod networks, in a table of its
 * own. Speaks nf_tables netlink, so the host needs no `nft` program. Foreign tables are never read or touched.
 */
import type { NetlinkMessage } from "./netlink/codec.ts";
import {
  ackError,
  NETLINK_NETFILTER,
  type NetlinkConnection,
  openNetlink,
  type SocketSyscalls,
} from "./netlink/connection.ts";
import type { Netns, NetnsHandle } from "./netns.ts";
import * as messages from "./nft/messages.ts";
import { cidrsOfElements, readElements } from "./nft/sets.ts";

/** What is in the table: whether the rule is there, and the networks in its set as `10.88.0.0/16`. */
export interface MasqueradeState {
  readonly ruleInstalled: boolean;
  readonly cidrs: readonly string[];
}

/** Each method is one connection, and each change one transaction. */
export interface Nft {
  /** What a table of this name holds; nothing if there is no such table. */
  readMasquerade(table: string): Promise<MasqueradeState>;
  /**
   * In one transaction: table, set, chain and rule as they must be, and these IPv4 networks in the set. Repeatable.
   * Networks in the set that are not named stay, unless `remove` names them. They must not overlap.
   */
  writeMasquerade(
    table: string,
    change: { add: readonly string[]; remove: readonly string[] },
  ): Promise<void>;
  /** Deletes the table and all in it. Nothing happens if it is not there. */
  removeTable(table: string): Promise<void>;
}

/** `netns` is for tests: rules of another namespace than the process's own. */
export function createNft(
  syscalls: SocketSyscalls,
  where?: { readonly namespaces: Pick<Netns, "within">; readonly netns: NetnsHandle },
): Nft {
  const connect = (): NetlinkConnection => {
    const open = () => openNetlink(syscalls, NETLINK_NETFILTER);
    return where ? where.namespaces.within(where.netns, open) : open();
  };
  const transact = async (requests: readonly NetlinkMessage[]): Promise<void> => {
    await using(connect(), async (connection) => {
      const all = [messages.batchBegin(), ...requests, messages.batchEnd()];
      // A commit that deletes something waits for an RCU grace period.
      const outcomes = await connection.exchange(all, { slow: true });
      const failed = outcomes.findIndex((outcome) => outcome.ack.errno !== 0);
      const outcome = outcomes[failed];
      if (outcome) throw ackError(all[failed], outcome.ack);
    });
  };
  return {
    readMasquerade: (table) => using(connect(), (connection) => readState(connection, table)),
    writeMasquerade: (table, change) => transact(messages.masquerade(table, change)),
    // Created first: deleting what is not there would be refused, and looking first would be a race.
    removeTable: (table) => transact([messages.newTable(table), messages.deleteTable(table)]),
  };
}

async function using<T>(
  connection: NetlinkConnection,
  work: (connection: NetlinkConnection) => Promise<T>,
): Promise<T> {
  try {
    return await work(connection);
  } finally {
    connection.close();
  }
}

async function readState(connection: NetlinkConnection, table: string): Promise<MasqueradeState> {
  const rules = await dump(connection, messages.getRules(table));
  const elements = await dump(connection, messages.getElements(table));
  return {
    ruleInstalled: rules.some(messages.isOurRule),
    cidrs: cidrsOfElements(elements.flatMap(readElements)),
  };
}

const ENOENT = 2;

async function dump(connection: NetlinkConnection, request: NetlinkMessage): Promise<Buffer[]> {
  const [outcome] = await connection.exchange([request]);
  if (!outcome || outcome.ack.errno === ENOENT) return [];
  if (outcome.ack.errno !== 0) throw ackError(request, outcome.ack);
  return outcome.replies.map((reply) => reply.payload);
}
