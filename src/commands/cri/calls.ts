/** `trivet cri calls`: looks at the call log. */
import type { Command } from "commander";
import type { CriConfig } from "../../config/cri.ts";
import type { CallRecord } from "../../cri/record/call-record.ts";
import { TrivetError } from "../../errors.ts";
import { print } from "../print.ts";
import { createQuery, type QueryFlags } from "./call-query.ts";
import { createCallSource, unreadableNote } from "./call-source.ts";
import { createCallTable } from "./calls-table.ts";
import type { ProxySettings } from "./proxy-settings.ts";
import { lookOf } from "./terminal.ts";

interface CallsFlags extends QueryFlags {
  readonly file?: string;
  readonly follow?: boolean;
  readonly last?: string;
  readonly output: "table" | "json";
}

const DEFAULT_LAST = 50;

/** Adds the flags that choose records: those of `trivet cri stats` too. */
export function addQueryFlags(command: Command): Command {
  const several = (value: string, before: string[] | undefined) => [...(before ?? []), value];
  return command
    .option("--file <file>", "call log to read, with those put aside beside it; - for stdin")
    .option("--pod <pod>", "only of this pod: NAMESPACE/NAME, NAME, or NAMESPACE/ for all of a namespace")
    .option("--container <name>", "only of containers with this name, or whose id begins so")
    .option("--method <method>", "only of this method, in any case; repeatable", several)
    .option(
      "--status <status>",
      "only with this status, such as NOT_FOUND; failed for all but OK; repeatable",
      several,
    )
    .option("--policy <name>", "only what this policy changed, denied or was asked about")
    .option("--slow <ms>", "only what took so many milliseconds, or longer")
    .option(
      "--since <when>",
      "only what is younger: 30s, 10m, 2h, 1d, or a time such as 2026-11-21T02:10:00Z",
    );
}

/** Adds the subcommand to `trivet cri`, whose settings say where the log is. */
export function defineCalls(cri: Command, settings: ProxySettings): void {
  const command = cri
    .command("calls")
    .description("show the calls that went through the proxy, from its call log");
  settings
    .add(addQueryFlags(command))
    .option("-f, --follow", "go on with the calls to come, also when the log is rotated")
    .option(
      "-n, --last <count>",
      `only the last so many that match (default: ${DEFAULT_LAST} in a table, all as JSON)`,
    )
    .addOption(
      command
        .createOption("-o, --output <format>", "table, or json: one record a line")
        .choices(["table", "json"])
        .default("table"),
    )
    .addHelpText(
      "after",
      `
RUNTIME is the time that the runtime took, OURS what the proxy added. "one of 100" is a sample: --call-log-level of
'trivet cri' says which calls are written. The log is the one of the proxy's settings (--config), by default
/var/log/trivet/calls.jsonl.

Examples:
  trivet cri calls --follow
  trivet cri calls --pod shop/web-0 --since 10m
  trivet cri calls --status failed --method RunPodSandbox --method CreateContainer
  trivet cri calls --slow 5000 -o json | jq -r .pod`,
    )
    .action(async () => {
      const flags = command.opts<CallsFlags>();
      await showCalls(flags, await settings.read(command));
    });
}

async function showCalls(flags: CallsFlags, config: CriConfig): Promise<void> {
  const query = createQuery(flags, Date.now());
  const limit = parseLast(flags);
  const source = createCallSource(flags.file, config);
  const table = createCallTable(lookOf(process.stdout, process.env));
  const show = (records: readonly CallRecord[]) =>
    print(
      flags.output === "json"
        ? records.map((record) => `${JSON.stringify(record)}\n`).join("")
        : table.add(records),
    );
  const kept = new LastRecords(limit);
  // What comes while one looks on is shown as it comes; so is all of what was there, where all is asked for.
  // Of stdin nobody can tell where that ends.
  let live = !Number.isFinite(limit) || (flags.follow === true && source.file === "-");
  const { sinceMs } = query;
  for await (const records of source.read({ sinceMs, follow: flags.follow === true })) {
    const found = records.filter(query.matches);
    if (live) show(found);
    else if (records.length > 0) kept.add(found);
    else {
      live = true;
      show(kept.records);
    }
  }
  if (!live) show(kept.records);
  if (!live && flags.output === "table" && kept.records.length === 0) print("No calls.\n");
  process.stderr.write(unreadableNote(source));
}

function parseLast({ last, output }: CallsFlags): number {
  if (last === undefined) return output === "json" ? Number.POSITIVE_INFINITY : DEFAULT_LAST;
  const count = Number(last);
  if (/^\d{1,9}$/.test(last) && count > 0) return count;
  throw new TrivetError({
    kind: "invalid",
    op: "calls.query",
    subject: "--last",
    message: `--last ${last}: must be a number above 0`,
  });
}

/** The last ones of many, in bounded memory. */
class LastRecords {
  readonly #limit: number;
  #records: CallRecord[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(records: readonly CallRecord[]): void {
    for (const record of records) this.#records.push(record);
    if (this.#records.length > 2 * this.#limit) this.#records = this.records;
  }

  get records(): CallRecord[] {
    return Number.isFinite(this.#limit) ? this.#records.slice(-this.#limit) : this.#records;
  }
}
