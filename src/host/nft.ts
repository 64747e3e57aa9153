/**
 * What Trivet wants of nf_tables: masquerade for what leaves a set of pod networks, and host ports, in one table of its own.
 * Speaks nf_tables netlink, so the host needs no `nft` program. Foreign tables are never read or touched.
 */
import { isKind, TrivetError } from "../errors.ts";
import { type NetlinkMessage, NLM_F_ACK } from "./netlink/codec.ts";
import {
  ackError,
  NETLINK_NETFILTER,
  type NetlinkConnection,
  type NetlinkOutcome,
  openNetlink,
  type SocketSyscalls,
} from "./netlink/connection.ts";
import type { Netns, NetnsHandle } from "./netns.ts";
import { encodeRuleChange } from "./nft/change.ts";
import type { Family, RulePart } from "./nft/layout.ts";
import { allFamilies, bridgeSet, families, installedParts } from "./nft/layout.ts";
import * as messages from "./nft/messages.ts";
import {
  type HostPort,
  type HostPortKey,
  mapOf,
  portKeyElement,
  readBridge,
  readHairpin,
  readPort,
} from "./nft/ports.ts";
import { cidrsOfElements, readElements, type SetElement, writeElements } from "./nft/sets.ts";

export type { RulePart } from "./nft/layout.ts";
export type { HostPort, HostPortKey } from "./nft/ports.ts";

/** What does not change with pods. */
export interface RulesState {
  /** Of all rules of the network namespace: every change of anybody raises it. */
  readonly generation: number;
  /** The parts of which every rule is there, as this release makes them. */
  readonly parts: readonly RulePart[];
  /** Networks whose traffic to elsewhere is masqueraded, as `10.88.0.0/16`. */
  readonly networks: readonly string[];
}

/** What pods have put in. */
export interface PortsState {
  readonly generation: number;
  readonly ports: readonly HostPort[];
  /** Addresses of pods that may reach themselves through the host. */
  readonly hairpins: readonly string[];
  /** Bridges whose pods may reach one another through the host. */
  readonly bridges: readonly string[];
}

/** Networks are CIDRs of either family without host bits. */
export interface RuleChange {
  /** Parts to make, whatever of them is there already. They must be there for the rest. */
  readonly install?: readonly RulePart[];
  /** Those of one family must not overlap; the ones that are neither named here nor there stay. */
  readonly networks?: { readonly add: readonly string[]; readonly remove: readonly string[] };
  /** Of pods anywhere in the cluster: nothing is masqueraded on its way there. As `networks`; adding is repeatable. */
  readonly clusterNetworks?: { readonly add: readonly string[]; readonly remove: readonly string[] };
  /**
   * A port that is taken is refused, with kind `conflict`. Removing is repeatable, and refused likewise where the port
   * leads to something else.
   */
  readonly ports?: { readonly add: readonly HostPort[]; readonly remove: readonly HostPort[] };
  /** Addresses of pods. Both are repeatable. */
  readonly hairpins?: { readonly add: readonly string[]; readonly remove: readonly string[] };
  /** Names of bridges. Repeatable. */
  readonly bridges?: readonly string[];
}

/** Each method is one connection, and each change one transaction. */
export interface Nft {
  generation(): Promise<number>;
  /** What a table of this name holds; nothing if there is no such table. */
  readRules(table: string): Promise<RulesState>;
  /** Apart from the rest, since each node of the cluster has one. */
  readClusterNetworks(table: string): Promise<Pick<RulesState, "generation" | "networks">>;
  /** All of it: for repairs, since it takes the longer the more ports there are. */
  readPorts(table: string): Promise<PortsState>;
  /** What stands in the way of these: ports of the same family, protocol and number whose host addresses are not apart. */
  findPorts(table: string, wanted: readonly HostPortKey[]): Promise<Pick<PortsState, "generation" | "ports">>;
  /** In one transaction. Kind `busy`, and nothing has changed, if `generation` is given and has passed. */
  write(table: string, change: RuleChange, generation?: number): Promise<void>;
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
  const transact = (requests: readonly NetlinkMessage[], generation?: number): Promise<void> =>
    using(connect(), async (connection) => {
      const all = [messages.batchBegin(generation), ...requests.map(quietButLast), messages.batchEnd()];
      // A commit that deletes something waits for an RCU grace period.
      throwFirst(all, await connection.exchange(all, { slow: true }).catch(toBusy));
    });
  return {
    generation: () => using(connect(), readGeneration),
    readRules: (table) => using(connect(), (connection) => readRules(connection, table)),
    readClusterNetworks: (table) =>
      using(connect(), async (connection) => ({
        generation: await readGeneration(connection),
        networks: await readNetworks(connection, table, "cluster"),
      })),
    readPorts: (table) => using(connect(), (connection) => readPorts(connection, table)),
    findPorts: (table, wanted) => using(connect(), (connection) => findPorts(connection, table, wanted)),
    write: (table, change, generation) => transact(encodeRuleChange(table, change), generation),
    // Created first: deleting what is not there would be refused, and looking first would be a race.
    removeTable: (table) => transact([messages.newTable(table), messages.deleteTable(table)]),
  };
}

