/**
 * Bounds on what runs at once. Node has four threads for all that blocks: were they all busy with a copy, every other
 * call of the process would wait for its disk.
 */

/** So many pieces of work at once. */
export interface Slots {
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** All free. Whoever waits is served in turn. */
export function createSlots(count: number): Slots {
  const waiting: (() => void)[] = [];
  let free = count;
  return {
    async run(work) {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await work();
      } finally {
        const next = waiting.shift();
        if (next) next();
        else free += 1;
      }
    },
  };
}

/** Runs `work` on every item, `lanes` at a time; the first failure stops it and is thrown when all have ended. */
export async function inLanes<T>(
  items: readonly T[],
  lanes: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let index = 0;
  let failure: { readonly error: unknown } | undefined;
  const lane = async () => {
    while (!failure && index < items.length) {
      const item = items[index++] as T;
      await work(item).catch((error: unknown) => {
        failure ??= { error };
      });
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  if (failure) throw failure.error;
}
