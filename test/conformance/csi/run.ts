/** Runs rules one after another against a driver: kept, broken or not applicable, each with its reason. */
import { NotApplicable, type Rule } from "./rule.ts";
import { type Connection, createWorld, type WorldOptions } from "./world.ts";

export interface Verdict {
  readonly title: string;
  readonly result: "kept" | "broken" | "not applicable";
  /** What is wrong, or why the rule says nothing about this driver. */
  readonly reason?: string;
  readonly ms: number;
}

/** Never throws for a rule: what it throws is its verdict. */
export async function runRules(
  connection: Connection,
  options: WorldOptions,
  { rules, onVerdict }: { readonly rules: readonly Rule[]; readonly onVerdict?: (verdict: Verdict) => void },
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const rule of rules) {
    const started = performance.now();
    const outcome = await judge(connection, options, rule);
    const verdict = { title: rule.title, ...outcome, ms: performance.now() - started };
    verdicts.push(verdict);
    onVerdict?.(verdict);
  }
  return verdicts;
}

async function judge(
  connection: Connection,
  options: WorldOptions,
  rule: Rule,
): Promise<Pick<Verdict, "result" | "reason">> {
  const missing = (rule.needs ?? []).filter((capability) => !connection.capabilities.has(capability));
  if (missing.length > 0) {
    return { result: "not applicable", reason: `the driver does not offer ${missing.join(", ")}` };
  }
  if (rule.access && rule.access !== options.access) {
    return { result: "not applicable", reason: `about volumes of access type ${rule.access}` };
  }
  const world = createWorld(connection, options);
  const broken: string[] = [];
  let reason: string | undefined;
  try {
    await rule.run(world);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof NotApplicable) reason = message;
    else broken.push(message);
  }
  await world.cleanUp().catch((error: Error) => broken.push(error.message));
  if (broken.length > 0) return { result: "broken", reason: broken.join("; ") };
  return reason === undefined ? { result: "kept" } : { result: "not applicable", reason };
}
