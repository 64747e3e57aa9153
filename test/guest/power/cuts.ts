/** The power cuts, from outside: boots a guest, kills it under load, and tells the next one what was acknowledged. */
import { setTimeout as sleep } from "node:timers/promises";
import { boot } from "../machine/boot.ts";
import { asGuestDisks, createDisks, damageOf, removeDisks, writeLetter } from "../machine/disks.ts";
import type { GuestImages } from "../machine/image.ts";
import type { Kernel } from "../machine/parts.ts";
import { keepRun } from "../machine/run-directory.ts";
import type { Line } from "./history.ts";

/** How many rounds, and on what. */
export interface CutOptions {
  readonly kernel: Kernel;
  readonly images: GuestImages;
  readonly rounds: number;
  /** Half of the rounds on each of two. */
  readonly on?: readonly ("xfs" | "ext4")[];
  /** Called with `ok ...` or `not ok ...`, and with what is being done. */
  say(line: string): void;
}

const BOOT_MS = 600_000;
/** The load runs at least so long and at most so much longer before the cut. */
const LEAST_LOAD_MS = 1_000;
const MORE_LOAD_MS = 9_000;

/** One file system after another; a last boot of each only checks. A failure ends the rounds of its file system. */
export async function cutPower(options: CutOptions): Promise<void> {
  const { rounds, on = ["xfs", "ext4"] } = options;
  for (const [index, disk] of on.entries()) {
    const mine = Math.floor((rounds + on.length - 1 - index) / on.length);
    if (mine > 0) await cutPowerOn(disk, mine, options);
  }
}

async function cutPowerOn(
  disk: "xfs" | "ext4",
  rounds: number,
  { kernel, images, say }: CutOptions,
): Promise<void> {
  const disks = createDisks(`power-${disk}`);
  const lines: Line[] = [];
  for (let round = 0; round <= rounds; round++) {
    const loads = round < rounds;
    say(`# power cuts on ${disk}: boot ${round + 1} of ${rounds + 1}`);
    writeLetter(disks, { round, disk, lines, loads });
    const said = await runRound({ kernel, images, disks: asGuestDisks(disks), lines, loads });
    const title = `power cuts on ${disk}: what cut ${round} left`;
    if (said.checked === undefined || said.failure !== undefined) {
      say(`not ok ${title} # ${said.failure ?? "the guest said nothing"}; its disks are in ${keepRun()}`);
      return;
    }
    if (round > 0) say(`ok ${title}: ${said.checked}, of ${lines.length} lines`);
  }
  const damage = damageOf(disks, disk);
  if (damage === undefined) {
    say(`ok power cuts on ${disk}: the file system is sound`);
    removeDisks(disks);
  } else say(`not ok power cuts on ${disk}: the file system is sound # ${damage}; it is in ${keepRun()}`);
}

interface Round {
  readonly kernel: Kernel;
  readonly images: GuestImages;
  readonly disks: ReturnType<typeof asGuestDisks>;
  readonly lines: Line[];
  readonly loads: boolean;
}

async function runRound({ kernel, images, disks, lines, loads }: Round) {
  const said: { checked?: string; failure?: string } = {};
  const others: string[] = []; // what a crash of the runtime says is no line of ours
  const guest = boot({
    ...{ kernel, images, disks, job: "power-round", deadlineMs: BOOT_MS },
    onLine(line) {
      if (line.startsWith("@")) lines.push(JSON.parse(line.slice(1)) as Line);
      else if (line.startsWith("checked ")) said.checked = line.slice("checked ".length);
      else if (line.startsWith("not ok ")) said.failure = line;
      else if (line === "loaded") {
        void sleep(LEAST_LOAD_MS + Math.random() * MORE_LOAD_MS).then(() => guest.cut());
      } else others.push(line);
    },
  });
  const how = await guest.ended;
  if (how !== (loads ? "cut" : "itself")) {
    said.failure ??= `the guest ended by ${how}; it said: ${[...others.slice(-20), guest.complaints()].join(" | ")}`;
  }
  return said;
}
