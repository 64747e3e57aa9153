/** Work on many things, a few at a time: a pool of ten thousand volumes must neither wait for one nor open them all. */

/** Runs `work` on every item, at most `limit` at once; throws the first failure when those that run are over. */
export async function forEachBounded<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed: { readonly error: unknown } | undefined;
  const lane = async () => {
    for (let next = iterator.next(); !next.done && !failed; next = iterator.next()) {
      await work(next.value).catch((error) => {
        failed ??= { error };
      });
    }
  };
  await Promise.all(Array.from({ length: limit }, lane));
  if (failed) throw failed.error;
}
