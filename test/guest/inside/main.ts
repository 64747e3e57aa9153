/** What the guest runs after it has booted: the job that its kernel's command line names. */
import { readFileSync } from "node:fs";
import { runPowerRound } from "../power/round.ts";
import { runDriver } from "./driver.ts";
import { runQuotaContract } from "./quota-contract.ts";
import { runQuotaVolumes } from "./quota-volumes.ts";
import { say } from "./run-cases.ts";

const jobs: Readonly<Record<string, () => Promise<void>>> = {
  driver: runDriver,
  "power-round": runPowerRound,
  "quota-contract": runQuotaContract,
  "quota-volumes": runQuotaVolumes,
  hello: async () => say(`ok hello: kernel ${readFileSync("/proc/sys/kernel/osrelease", "utf8").trim()}`),
};

const job = /\btrivet\.job=(\S+)/.exec(readFileSync("/proc/cmdline", "utf8"))?.[1] ?? "";
try {
  const run = jobs[job];
  if (!run) throw new Error(`there is no job "${job}"`);
  await run();
  say("end");
} catch (error) {
  say(`not ok ${job}: ${error instanceof Error ? error.stack : String(error)}`);
}
// Processes that a failed job left behind must not keep the guest alive.
process.exit();
