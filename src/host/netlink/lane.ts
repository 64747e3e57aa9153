/** Bounds how many of the slow requests run at once: each holds a thread of libuv's pool, which has four for everything. */

/** Runs the work when there is room, and gives its outcome. */
export type Lane = <T>(work: () => Promise<T>) => Promise<T>;

/** `width` at once; the others wait in the order in which they came. */
export function createLane(width: number): Lane {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running >= width) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      // The place goes to the next one in line, or is given back.
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
