/** What doctor found, for people: a table, and below it what is wrong, what follows from it and what to do. */
import { formatTable } from "../table.ts";
import { countLevels, type Finding, type Level } from "./finding.ts";

export interface ReportOptions {
  /** Also what is as it should be. */
  readonly all: boolean;
  readonly colour: boolean;
}

const colours: Readonly<Record<Level, string>> = { error: "31", warning: "33", unknown: "36", ok: "32" };

/** Without `all` only what is wrong or unknown has a line. */
export function formatReport(findings: readonly Finding[], { all, colour }: ReportOptions): string {
  const paint = (level: Level, text: string) => (colour ? `\u001b[${colours[level]}m${text}\u001b[0m` : text);
  const shown = all ? findings : findings.filter(({ level }) => level !== "ok");
  const rows = shown.map(({ level, area, subject, cause }) => [level, area, subject, cause]);
  const lines = shown.length > 0 ? formatTable(["LEVEL", "AREA", "SUBJECT", "FOUND"], rows).split("\n") : [];
  const table = lines
    .map((line, index) => {
      const level = shown[index - 1]?.level;
      return level === undefined
        ? line
        : paint(level, line.slice(0, level.length)) + line.slice(level.length);
    })
    .join("\n");
  const wrong = shown.flatMap((finding, index) => ("remedy" in finding ? [{ finding, index }] : []));
  const details = wrong.map(({ finding }) =>
    [
      `${paint(finding.level, finding.level)} ${finding.area}, ${finding.subject}: ${finding.cause}`,
      `  consequence: ${finding.consequence}`,
      `  remedy:      ${finding.remedy}`,
    ].join("\n"),
  );
  return [table, ...details.map((text) => `${text}\n`), summaryOf(findings)].filter(Boolean).join("\n");
}

function summaryOf(findings: readonly Finding[]): string {
  const { error, warning, unknown, ok } = countLevels(findings);
  const rest = unknown > 0 ? `, ${unknown} could not be looked at` : "";
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;
  return `${count(error, "error")}, ${count(warning, "warning")}, ${ok} as it should be${rest}\n`;
}
