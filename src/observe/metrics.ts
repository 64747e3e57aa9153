/** Prometheus metrics of one process. A leg is given plain functions; only this folder knows the library. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

// From a tenth of a millisecond (a small call) to minutes (an image pull).
const LATENCY_BUCKETS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
  120,
];

export interface CallSample {
  readonly method: string;
  /** A status or error code by name. */
  readonly code: string;
  readonly durationMs: number;
}

export interface Metrics {
  /** The text that a scrape gets. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
  /** An observer of finished calls: `NAME_calls_total` by method and code, `NAME_call_duration_seconds` by method. */
  callObserver(name: string, help: string): (sample: CallSample) => void;
  /** A value that is set as it changes; with `label`, one for each of its values. */
  gauge(name: string, help: string, label?: string): (value: number, labelValue?: string) => void;
  /** A count that only grows. `name` ends in `_total`. */
  counter(name: string, help: string, label?: string): (by: number, labelValue?: string) => void;
  /** A count by several labels, each of few values. */
  counts(
    name: string,
    help: string,
    labels: readonly string[],
  ): (labels: Readonly<Record<string, string>>) => void;
  /** Durations by a label of few values. `fromSeconds` is the first bucket's bound; each next one is four times as long. */
  durations(options: DurationOptions): (labelValue: string, ms: number) => void;
  /** Values that are looked up when they are scraped, all of them anew. A look that fails shows none. */
  looked(
    name: string,
    help: string,
    labels: readonly string[],
    look: () => Promise<readonly Reading[]>,
  ): void;
  /** Durations of the steps of calls, by command and step. */
  steps(name: string, help: string): (command: string, step: string, ms: number) => void;
}

export interface DurationOptions {
  /** Ends in `_seconds`. */
  readonly name: string;
  readonly help: string;
  readonly label: string;
  readonly fromSeconds: number;
  readonly buckets: number;
}

/** One value of a metric, with a value for each of its labels. */
export interface Reading {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return {
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
    gauge(name, help, label) {
      const gauge = new Gauge({ name, help, labelNames: label ? [label] : [], registers: [registry] });
      return (value, labelValue) => gauge.set(label ? { [label]: labelValue ?? "" } : {}, value);
    },
    counter(name, help, label) {
      const counter = new Counter({ name, help, labelNames: label ? [label] : [], registers: [registry] });
      return (by, labelValue) => counter.inc(label ? { [label]: labelValue ?? "" } : {}, by);
    },
    counts(name, help, labelNames) {
      const counter = new Counter({ name, help, labelNames: [...labelNames], registers: [registry] });
      return (labels) => counter.inc(labels);
    },
    durations({ name, help, label, fromSeconds, buckets }) {
      const histogram = new Histogram({
        ...{ name, help, labelNames: [label], registers: [registry] },
        buckets: Array.from({ length: buckets }, (_, index) =>
          Number((fromSeconds * 4 ** index).toPrecision(3)),
        ),
      });
      return (labelValue, ms) => histogram.observe({ [label]: labelValue }, ms / 1000);
    },
    looked(name, help, labelNames, look) {
      new Gauge({
        ...{ name, help, labelNames: [...labelNames], registers: [registry] },
        async collect() {
          this.reset();
          for (const { labels, value } of await look().catch(() => [])) this.set(labels, value);
        },
      });
    },
    steps(name, help) {
      const duration = new Histogram({
        ...{ name, help, labelNames: ["command", "step"], registers: [registry] },
        buckets: LATENCY_BUCKETS_SECONDS,
      });
      return (command, step, ms) => duration.observe({ command, step }, ms / 1000);
    },
    callObserver(name, help) {
      const calls = new Counter({
        name: `${name}_calls_total`,
        help: `${help}, by method and status.`,
        labelNames: ["method", "code"],
        registers: [registry],
      });
      const duration = new Histogram({
        name: `${name}_call_duration_seconds`,
        help: `${help}: time until the answer was complete.`,
        labelNames: ["method"],
        buckets: LATENCY_BUCKETS_SECONDS,
        registers: [registry],
      });
      return ({ method, code, durationMs }) => {
        calls.inc({ method, code });
        duration.observe({ method }, durationMs / 1000);
      };
    },
  };
}