/** A refusal is told in any case; hundreds of acknowledgements would not fit into the socket's buffer. */
function quietButLast(
  request: NetlinkMessage,
  index: number,
  all: readonly NetlinkMessage[],
): NetlinkMessage {
  return index === all.length - 1 ? request : { ...request, flags: request.flags & ~NLM_F_ACK };
}

function throwFirst(all: readonly NetlinkMessage[], outcomes: readonly NetlinkOutcome[]): void {
  const failed = outcomes.findIndex((outcome) => outcome.ack.errno !== 0);
  const outcome = outcomes[failed];
  if (outcome) toBusy(ackError(all[failed], outcome.ack));
}

/** ERESTART on the transaction itself says that the generation has passed. */
function toBusy(error: unknown): never {
  if (
    error instanceof TrivetError &&
    error.op === "nft.transaction" &&
    /ERESTART|errno 85/.test(error.message)
  ) {
    const { op, subject } = error;
    const message = "another program changed the rule set meanwhile: try again";
    throw new TrivetError({ kind: "busy", op, subject, message, cause: error });
  }
  throw error;
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

async function readGeneration(connection: NetlinkConnection): Promise<number> {
  const [reply] = await ask(connection, messages.getGeneration());
  return reply ? messages.readGeneration(reply) : 0;
}

/** The generation is read first: what changes while the rest is read makes it a passed one. */
async function readRules(connection: NetlinkConnection, table: string): Promise<RulesState> {
  const generation = await readGeneration(connection);
  const rules = (await ask(connection, messages.getRules(table))).map(messages.readRule);
  const networks = await readNetworks(connection, table, "networks");
  return { generation, parts: installedParts(rules), networks };
}

async function readNetworks(
  connection: NetlinkConnection,
  table: string,
  of: "networks" | "cluster",
): Promise<string[]> {
  const found: string[] = [];
  for (const family of allFamilies) {
    found.push(...cidrsOfElements(await dump(connection, table, families[family][of])));
  }
  return found;
}

async function readPorts(connection: NetlinkConnection, table: string): Promise<PortsState> {
  const generation = await readGeneration(connection);
  const ports: HostPort[] = [];
  const hairpins: string[] = [];
  for (const family of allFamilies) {
    const { ports: map, addressPorts, hairpin } = families[family];
    for (const set of [map, addressPorts])
      ports.push(...(await dumpPorts(connection, table, { family, set })));
    hairpins.push(...(await dump(connection, table, hairpin)).map(readHairpin));
  }
  const bridges = (await dump(connection, table, bridgeSet)).map(readBridge);
  return { generation, ports, hairpins, bridges };
}

/** Ports of every address are asked for one by one; those of single addresses, which are few, are read all. */
async function findPorts(connection: NetlinkConnection, table: string, wanted: readonly HostPortKey[]) {
  const generation = await readGeneration(connection);
  const ports: HostPort[] = [];
  for (const key of wanted) {
    for (const hostIp of new Set([undefined, key.hostIp])) {
      const asked = { ...key, hostIp };
      const subject = `${key.protocol} port ${key.hostPort}`;
      const attributes = writeElements(table, mapOf(asked), [portKeyElement(asked)]);
      const replies = await ask(connection, messages.element({ op: "find", subject, attributes }));
      ports.push(...replies.flatMap(readElements).flatMap((element) => readPort(key.family, element)));
    }
  }
  const everywhere = wanted.filter(({ hostIp }) => hostIp === undefined);
  for (const family of new Set(everywhere.map((key) => key.family))) {
    const single = await dumpPorts(connection, table, { family, set: families[family].addressPorts });
    const same = (left: HostPortKey, right: HostPortKey) =>
      left.family === right.family && left.protocol === right.protocol && left.hostPort === right.hostPort;
    ports.push(...single.filter((port) => everywhere.some((key) => same(key, port))));
  }
  return { generation, ports };
}

async function dumpPorts(
  connection: NetlinkConnection,
  table: string,
  { family, set }: { readonly family: Family; readonly set: string },
): Promise<HostPort[]> {
  return (await dump(connection, table, set)).flatMap((element) => readPort(family, element));
}

async function dump(connection: NetlinkConnection, table: string, set: string): Promise<SetElement[]> {
  return (await ask(connection, messages.getElements(table, set))).flatMap(readElements);
}

/** Nothing where the table, the set or the element is not there. */
async function ask(connection: NetlinkConnection, request: NetlinkMessage): Promise<Buffer[]> {
  const [outcome] = await connection.exchange([request]);
  if (!outcome) return [];
  if (outcome.ack.errno !== 0) {
    const error = ackError(request, outcome.ack);
    if (isKind(error, "not-found")) return [];
    throw error;
  }
  return outcome.replies.map((reply) => reply.payload);
}
