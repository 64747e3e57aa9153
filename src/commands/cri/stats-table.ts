/** Sums of calls as a table, with bars where there is a terminal for them. */
import { formatTable } from "../table.ts";
import type { MethodStats } from "./call-stats.ts";
import { bar, formatMs, type Look, paint } from "./terminal.ts";

const BAR_CELLS = 20;

/** One line a method. The bar is its share of all calls. */
export function statsTable(stats: readonly MethodStats[], look: Look & { readonly bars: boolean }): string {
  const total = stats.reduce((sum, { count }) => sum + count, 0);
  if (total === 0) return "No calls.\n";
  const heading = [
    "METHOD",
    "CALLS",
    "ERRORS",
    "RUNTIME P50",
    "P99",
    "OURS P50",
    "P99",
    ...(look.bars ? ["SHARE"] : []),
  ];
  const rows = stats.map((method) => [
    method.method.replace(/[^\x20-\x7e]/g, "?"),
    String(method.count),
    String(method.errors),
    ...[method.runtimeP50, method.runtimeP99, method.ownP50, method.ownP99].map(formatMs),
    ...(look.bars ? [bar(method.count / total, BAR_CELLS)] : []),
  ]);
  const [top = heading, ...aligned] = alignRight([heading, ...rows], [1, 2, 3, 4, 5, 6]);
  const lines = formatTable(top, aligned).split("\n");
  // Colours last: they have no width.
  const painted = lines.map((line, index) =>
    (stats[index - 1]?.errors ?? 0) > 0 ? paint(line, "red", look) : line,
  );
  return painted.join("\n");
}

/** Pads these columns on the left to the width of their widest cell. */
function alignRight(rows: readonly string[][], columns: readonly number[]): string[][] {
  return rows.map((row) =>
    row.map((cell, column) =>
      columns.includes(column)
        ? cell.padStart(Math.max(...rows.map((other) => other[column]?.length ?? 0)))
        : cell,
    ),
  );
}
