/** What doctor found, for people: a table, and below it what is wrong, what follows from it and what to do. */
import { formatTable } from "../table.ts";
import { countLevels, type Finding, type Level } from "./finding.ts";

export interface ReportOptions {
  /** Also what is as it should be. */
  readonly all: boolean;
  readonly colour: boolean;
  /** Of the terminal: longer lines of the table are wrapped at blanks. Absent where nobody looks, and nothing is wrapped. */
  readonly columns?: number | undefined;
}

const colours: Readonly<Record<Level, string>> = { error: "31", warning: "33", unknown: "36", ok: "32" };
const heading = ["LEVEL", "AREA", "SUBJECT", "FOUND"] as const;
/** Where a terminal is narrower than its first columns and this, the terminal wraps. */
const NARROWEST = 20;
const GAP = 2;

/** Without `all` only what is wrong or unknown has a line. */
export function formatReport(findings: readonly Finding[], { all, colour, columns }: ReportOptions): string {
  const paint = (level: Level, text: string) => (colour ? `\u001b[${colours[level]}m${text}\u001b[0m` : text);
  const shown = all ? findings : findings.filter(({ level }) => level !== "ok");
  // Commands are not wrapped: they are there to be copied.
  const details = shown.flatMap((finding) => {
    if (!("remedy" in finding)) return [];
    const { level, area, subject } = finding;
    return [
      `${paint(level, level)} ${area}, ${plain(subject)}: ${plain(finding.cause)}`,
      `  consequence: ${plain(finding.consequence)}`,
      `  remedy:      ${plain(finding.remedy)}`,
      "",
    ];
  });
  const parts = [
    tableOf(shown, columns, paint),
    details.map((line) => `${line}\n`).join(""),
    summaryOf(findings),
  ];
  return parts
    .filter(Boolean)
    .join("\n")
    .replace(/\n{3,}/g, "\n\n");
}

function tableOf(
  shown: readonly Finding[],
  columns: number | undefined,
  paint: (level: Level, text: string) => string,
): string {
  if (shown.length === 0) return "";
  const firsts = shown.map(({ level, area, subject }) => [level, area, plain(subject)] as const);
  const widths = [0, 1, 2].map((column) =>
    Math.max(...[heading, ...firsts].map((row) => row[column]?.length ?? 0)),
  );
  const room = (columns ?? Number.POSITIVE_INFINITY) - widths.reduce((sum, width) => sum + width + GAP, 0);
  const rows = shown.flatMap(({ cause }, index) =>
    wrap(plain(cause), Math.max(NARROWEST, room)).map((line, number) =>
      number === 0 ? [...(firsts[index] ?? []), line] : ["", "", "", line],
    ),
  );
  return formatTable(heading, rows)
    .split("\n")
    .map((line) => line.replace(/^(error|warning|unknown|ok)(?= )/, (level) => paint(level as Level, level)))
    .join("\n");
}

/** One line, whatever others have put into the text; what would steer a terminal is shown as `?`. */
function plain(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replace(/\p{Cc}/gu, "?")
    .trim();
}

/** Lines of at most `width` characters, broken at blanks; a word that is longer has a line of its own. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function summaryOf(findings: readonly Finding[]): string {
  const { error, warning, unknown, ok } = countLevels(findings);
  const rest = unknown > 0 ? `, ${unknown} could not be looked at` : "";
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;
  return `${count(error, "error")}, ${count(warning, "warning")}, ${ok} as it should be${rest}\n`;
}
