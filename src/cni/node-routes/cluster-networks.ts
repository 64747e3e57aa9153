/**
 * Keeps the pod networks of all nodes among those on the way to which nothing is masqueraded: a pod reaches a pod of another node
 * with its own address (the Kubernetes network model), or policies there would see a node instead. Looked at every few seconds.
 */
import { asTrivetError } from "../../errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Nft } from "../../host/nft.ts";
import type { Log } from "../../observe/log.ts";
import { ruleTable } from "../datapath/rule-table.ts";
import { contains, formatNetwork, type IpNetwork, networkOf, parseCidr } from "../ipam/address.ts";

interface ClusterNetworksOptions {
  readonly nft: Nft;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the configuration. */
  readonly staticNetworks: readonly IpNetwork[];
  /** Whether nodes will be told: until then nothing that is there is removed. */
  readonly awaitsNodes: boolean;
}

/** Runs until it is stopped. */
export interface ClusterNetworks {
  /** The networks of all nodes, this one's too, as CIDRs; replaces what was said before. */
  learn(cidrs: readonly string[]): void;
  /** One pass, after those under way. Never rejects. */
  pass(): Promise<void>;
  stop(): Promise<void>;
}

const PASS_MS = 10_000;
/** More would not fit into a socket's buffer. */
const NETWORKS_AT_ONCE = 1_000;

/** Begins with a pass at once. Makes no rules where there is no network. */
export function keepClusterNetworks(options: ClusterNetworksOptions): ClusterNetworks {
  const { nft, clock, log, staticNetworks, awaitsNodes } = options;
  const stopping = new AbortController();
  let wanted = awaitsNodes ? undefined : outermost(staticNetworks);
  /** In which nothing was missing. */
  let settledIn: number | undefined;
  let told = "";
  const once = async () => {
    if (!wanted || settledIn === (await nft.generation())) return;
    settledIn = await settle(nft, wanted);
  };
  const quietly = async () => {
    try {
      await once();
      told = "";
    } catch (error) {
      const { message } = asTrivetError(error, "cluster-networks.pass", ruleTable);
      if (message !== told) log.warn("pods of other nodes may see this node's address", { error: message });
      told = message;
    }
  };
  let turn = Promise.resolve();
  const pass = () => {
    turn = turn.then(quietly);
    return turn;
  };
  const run = async () => {
    while (!stopping.signal.aborted) {
      await pass();
      await clock.sleep(PASS_MS, stopping.signal).catch(() => undefined);
    }
  };
  const running = run();
  return {
    learn(cidrs) {
      const next = outermost([...staticNetworks, ...cidrs.flatMap(toNetwork)]);
      if (wanted && next.length === wanted.length && next.every((cidr, index) => cidr === wanted?.[index]))
        return;
      wanted = next;
      settledIn = undefined;
      if (!stopping.signal.aborted) void pass();
    },
    pass,
    async stop() {
      stopping.abort();
      await Promise.all([running, turn]);
    },
  };
}

/** The generation in which all was as wanted, or undefined: then something was changed, and is looked at once more. */
async function settle(nft: Nft, wanted: readonly string[]): Promise<number | undefined> {
  const { networks, generation } = await nft.readClusterNetworks(ruleTable);
  const present = new Set(networks);
  const kept = new Set(wanted);
  // What goes comes first: a network that comes may overlap it.
  const changes = [
    ...networks.filter((cidr) => !kept.has(cidr)).map((cidr) => ({ cidr, to: "remove" })),
    ...wanted.filter((cidr) => !present.has(cidr)).map((cidr) => ({ cidr, to: "add" })),
  ];
  const parts = wanted.length > 0 ? (await nft.readRules(ruleTable)).parts : undefined;
  const install = parts?.includes("masquerade") === false ? (["masquerade"] as const) : [];
  if (changes.length + install.length === 0) return generation;
  for (let start = 0; start < Math.max(changes.length, 1); start += NETWORKS_AT_ONCE) {
    const part = changes.slice(start, start + NETWORKS_AT_ONCE);
    const of = (what: string) => part.filter(({ to }) => to === what).map(({ cidr }) => cidr);
    const clusterNetworks = { add: of("add"), remove: of("remove") };
    await nft.write(ruleTable, { install: start === 0 ? install : [], clusterNetworks });
  }
  return undefined;
}

function toNetwork(text: string): IpNetwork[] {
  const cidr = parseCidr(text);
  return cidr ? [networkOf(cidr)] : [];
}

/** Sorted, without those that lie in another one: an interval set takes no overlaps. Never everything. */
function outermost(networks: readonly IpNetwork[]): string[] {
  const kept: IpNetwork[] = [];
  for (const network of networks.filter(({ prefixLength }) => prefixLength > 0).sort(compare)) {
    const last = kept.at(-1);
    if (!last || !contains(last, network.base)) kept.push(network);
  }
  return kept.map(formatNetwork);
}

/** A network that holds another comes right before what it holds. */
function compare(left: IpNetwork, right: IpNetwork): number {
  if (left.base.family !== right.base.family) return left.base.family - right.base.family;
  if (left.base.value !== right.base.value) return left.base.value < right.base.value ? -1 : 1;
  return left.prefixLength - right.prefixLength;
}
