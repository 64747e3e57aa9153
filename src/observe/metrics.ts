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
