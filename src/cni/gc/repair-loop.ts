/** The part of the agent's loop that is about rules and not about pods: what another program flushed is made again. */
import { asTrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import { repairRules } from "../datapath/repair.ts";
import type { CniDeps } from "../deps.ts";

/** Never rejects: what the kernel refuses now, the next look tries again. */
export async function repairQuietly(deps: CniDeps, stateDir: string, log: Log): Promise<void> {
  try {
    const { installed, networksAdded, portsAdded, portsRemoved } = await repairRules(deps, { stateDir });
    if (installed.length + networksAdded + portsAdded + portsRemoved === 0) return;
    log.warn("rules were repaired", { installed: [...installed], networksAdded, portsAdded, portsRemoved });
  } catch (error) {
    const { message } = asTrivetError(error, "rules.repair", stateDir);
    log.warn("rules cannot be repaired", { error: message });
  }
}
