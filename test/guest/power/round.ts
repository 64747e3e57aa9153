/** One round in the guest: checks what the last cut left, says so, thins it out, and loads the driver until the next. */
import { mkdirSync } from "node:fs";
import { mountDisk, readLetter, unmountDisk } from "../inside/disks.ts";
import { startNode } from "../inside/node-process.ts";
import { say } from "../inside/run-cases.ts";
import { checkAfterCut, removeEntry } from "./check.ts";
import { expectationsOf, type Line } from "./history.ts";
import { type Tell, work } from "./load.ts";

/** What the host says before a round. */
export interface Letter {
  readonly round: number;
  readonly disk: "xfs" | "ext4";
  readonly lines: readonly Line[];
  /** The last round only checks. */
  readonly loads: boolean;
}

const MIB = 1_048_576;
const BUDGET_MIB = 220;
const WORKERS = 4;
/** What is left to begin a round with. */
const KEPT = 4;

/** Ends only when the power goes, or when there is to be no load. */
export async function runPowerRound(): Promise<void> {
  const { round, disk, lines, loads } = readLetter() as Letter;
  const mounted = await mountDisk(disk);
  const path = `${mounted}/pool`;
  mkdirSync(path, { recursive: true });
  const node = await startNode(
    [`p=${path},backend=quota,budget=${BUDGET_MIB}Mi,requireMount=false`],
    `${mounted}/state`,
  );
  const tell: Tell = (line) => say(`@${JSON.stringify(line)}`);
  const expected = expectationsOf(lines);
  const pool = { name: "p", path, budgetBytes: BUDGET_MIB * MIB };
  const found = await checkAfterCut({ client: node.client, tell, pool, expected }).catch((error: Error) => {
    throw new Error(`${error.stack}\nthe driver said: ${node.log().slice(-4_000)}`);
  });
  say(`checked ${found}`);
  if (!loads) {
    await node.stop();
    await unmountDisk(disk);
    return;
  }
  const there = [...expected.values()].filter(({ certainty }) => certainty === "there");
  for (const entry of there.slice(0, Math.max(0, there.length - KEPT))) {
    const op = entry.kind === "volume" ? "delete" : "delete-snapshot";
    tell({ state: "do", op, name: entry.name });
    await removeEntry(node.client, entry);
    tell({ state: "ack", op, name: entry.name });
  }
  say("loaded");
  const worker = (index: number) =>
    work({ client: node.client, tell, pool: "p", prefix: `r${round}w${index}`, random: Math.random });
  await Promise.all(Array.from({ length: WORKERS }, (_, index) => worker(index))).catch((error: Error) => {
    throw new Error(`${error.stack}\nthe driver said: ${node.log().slice(-4_000)}`);
  });
}
