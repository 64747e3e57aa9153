/** Runs rules against a subject: each on every version that both the rule and the plugin have, one after the other. */
import { type Rule, type RuleContext, type Subject, Violation } from "./rule.ts";
import { createRuntime } from "./runtime.ts";

/** The versions of the specification that have rules here, oldest first. */
export const specVersions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type Verdict = "pass" | "FAIL" | "n/a";

export interface RuleResult {
  readonly rule: Rule;
  readonly verdict: Verdict;
  /** What was wrong, or why it does not apply. */
  readonly why: string;
}

/** What VERSION says; empty if that cannot be read. */
export async function versionsOf(subject: Subject): Promise<string[]> {
  const { stdout } = await subject.call(
    { CNI_COMMAND: "VERSION", CNI_PATH: subject.cniPath },
    '{"cniVersion":"1.0.0"}',
  );
  try {
    const { supportedVersions } = JSON.parse(stdout) as { supportedVersions?: unknown };
    return Array.isArray(supportedVersions) ? supportedVersions.map(String) : [];
  } catch {
    return [];
  }
}

/** The versions on which a rule is judged for a plugin that speaks `supported`. */
export function versionsFor({ since = specVersions[0] }: Rule, supported: readonly string[]): string[] {
  const first = specVersions.indexOf(since as "0.3.1");
  return specVersions.slice(first).filter((version) => supported.includes(version));
}

/** Undefined if the plugin keeps the rule. What else goes wrong than a violation is thrown on. */
export async function judge(rule: Rule, context: RuleContext): Promise<string | undefined> {
  const runtime = createRuntime(context);
  try {
    await rule.judge(runtime);
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  } finally {
    await runtime.end();
  }
}

export async function runRule(
  rule: Rule,
  subject: Subject,
  supported: readonly string[],
): Promise<RuleResult> {
  const versions = versionsFor(rule, supported);
  const excuse =
    versions.length === 0 ? `for ${rule.since} and newer, which it does not speak` : rule.excused?.(subject);
  if (excuse) return { rule, verdict: "n/a", why: excuse };
  const broken = new Map<string, string[]>();
  for (const version of versions) {
    const why = await judge(rule, { subject, version });
    if (why) broken.set(why, [...(broken.get(why) ?? []), version]);
  }
  if (broken.size === 0) return { rule, verdict: "pass", why: versions.join(" ") };
  const why = [...broken].map(([text, where]) => `${where.join(" ")}: ${text}`).join("; ");
  return { rule, verdict: "FAIL", why };
}
