/** Lets calls with the same key run one after another, in the order in which they came; others run side by side. */

/** Waits inside one process only; between processes the guards of the state files decide. */
export interface KeyedTurns {
  run<T>(key: string, work: () => Promise<T>): Promise<T>;
}

/** Keys that nobody waits for take no memory. */
export function createKeyedTurns(): KeyedTurns {
  const last = new Map<string, Promise<unknown>>();
  return {
    async run(key, work) {
      const before = last.get(key) ?? Promise.resolve();
      const turn = before.then(work);
      const settled = turn.catch(() => undefined); // the failure is the caller's; the next one has its own turn
      last.set(key, settled);
      try {
        return await turn;
      } finally {
        if (last.get(key) === settled) last.delete(key);
      }
    },
  };
}
