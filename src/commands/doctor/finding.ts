/** What doctor says: one finding for each thing that it looked at. The fields are the JSON of `-o json`, so they only grow. */

/** `unknown`: it could not be looked at, and `cause` says why. */
export type Level = "ok" | "unknown" | "warning" | "error";

export type Area =
  | "kernel"
  | "daemon"
  | "storage"
  | "network"
  | "runtime"
  | "kubelet"
  | "install"
  | "sockets";

/** Something that is as it should be, or could not be looked at. */
interface Quiet {
  readonly level: "ok" | "unknown";
  readonly area: Area;
  /** What was looked at, such as `pool "fast"`. */
  readonly subject: string;
  /** What was found. */
  readonly cause: string;
}

/** Something that is not as it should be: always with what follows from it and what to do. */
interface Wrong {
  readonly level: "warning" | "error";
  readonly area: Area;
  readonly subject: string;
  readonly cause: string;
  readonly consequence: string;
  /** A sentence, with the exact command where there is one. */
  readonly remedy: string;
  /** Those of the remedy that can be typed as they are, as root on the node, in their order. */
  readonly commands?: readonly string[];
}

export type Finding = Quiet | Wrong;

const order: readonly Level[] = ["error", "warning", "unknown", "ok"];

/** The worst first; otherwise as they came. */
export function byLevel(findings: readonly Finding[]): Finding[] {
  return order.flatMap((level) => findings.filter((finding) => finding.level === level));
}

/** How many of each level there are. */
export function countLevels(findings: readonly Finding[]): Readonly<Record<Level, number>> {
  const count = (level: Level) => findings.filter((finding) => finding.level === level).length;
  return { error: count("error"), warning: count("warning"), unknown: count("unknown"), ok: count("ok") };
}

/** Findings of one area, without naming it each time. */
export function inArea(area: Area) {
  const quiet =
    (level: Quiet["level"]) =>
    (subject: string, cause: string): Finding => ({ level, area, subject, cause });
  const wrong =
    (level: Wrong["level"]) =>
    (
      subject: string,
      { cause, consequence, remedy, commands }: Pick<Wrong, "cause" | "consequence" | "remedy" | "commands">,
    ): Finding => ({
      ...{ level, area, subject, cause, consequence, remedy },
      ...(commands && commands.length > 0 ? { commands } : {}),
    });
  return { ok: quiet("ok"), unknown: quiet("unknown"), warning: wrong("warning"), error: wrong("error") };
}
