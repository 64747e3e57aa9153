/** What a node and a pod look like, as lines, and what is different between two looks. Decides only. */

/** Lines by what they are about, such as `host link`. */
export type Picture = Readonly<Record<string, readonly string[]>>;

/** One line that came or went. */
export interface Change {
  readonly sign: "+" | "-";
  readonly part: string;
  readonly line: string;
}

/** Counters, states that settle by themselves and numbers that are given out anew are left out of a line. */
export function steadyLine(line: string): string {
  return line
    .replace(/\\\s+/g, " ")
    .replace(/^\d+: /, "")
    .replace(/@if\d+/g, "")
    .replace(/ (tentative|linkdown|dadfailed)\b/g, "")
    .replace(/ state (UP|DOWN|UNKNOWN|LOWERLAYERDOWN)\b/g, "")
    .replace(/<[^>]*>/g, (flags) => (flags.includes("UP") ? "<UP>" : "<DOWN>"))
    .replace(/ (valid_lft|preferred_lft|expires) \S+/g, "")
    .replace(/ (qdisc|group|qlen|mode) \S+/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** The kernel makes and drops link-local addresses and their routes with a delay. */
const settlesByItself = (line: string): boolean => / fe80:|^fe80::|^ff00::|^multicast ff00/.test(line);

const steady = (lines: readonly string[] = []): string[] =>
  lines.map(steadyLine).filter((line) => line !== "" && !settlesByItself(line));

/** A line that is there twice counts twice. */
export function changesBetween(before: Picture, after: Picture): Change[] {
  const parts = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return parts.flatMap((part) => {
    const [old, now] = [steady(before[part]), steady(after[part])];
    const gone = without(old, now).map((line) => ({ sign: "-" as const, part, line }));
    const come = without(now, old).map((line) => ({ sign: "+" as const, part, line }));
    return [...gone, ...come];
  });
}

function without(lines: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return lines.filter((line) => {
    const at = left.indexOf(line);
    if (at < 0) return true;
    left.splice(at, 1);
    return false;
  });
}
