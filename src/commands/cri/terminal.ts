/** Colours, bars and durations of tables about calls. Without a terminal there are none of the first two. */

export interface Look {
  readonly colour: boolean;
}

/** As stdout allows; see https://no-color.org. */
export function lookOf(stdout: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Look {
  return { colour: stdout.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb" };
}

const codes = { red: 31, green: 32, yellow: 33, dim: 2 } as const;

export function paint(text: string, colour: keyof typeof codes, look: Look): string {
  return look.colour ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text;
}

/** `85us`, `21.4ms`, `1.25s`, `3m05s`; `-` for what was not measured. */
export function formatMs(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return "-";
  if (ms < 1) return `${Math.round(ms * 1_000)}us`;
  if (ms < 1_000) return `${ms < 100 ? ms.toFixed(1) : Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(2)}s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
}

const eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of up to `width` cells for a share of 0 to 1; something visible for anything above 0. */
export function bar(share: number, width: number): string {
  const cells = Math.min(Math.max(share, 0), 1) * width;
  const whole = Math.floor(cells);
  const rest = eighths[Math.floor((cells - whole) * 8)] ?? "";
  const drawn = "█".repeat(whole) + rest;
  return drawn === "" && share > 0 ? "▏" : drawn;
}
