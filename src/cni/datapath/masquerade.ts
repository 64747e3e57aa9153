/**
 * Masquerade of the pod networks: one static rule over a set, in a table of our own. A pod never changes it, neither by
 * coming nor by going; networks are only ever added. `Nft.removeTable(masqueradeTable)` takes it all away.
 */
import { asTrivetError, isKind, TrivetError } from "../../errors.ts";
import type { MasqueradeState, Nft } from "../../host/nft.ts";
import { contains, formatNetwork, type IpNetwork, networkOf, parseCidr } from "../ipam/address.ts";

/** Family `inet`. Shown by `nft list table inet trivet`. */
export const masqueradeTable = "trivet";

/** One per process: it remembers what it has installed. */
export interface Masquerade {
  /** Makes sure that what leaves these networks is masqueraded. After the first time it costs nothing. */
  ensure(networks: readonly IpNetwork[]): Promise<void>;
}

/** The argument of `Nft.writeMasquerade`: networks as `10.88.0.0/16`. */
export interface MasqueradeChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** What is missing; undefined if nothing is. An interval set takes no overlaps, so a wider network replaces narrower ones. */
export function planMasquerade(
  state: MasqueradeState,
  wanted: readonly IpNetwork[],
): MasqueradeChange | undefined {
  const present = state.cidrs.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [networkOf(cidr)] : [];
  });
  const widestFirst = [...wanted].sort((left, right) => left.prefixLength - right.prefixLength);
  const add: IpNetwork[] = [];
  for (const network of widestFirst) {
    if (![...present, ...add].some((wider) => holds(wider, network))) add.push(network);
  }
  const remove = present.filter((network) => add.some((wider) => holds(wider, network)));
  if (state.ruleInstalled && add.length === 0) return undefined;
  return { add: add.map(formatNetwork), remove: remove.map(formatNetwork) };
}

function holds(wider: IpNetwork, narrower: IpNetwork): boolean {
  return wider.prefixLength <= narrower.prefixLength && contains(wider, narrower.base);
}

/** Kind `unsupported`, which needs key and value, where the kernel lacks nf_tables; otherwise as it was. */
function explain(error: unknown): never {
  const { kind, op, subject, message } = asTrivetError(error, "nft.masquerade", masqueradeTable);
  throw new TrivetError({
    ...{ kind, op, subject, cause: error },
    message: `ipMasq is true, and the kernel refuses the rule (${message}): load its modules nf_tables and nft_masq, or set ipMasq to false`,
  });
}

/** Another process may change the set between our look and our write: look again, a few times. */
const TRIES = 3;

/** Installs one change at a time; what the kernel has already is left alone. */
export function createMasquerade(nft: Nft): Masquerade {
  const known = new Set<string>();
  let last: Promise<void> = Promise.resolve();
  const install = async (networks: readonly IpNetwork[], triesLeft: number): Promise<void> => {
    const change = planMasquerade(await nft.readMasquerade(masqueradeTable), networks);
    if (!change) return;
    try {
      await nft.writeMasquerade(masqueradeTable, change);
    } catch (error) {
      if (triesLeft <= 1 || !isKind(error, "conflict", "not-found")) throw error;
      await install(networks, triesLeft - 1);
    }
  };
  return {
    async ensure(networks) {
      const missing = () => networks.filter((network) => !known.has(formatNetwork(network)));
      if (missing().length === 0) return;
      const turn = last.then(async () => {
        const rest = missing();
        if (rest.length === 0) return;
        await install(rest, TRIES).catch(explain);
        for (const network of rest) known.add(formatNetwork(network));
      });
      last = turn.catch(() => undefined); // whoever asked gets the failure; the next one tries again
      await turn;
    },
  };
}
