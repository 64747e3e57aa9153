/**
 * Trivet's table of nf_tables rules, in one transaction a call at most. An ADD without host ports asks for the generation of
 * the rule set alone; if that has moved, whoever moved it, it looks at the static rules too. Rules that are gone, as after
 * `nft flush ruleset`, come back with the next ADD, for all pods that have a record. `Nft.removeTable` takes it all away.
 */
import { asTrivetError, isKind, TrivetError } from "../../errors.ts";
import type { HostPort, RuleChange, RulePart, RulesState } from "../../host/nft.ts";
import type { CniDeps } from "../deps.ts";
import type { IpNetwork } from "../ipam/address.ts";
import type { AttachmentKey } from "../state/paths.ts";
import { describePort, holderOf, meet } from "./host-ports.ts";
import { planMasquerade } from "./masquerade.ts";
import { type Recorded, readRecorded } from "./recorded.ts";
import { restoreRules } from "./repair.ts";
import { ruleTable } from "./rule-table.ts";

/** What an ADD needs to be there. */
export interface RulesWanted {
  readonly key: AttachmentKey;
  readonly stateDir: string;
  /** To be masqueraded; none where ipMasq is false. */
  readonly networks: readonly IpNetwork[];
  readonly ports: readonly HostPort[];
  /** Of the pod, where it has ports and is on a bridge. */
  readonly bridge: string | undefined;
}

/** One per process: it remembers which generation of the rules it has seen. */
export interface Rules {
  /** Throws kind `conflict`, naming the pod, if another one has one of the ports. */
  ensure(wanted: RulesWanted): Promise<void>;
}

/** Another program may change rules between our look and our write: look again, as often as this. */
const TRIES = 20;

type Deps = Pick<CniDeps, "nft" | "files" | "bootId">;

/** One change at a time: what another process does meanwhile is noticed by the generation. */
export function createRules(deps: Deps): Rules {
  let state: RulesState | undefined;
  let last: Promise<void> = Promise.resolve();
  const look = async (): Promise<RulesState> => {
    if (!state || state.generation !== (await deps.nft.generation()))
      state = await deps.nft.readRules(ruleTable);
    return state;
  };
  const attempt = async (wanted: RulesWanted): Promise<void> => {
    let present = await look();
    const needed = neededParts(wanted);
    if (needed.some((part) => !present.parts.includes(part))) {
      // Where rules are missing that a pod needs, those of the other pods are missing too.
      const recorded = await readRecorded(deps, wanted);
      if (await restoreRules(deps.nft, recorded)) present = await look();
    }
    const change = await planRules(deps, present, wanted);
    if (!change) return;
    await deps.nft.write(ruleTable, change, present.generation);
    state = afterChange(present, change);
  };
  const retry = async (wanted: RulesWanted, triesLeft: number): Promise<void> => {
    try {
      await attempt(wanted);
    } catch (error) {
      state = undefined; // whatever is the matter, the next look is a fresh one
      if (triesLeft <= 1 || !isKind(error, "busy")) throw error;
      await retry(wanted, triesLeft - 1);
    }
  };
  return {
    async ensure(wanted) {
      if (wanted.networks.length === 0 && wanted.ports.length === 0) return;
      const turn = last.then(() => retry(wanted, TRIES).catch((error: unknown) => explain(error, wanted)));
      last = turn.catch(() => undefined); // whoever asked gets the failure; the next one tries again
      await turn;
    },
  };
}

/** A commit in an unchanged generation makes the next one. */
function afterChange(present: RulesState, { install = [], networks }: RuleChange): RulesState {
  return {
    generation: present.generation + 1,
    parts: [...new Set([...present.parts, ...install])],
    networks: [
      ...present.networks.filter((cidr) => !networks?.remove.includes(cidr)),
      ...(networks?.add ?? []),
    ],
  };
}

function neededParts({ networks, ports }: RulesWanted): RulePart[] {
  return [
    ...(networks.length > 0 ? ["masquerade" as const] : []),
    ...(ports.length > 0 ? ["ports" as const] : []),
  ];
}

/** Undefined if all is there. */
async function planRules(
  deps: Deps,
  present: RulesState,
  wanted: RulesWanted,
): Promise<RuleChange | undefined> {
  const install = neededParts(wanted).filter((part) => !present.parts.includes(part));
  const networks = planMasquerade(present.networks, wanted.networks);
  const ofPorts = wanted.ports.length > 0 ? await planPorts(deps, wanted) : undefined;
  if (install.length === 0 && !networks && !ofPorts) return undefined;
  return { install, ...(networks && { networks }), ...ofPorts };
}

async function planPorts(deps: Deps, wanted: RulesWanted): Promise<RuleChange> {
  const orphans = await claimable(deps, wanted);
  return {
    ports: { add: wanted.ports, remove: orphans },
    hairpins: { add: [...new Set(wanted.ports.map(({ podAddress }) => podAddress))], remove: [] },
    bridges: wanted.bridge === undefined ? [] : [wanted.bridge],
  };
}

/** What stands in the way and belongs to nobody. Throws if it belongs to a pod. */
async function claimable(deps: Deps, { key, stateDir, ports }: RulesWanted): Promise<readonly HostPort[]> {
  const { ports: taken } = await deps.nft.findPorts(ruleTable, ports);
  if (taken.length === 0) return [];
  const { others } = await readRecorded(deps, { key, stateDir });
  for (const port of taken) {
    const holder = holderOf(port, others);
    const mine = ports.find((one) => meet(one, port)) ?? port;
    if (holder) throw portTaken(describePort(mine), holder);
  }
  return taken;
}

function portTaken(what: string, { pod, containerId }: Recorded["others"][number]): TrivetError {
  const who =
    pod.name === ""
      ? `container ${containerId}`
      : `pod ${pod.namespace}/${pod.name} (container ${containerId})`;
  return new TrivetError({
    kind: "conflict",
    op: "port.claim",
    subject: what,
    message: `${what} is taken by ${who}: let it go first, or choose another host port`,
  });
}

/** Kind `unsupported`, which needs key and value, where the kernel lacks something; otherwise as it was. */
function explain(error: unknown, { ports }: RulesWanted): never {
  const { kind, op, subject, message } = asTrivetError(error, "nft.write", ruleTable);
  if (!op.startsWith("nft.") && op !== "socket") throw error;
  const remedy =
    ports.length === 0
      ? "ipMasq is true, and the kernel refuses the rules (MESSAGE): load its modules nf_tables and nft_masq, or set ipMasq to false"
      : "portMappings asks for host ports, and the kernel refuses the rules (MESSAGE): load its modules nf_tables, nft_nat, nft_fib_inet, nft_ct and nft_masq";
  throw new TrivetError({
    ...{ kind, op, subject, cause: error },
    message: remedy.replace("MESSAGE", () => message),
  });
}
