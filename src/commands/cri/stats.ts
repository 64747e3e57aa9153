/** `trivet cri stats`: sums up calls by method, from the call log or from the metrics of the proxy that runs. */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import type { CriConfig } from "../../config/cri.ts";
import { formatTcpAddress, type TcpAddress } from "../../config/values.ts";
import { TrivetError } from "../../errors.ts";
import { print } from "../print.ts";
import { createQuery, type QueryFlags } from "./call-query.ts";
import { createCallSource, unreadableNote } from "./call-source.ts";
import { CallStats, type MethodStats } from "./call-stats.ts";
import { addQueryFlags } from "./calls.ts";
import type { ProxySettings } from "./proxy-settings.ts";
import { difference, parseScrape, type Scrape, scrapedStats } from "./scraped-stats.ts";
import { statsTable } from "./stats-table.ts";
import { lookOf } from "./terminal.ts";

interface StatsFlags extends QueryFlags {
  readonly file?: string;
  readonly live?: boolean;
  readonly for?: string;
  readonly output: "table" | "json";
}

/** Adds the subcommand to `trivet cri`, whose settings say where log and metrics are. */
export function defineStats(cri: Command, settings: ProxySettings): void {
  const command = cri
    .command("stats")
    .description("count calls by method, with errors and the time of the runtime and of the proxy");
  settings
    .add(addQueryFlags(command))
    .option(
      "--live",
      "ask the proxy at its metrics address: all calls since it was started, none of them left out",
    )
    .option("--for <seconds>", "with --live: watch for so long, and count what came meanwhile")
    .addOption(
      command
        .createOption("-o, --output <format>", "table or json")
        .choices(["table", "json"])
        .default("table"),
    )
    .addHelpText(
      "after",
      `
RUNTIME is the time that the runtime took, OURS what the proxy added: half of the calls took up to P50, all but a
hundredth up to P99. A sample in the call log counts as all the calls that it stands for. The flags that choose calls go with
the call log alone; percentiles of --live are as coarse as the buckets of its metrics.

Examples:
  trivet cri stats --since 1h
  trivet cri stats --pod shop/ --status failed
  trivet cri stats --live --for 10 --metrics-address 127.0.0.1:9809`,
    )
    .action(async () => {
      const flags = command.opts<StatsFlags>();
      const config = await settings.read(command);
      const stats = flags.live ? await liveStats(flags, config) : await logStats(flags, config);
      if (flags.output === "json") print(`${JSON.stringify(stats, null, 2)}\n`);
      else print(statsTable(stats, { ...lookOf(process.stdout, process.env), bars: process.stdout.isTTY }));
    });
}

async function logStats(flags: StatsFlags, config: CriConfig): Promise<MethodStats[]> {
  if (flags.for !== undefined) throw invalid("--for", "goes with --live: for the call log there is --since");
  const query = createQuery(flags, Date.now());
  const source = createCallSource(flags.file, config);
  const stats = new CallStats();
  for await (const records of source.read({ sinceMs: query.sinceMs })) {
    for (const record of records) if (query.matches(record)) stats.add(record);
  }
  process.stderr.write(unreadableNote(source));
  return stats.all();
}

const queryFlags = ["file", "pod", "container", "method", "status", "policy", "slow", "since"] as const;

async function liveStats(flags: StatsFlags, { metricsAddress }: CriConfig): Promise<MethodStats[]> {
  const wrong = queryFlags.find((flag) => flags[flag] !== undefined);
  if (wrong) throw invalid(`--${wrong}`, "does not go with --live: metrics know methods only");
  if (!metricsAddress)
    throw invalid(
      "--live",
      "needs the address of the proxy's metrics: --metrics-address, or --config with its settings",
    );
  if (flags.for === undefined) return scrapedStats(await scrape(metricsAddress));
  const seconds = Number(flags.for);
  if (!(seconds > 0 && seconds <= 86_400)) throw invalid("--for", "must be a number of seconds above 0");
  const before = await scrape(metricsAddress);
  await pause(seconds * 1_000);
  return scrapedStats(difference(await scrape(metricsAddress), before));
}

const SCRAPE_TIMEOUT_MS = 10_000;

async function scrape(address: TcpAddress): Promise<Scrape> {
  const url = `http://${formatTcpAddress(address)}/metrics`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return parseScrape(await response.text());
  } catch (error) {
    const { cause, message } = error as Error & { cause?: { code?: string } };
    throw new TrivetError({
      kind: "unavailable",
      op: "cri.stats",
      subject: url,
      message: `${url} does not answer (${cause?.code ?? message}): is 'trivet cri --metrics-address ${formatTcpAddress(address)}' running?`,
      cause: error,
    });
  }
}

function invalid(flag: string, text: string): TrivetError {
  return new TrivetError({ kind: "invalid", op: "cri.stats", subject: flag, message: `${flag} ${text}` });
}
