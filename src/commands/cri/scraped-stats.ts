/** The same sums from the metrics of a proxy that runs. Reads the text format of Prometheus, as far as `metrics.ts` writes it. */
import type { MethodStats } from "./call-stats.ts";

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A scrape by sample: name and labels as they stand in the text. */
export type Scrape = ReadonlyMap<string, Sample>;

export function parseScrape(text: string): Scrape {
  const samples = new Map<string, Sample>();
  for (const line of text.split("\n")) {
    const [, name, labelText = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (!name || value === undefined) continue;
    const labels: Record<string, string> = {};
    for (const [, key = "", quoted = ""] of labelText.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = quoted;
    samples.set(`${name}{${labelText}}`, {
      name,
      labels,
      value: value === "+Inf" ? Infinity : Number(value),
    });
  }
  return samples;
}

/** What was added since `before`; a proxy that was started anew meanwhile began at 0. */
export function difference(after: Scrape, before: Scrape): Scrape {
  const changed = new Map<string, Sample>();
  for (const [key, sample] of after) {
    const earlier = before.get(key)?.value ?? 0;
    changed.set(key, { ...sample, value: sample.value >= earlier ? sample.value - earlier : sample.value });
  }
  return changed;
}

/** The most frequent method first; methods without calls are left out. */
export function scrapedStats(scrape: Scrape): MethodStats[] {
  const samples = [...scrape.values()];
  const calls = samples.filter(({ name }) => name === "trivet_cri_calls_total");
  const methods = [...new Set(calls.map(({ labels }) => labels.method ?? ""))];
  const stats = methods.map((method) => {
    const own = calls.filter(({ labels }) => labels.method === method);
    const sum = (list: readonly Sample[]) => list.reduce((total, { value }) => total + value, 0);
    const quantile = (metric: string, share: number) => bucketQuantile(samples, { metric, method, share });
    return {
      method,
      count: sum(own),
      errors: sum(own.filter(({ labels }) => labels.code !== "OK")),
      runtimeP50: quantile("runtime", 0.5),
      runtimeP99: quantile("runtime", 0.99),
      ownP50: quantile("added", 0.5),
      ownP99: quantile("added", 0.99),
    };
  });
  return stats
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count || a.method.localeCompare(b.method));
}

/** As Prometheus does it: values are taken to lie evenly within a bucket, and those above the last bound at it. */
function bucketQuantile(
  samples: readonly Sample[],
  { metric, method, share }: { metric: string; method: string; share: number },
): number {
  const buckets = samples
    .filter(
      ({ name, labels }) =>
        name === `trivet_cri_${metric}_duration_seconds_bucket` && labels.method === method,
    )
    .map(({ labels, value }) => ({ bound: labels.le === "+Inf" ? Infinity : Number(labels.le), upTo: value }))
    .sort((a, b) => a.bound - b.bound);
  const wanted = share * (buckets.at(-1)?.upTo ?? 0);
  if (wanted === 0) return Number.NaN;
  const index = buckets.findIndex(({ upTo }) => upTo >= wanted);
  const { bound = Number.NaN, upTo = 0 } = buckets[index] ?? {};
  const below = index > 0 ? buckets[index - 1] : { bound: 0, upTo: 0 };
  const from = below?.bound ?? 0;
  if (bound === Infinity) return from * 1_000;
  const inside = upTo - (below?.upTo ?? 0);
  return (from + ((bound - from) * (wanted - (below?.upTo ?? 0))) / inside) * 1_000;
}
