/** Changes of small text files as a unified diff, for people to look at before they agree. Pure. */

const CONTEXT = 3;

interface Line {
  readonly sign: " " | "-" | "+";
  readonly text: string;
}

/** Empty for no change. `before` is undefined for a file that is not there. */
export function unifiedDiff(path: string, before: string | undefined, after: string): string {
  if (before === after) return "";
  const lines = compare(linesOf(before ?? ""), linesOf(after));
  const hunks = hunksOf(lines).map(({ from, to }) => formatHunk(lines, from, to));
  return `--- ${before === undefined ? "/dev/null" : path}\n+++ ${path}\n${hunks.join("")}`;
}

/** With their newlines; the last one may lack it. */
const linesOf = (text: string) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

/** By the longest common subsequence: these files have some hundred lines. */
function compare(a: readonly string[], b: readonly string[]): Line[] {
  const table = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  const at = (i: number, j: number) => table[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const row = table[i];
      if (row) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && a[i] === b[j]) {
      lines.push({ sign: " ", text: a[i] ?? "" });
      i += 1;
      j += 1;
    } else if (i < a.length && (j >= b.length || at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ sign: "-", text: a[i] ?? "" });
      i += 1;
    } else {
      lines.push({ sign: "+", text: b[j] ?? "" });
      j += 1;
    }
  }
  return lines;
}

function hunksOf(lines: readonly Line[]): { from: number; to: number }[] {
  const hunks: { from: number; to: number }[] = [];
  for (const [index, { sign }] of lines.entries()) {
    if (sign === " ") continue;
    const [from, to] = [Math.max(0, index - CONTEXT), Math.min(lines.length, index + CONTEXT + 1)];
    const last = hunks.at(-1);
    if (last && from <= last.to) last.to = to;
    else hunks.push({ from, to });
  }
  return hunks;
}

function formatHunk(lines: readonly Line[], from: number, to: number): string {
  const count = (part: readonly Line[], without: Line["sign"]) =>
    part.filter(({ sign }) => sign !== without).length;
  const [earlier, shown] = [lines.slice(0, from), lines.slice(from, to)];
  const range = (without: Line["sign"]) => {
    const length = count(shown, without);
    return `${count(earlier, without) + (length === 0 ? 0 : 1)},${length}`;
  };
  const body = shown.map(
    ({ sign, text }) => `${sign}${text.endsWith("\n") ? text : `${text}\n\\ No newline at end of file\n`}`,
  );
  return `@@ -${range("+")} +${range("-")} @@\n${body.join("")}`;
}
