/** The metrics of `trivet cri`. Each label has few values, whatever clients and policies call things. */
import type { CallRecord } from "../../cri/record/call-record.ts";
import { createLabels, createMethodLabels } from "../../cri/record/method-labels.ts";
import { isKnownMethod } from "../../cri/record/skew.ts";
import type { Metrics } from "../../observe/metrics.ts";

/** What is looked at when metrics are scraped. */
export interface CriState {
  readonly connections: number;
  readonly streams: number;
  readonly heldBytes: number;
  /** Pods and containers whose ids are known. */
  readonly known: number;
}

export interface CriMetrics {
  record(record: CallRecord): void;
  /** Records that were dropped. */
  lost(records: number): void;
  /** A field that our CRI does not have, such as `ContainerConfig.19`. */
  unknownField(field: string): void;
  reloaded(what: "policies" | "process", result: "ok" | "failed"): void;
}

// As many policies and fields as anybody will have; what comes later is counted as `other`.
const MAX_POLICIES = 200;
const MAX_FIELDS = 100;
// gRPC has 17 codes, and there are some ways to end without one. A number that gRPC does not have is `other`.
const MAX_CODES = 32;
// From 10 us to 2.6 s for ours, and from 0.1 ms to seven minutes, an image pull, for the runtime.
const OWN_BUCKETS = { fromSeconds: 0.000_01, buckets: 10 };
const RUNTIME_BUCKETS = { fromSeconds: 0.000_1, buckets: 12 };

/** Names all of them in the registry, so that those that count nothing yet are there as 0 or not at all. */
export function createCriMetrics(metrics: Metrics, look: () => CriState): CriMetrics {
  const methodLabel = createMethodLabels();
  const policyLabel = createLabels({ max: MAX_POLICIES, pattern: /^[\w.-]{1,253}$/ });
  const codeLabel = createLabels({ max: MAX_CODES, pattern: /^(?!status-)[A-Za-z_-]+$/ });
  const fieldLabel = createLabels({ max: MAX_FIELDS, pattern: /^[\w.]{1,128}$/ });
  const calls = metrics.counts(
    "trivet_cri_calls_total",
    "CRI calls through the proxy, by method and status.",
    ["method", "code"],
  );
  const runtime = metrics.durations({
    name: "trivet_cri_runtime_duration_seconds",
    help: "From the last byte of a request to the end of the runtime's answer.",
    label: "method",
    ...RUNTIME_BUCKETS,
  });
  const own = metrics.durations({
    name: "trivet_cri_added_duration_seconds",
    help: "From the first byte of a request to the last one passed on, or to our own answer.",
    label: "method",
    ...OWN_BUCKETS,
  });
  const outcomes = metrics.counts("trivet_cri_policy_outcomes_total", "What policies made of calls.", [
    "policy",
    "action",
  ]);
  const unknownMethod = metrics.counter(
    "trivet_cri_unknown_method_calls_total",
    "Calls of methods that this version of Trivet does not know, and passes on all the same.",
    "method",
  );
  const unknownField = metrics.counter(
    "trivet_cri_unknown_fields_total",
    "Fields, by message and number, that this version of Trivet does not know; looked for in a part of the messages.",
    "field",
  );
  const unimplemented = metrics.counter(
    "trivet_cri_unimplemented_total",
    "Calls that the runtime refused because it does not know the method.",
    "method",
  );
  const lost = metrics.counter("trivet_cri_records_lost_total", "Records that the call log could not take.");
  lost(0);
  const reloads = metrics.counts("trivet_cri_reloads_total", "Reloads of policies and of the process.", [
    "what",
    "result",
  ]);
  nameState(metrics, look);
  return {
    record(record) {
      const method = methodLabel(record.method);
      calls({ method, code: codeLabel(record.status) });
      if (record.runtimeMs !== undefined) runtime(method, record.runtimeMs);
      if (record.oursMs !== undefined) own(method, record.oursMs);
      for (const { policy, action } of record.policies ?? [])
        outcomes({ policy: policyLabel(policy), action });
      if (!isKnownMethod(record.method)) unknownMethod(1, method);
      if (record.status === "UNIMPLEMENTED" && !record.answeredByProxy) unimplemented(1, method);
    },
    lost: (records) => lost(records),
    unknownField: (field) => unknownField(1, fieldLabel(field)),
    reloaded: (what, result) => reloads({ what, result }),
  };
}

function nameState(metrics: Metrics, look: () => CriState): void {
  const gauges: readonly [name: string, help: string, read: (state: CriState) => number][] = [
    ["trivet_cri_connections", "Connections of clients that are open.", (state) => state.connections],
    ["trivet_cri_streams", "Calls and streams that are not over.", (state) => state.streams],
    [
      "trivet_cri_held_bytes",
      "Bytes of requests that are held to be decided on.",
      (state) => state.heldBytes,
    ],
    ["trivet_cri_known_objects", "Pods and containers whose ids are known.", (state) => state.known],
  ];
  for (const [name, help, read] of gauges) {
    metrics.looked(name, help, [], async () => [{ labels: {}, value: read(look()) }]);
  }
}
