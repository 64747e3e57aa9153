/** So many pieces of work at once; whoever waits is served in turn, unless it gives up before. */

/** Places for work. */
export interface Slots {
  /** `work` runs when there is a place; it is called at once when `signal` is aborted, to find that out by itself. */
  run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

/** All free. */
export function createSlots(count: number): Slots {
  const waiting = new Set<() => void>();
  let free = count;
  const place = async (signal: AbortSignal): Promise<boolean> => {
    if (signal.aborted) return false;
    if (free > 0) {
      free -= 1;
      return true;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const take = () => resolve(true);
    const giveUp = () => resolve(!waiting.delete(take));
    waiting.add(take);
    signal.addEventListener("abort", giveUp, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", giveUp));
  };
  return {
    async run(signal, work) {
      const isOurs = await place(signal);
      try {
        return await work();
      } finally {
        const [next] = isOurs ? waiting : [];
        if (next) {
          waiting.delete(next);
          next();
        } else if (isOurs) free += 1;
      }
    },
  };
}
