/**
 * One fsync for all who wait for the same directory: many calls at once put names into `volumes`, and each needs a sync
 * that began after its own change, not one to itself. Knows nothing of files.
 */

type Sync = (path: string) => Promise<void>;

/** `sync`, run once for all that ask while another one of the same path is running. A failure is the failure of all. */
export function shareSyncs(sync: Sync): Sync {
  const running = new Map<string, Promise<void>>();
  const next = new Map<string, Promise<void>>();
  const start = (path: string): Promise<void> => {
    next.delete(path);
    const started = sync(path).finally(() => {
      if (running.get(path) === started) running.delete(path);
    });
    running.set(path, started);
    return started;
  };
  return (path) => {
    const present = running.get(path);
    if (!present) return start(path);
    // What is running may have begun before the caller's change: only the one after it counts.
    let following = next.get(path);
    if (!following) {
      const begin = () => start(path);
      following = present.then(begin, begin);
      next.set(path, following);
    }
    return following;
  };
}
