/**
 * Puts off what no call has to wait for until the bytes at hand are on their way: who a call is about, its record, what is
 * learned from it. Keeps the order in which it was given, and nothing for longer than the event.
 */

/** Runs `act` a little later, after all that was given before. */
export type Afterwards = (act: () => void) => void;

/** For tests, and for whoever has nothing to hurry for. */
export const atOnce: Afterwards = (act) => act();

export interface AfterwardsOptions {
  /** Calls back once, when the event at hand is over and before the next one: `process.nextTick`. */
  readonly schedule: (run: () => void) => void;
  /** Told what an act throws; those behind it run all the same. */
  readonly onError: (error: unknown) => void;
}

export function createAfterwards({ schedule, onError }: AfterwardsOptions): Afterwards {
  let waiting: (() => void)[] = [];
  const run = () => {
    const due = waiting;
    waiting = [];
    for (const act of due) {
      try {
        act();
      } catch (error) {
        onError(error);
      }
    }
  };
  return (act) => {
    if (waiting.push(act) === 1) schedule(run);
  };
}
