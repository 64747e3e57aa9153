/** The demo's report: short, aligned, with the time of each step. Colour only on a terminal. */
import { styleText } from "node:util";

export interface Report {
  /** A line above everything, and the last one. */
  banner(text: string): void;
  section(title: string): void;
  /** A finished step with its time and what came out of it. */
  step(name: string, ms: number, detail: string): void;
  failed(name: string, ms: number, reason: string): void;
  /** Something shown: what, and the evidence. */
  show(name: string, evidence: string): void;
  /** Lines as they are, such as those of a log. */
  lines(lines: readonly string[]): void;
}

const NAME_WIDTH = 22;
const TIME_WIDTH = 9;

type Style = Parameters<typeof styleText>[0];

export function createReport(out: NodeJS.WritableStream & { isTTY?: boolean }): Report {
  const paint = (style: Style, text: string) => (out.isTTY === true ? styleText(style, text) : text);
  const write = (line: string) => void out.write(`${line.trimEnd()}\n`);
  const time = (ms: number) => `${ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`.padStart(TIME_WIDTH);
  return {
    banner: (text) => write(paint("bold", text)),
    section: (title) => write(`\n${paint("bold", title)}`),
    step: (name, ms, detail) => write(`  ${name.padEnd(NAME_WIDTH)}${paint("cyan", time(ms))}  ${detail}`),
    failed: (name, ms, reason) =>
      write(`  ${paint("red", name.padEnd(NAME_WIDTH))}${time(ms)}  ${paint("red", "failed")}: ${reason}`),
    show: (name, evidence) => write(`  ${name.padEnd(NAME_WIDTH)}${evidence}`),
    lines(lines) {
      for (const line of lines) write(`    ${paint("dim", line)}`);
    },
  };
}
