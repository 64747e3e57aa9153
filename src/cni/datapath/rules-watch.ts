/**
 * Notices within seconds that rules are gone, as after `nft flush ruleset`: until they are there again host ports are dead, and the
 * guard of the host's loopback addresses is away. Asks for the generation of the rule set alone while nobody changes it.
 */
import { asTrivetError } from "../../errors.ts";
import type { RulesState } from "../../host/nft.ts";
import type { Log } from "../../observe/log.ts";
import type { CniDeps } from "../deps.ts";
import { ruleTable } from "./rule-table.ts";

interface RulesWatchOptions {
  readonly deps: Pick<CniDeps, "nft" | "clock">;
  readonly log: Log;
  /** Makes rules again. Must not reject. */
  readonly repair: () => Promise<void>;
}

/** A running watch. */
export interface RulesWatch {
  /** One look, after those under way. Never rejects. */
  look(): Promise<void>;
  stop(): Promise<void>;
}

const LOOK_MS = 2_000;

/** Begins with a look at once. */
export function watchRules({ deps, log, repair }: RulesWatchOptions): RulesWatch {
  const { nft, clock } = deps;
  const stopping = new AbortController();
  let seen: RulesState | undefined;
  let told = "";
  const once = async () => {
    if (seen?.generation === (await nft.generation())) return;
    const before = seen;
    seen = await nft.readRules(ruleTable);
    if (before?.parts.every((part) => seen?.parts.includes(part)) !== false) return;
    await repair();
    seen = await nft.readRules(ruleTable);
  };
  const quietly = async () => {
    try {
      await once();
      told = "";
    } catch (error) {
      const { message } = asTrivetError(error, "rules.look", ruleTable);
      if (message !== told) log.warn("the rules cannot be looked at", { error: message });
      told = message;
    }
  };
  let turn = Promise.resolve();
  const look = () => {
    turn = turn.then(quietly);
    return turn;
  };
  const run = async () => {
    while (!stopping.signal.aborted) {
      await look();
      await clock.sleep(LOOK_MS, stopping.signal).catch(() => undefined);
    }
  };
  const running = run();
  return {
    look,
    async stop() {
      stopping.abort();
      await Promise.all([running, turn]);
    },
  };
}
