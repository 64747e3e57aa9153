/** Runs cases one after another and says what became of each, a line for each: the guest has no test framework. */

/** One case. A case that cannot be run here throws `NotHere`. */
export interface GuestCase {
  readonly title: string;
  run(): Promise<void>;
}

/** Why a case cannot be run in this guest: it counts as not run, never as passed. */
export class NotHere extends Error {}

/** Why a case says nothing about what is tested: neither passed nor missing. */
export class NotApplicableHere extends Error {}

/** A line for whoever booted the guest. */
export function say(line: string): void {
  process.stdout.write(`${line.replaceAll(/[\r\n]+/g, " | ")}\n`);
}

/** `ok`, `not ok` or `not run`, each with the title. */
export async function runCases(group: string, cases: readonly GuestCase[]): Promise<void> {
  for (const { title, run } of cases) {
    try {
      await run();
      say(`ok ${group}: ${title}`);
    } catch (error) {
      if (error instanceof NotApplicableHere) say(`not applicable ${group}: ${title} # ${error.message}`);
      else if (error instanceof NotHere) say(`not run ${group}: ${title} # ${error.message}`);
      else say(`not ok ${group}: ${title} # ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
}
