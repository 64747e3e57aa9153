/** How many calls are at work at once. Those beyond wait, first come first served, and leave the queue when they are given up. */

/** Places for a number of calls. */
export interface CallSlots {
  /** Runs `work` when a place is free. Rejects with the signal's reason if that comes first. */
  run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

/** Has no effect by itself. */
export function createCallSlots(places: number): CallSlots {
  let free = places;
  const waiting = new Set<() => void>();
  const take = (signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const settle = (done: () => void) => {
        waiting.delete(enter);
        signal.removeEventListener("abort", leave);
        done();
      };
      const enter = () => settle(resolve);
      const leave = () => settle(() => reject(signal.reason));
      waiting.add(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
  return {
    async run(signal, work) {
      signal.throwIfAborted();
      // A place is handed from one call to the next, so that no newcomer takes it in between.
      if (free > 0) free -= 1;
      else await take(signal);
      try {
        return await work();
      } finally {
        const [next] = waiting;
        if (next) next();
        else free += 1;
      }
    },
  };
}
