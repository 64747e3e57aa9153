/** Finds the name that somebody probably meant: for errors that say more than that a name is wrong. */

/** The number of single characters that must be put in, taken out, changed or swapped to come from `a` to `b`. */
function distance(a: string, b: string): number {
  let [twoBack, back, row]: [number[], number[], number[]] = [[], [], []];
  for (let j = 0; j <= b.length; j += 1) back.push(j);
  for (let i = 1; i <= a.length; i += 1) {
    row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((back[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (back[j - 1] ?? 0) + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) best = Math.min(best, (twoBack[j - 2] ?? 0) + 1);
      row.push(best);
    }
    [twoBack, back] = [back, row];
  }
  return back[b.length] ?? 0;
}

const plain = (name: string) => name.toLowerCase().replace(/[_-]/g, "");
const MAX_LENGTH = 64;

/** The candidate that is most like `name`, case and underscores aside; undefined where none is like it. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  const wanted = plain(name);
  let best: string | undefined;
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const other = plain(candidate);
    // TERM means SIGTERM, however far that is.
    const far = wanted.length > 2 && other.endsWith(wanted) ? 1 : distance(wanted, other);
    if (far < least) [best, least] = [candidate, far];
  }
  return best;
}
