/**
 * `make e2e-guest`: what this machine's kernel cannot do, project quotas and power cuts, in a guest with Debian's kernel.
 * GUEST_CUTS says how often the power is cut (4; 20 for a release). Where there can be no guest it says why and ends
 * with code 3: that is neither passed nor failed.
 */
import { boot } from "../test/guest/machine/boot.ts";
import { asGuestDisks, createDisks, removeDisks } from "../test/guest/machine/disks.ts";
import { buildImages } from "../test/guest/machine/image.ts";
import { findKernel, NoGuest, requirePrograms } from "../test/guest/machine/parts.ts";
import { beginRun } from "../test/guest/machine/run-directory.ts";
import { closingLine, count, createTally } from "../test/guest/machine/tally.ts";
import { cutPower } from "../test/guest/power/cuts.ts";

const DEFAULT_CUTS = 4;
const DEADLINE_MS = 900_000;
const jobs = ["quota-contract", "quota-volumes", "driver"];

const write = (line: string) => process.stdout.write(`${line}\n`);

async function run(cuts: number, wanted: readonly string[]): Promise<number> {
  requirePrograms();
  beginRun();
  const kernel = findKernel();
  write(`guest: Linux ${kernel.release}, under emulation`);
  const images = buildImages(kernel);
  const tally = createTally();
  const say = (line: string) => {
    write(line);
    return count(tally, line);
  };
  for (const job of wanted) {
    say(`# ${job}: booting`);
    const disks = createDisks(job);
    let ended = false;
    const onLine = (line: string) => {
      ended = say(line) || ended;
    };
    const guest = boot({ kernel, images, disks: asGuestDisks(disks), job, deadlineMs: DEADLINE_MS, onLine });
    const how = await guest.ended;
    if (!ended) {
      say(`not ok ${job}: it came to its end # the guest ended by ${how} before; ${guest.complaints()}`);
    }
    removeDisks(disks);
  }
  await cutPower({ kernel, images, rounds: cuts, say });
  write(`\n${closingLine(tally)}`);
  return tally.failed === 0 && tally.passed > 0 ? 0 : 1;
}

/** The number of cuts; what is no number is refused, not taken for none. */
function parseCuts(text: string | undefined): number {
  const cuts = Number(text ?? DEFAULT_CUTS);
  if (Number.isSafeInteger(cuts) && cuts >= 0) return cuts;
  write(`GUEST_CUTS is "${text}": give a whole number`);
  process.exit(2);
}

try {
  const only = process.argv.slice(2);
  process.exitCode = await run(parseCuts(process.env.GUEST_CUTS), only.length > 0 ? only : jobs);
} catch (error) {
  if (!(error instanceof NoGuest)) throw error;
  write(`not run: there can be no guest here: ${error.message}`);
  process.exitCode = 3;
}
