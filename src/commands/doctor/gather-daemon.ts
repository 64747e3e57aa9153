/** What the two processes of Trivet say of themselves over HTTP. */
import type { DaemonFacts, ProxyFacts } from "./facts.ts";
import { type DoctorDeps, known } from "./gather.ts";

type DaemonDeps = Pick<DoctorDeps, "get" | "settings">;

export async function gatherDaemon({ get, settings }: DaemonDeps): Promise<DaemonFacts> {
  const { healthUrl } = settings;
  const [ready, metrics] = await Promise.all([
    known(get(`${healthUrl}/readyz`)),
    get(`${healthUrl}/metrics`).catch(() => undefined),
  ]);
  const readings = readMetrics(metrics?.body ?? "");
  const nothing = { healthUrl, degraded: [], sweepFailures: 0 };
  if ("unknown" in ready)
    return { ...nothing, notReady: { unknown: `${healthUrl} does not answer: ${ready.unknown}` } };
  const version = readings("trivet_build_info")[0]?.labels.version;
  if (version === undefined)
    return { ...nothing, notReady: { unknown: `what answers at ${healthUrl} is not trivet node` } };
  const { status, body } = ready.value;
  const [registered] = readings("trivet_csi_registered");
  return {
    healthUrl,
    notReady: { value: status === 200 ? undefined : body.trim() || `HTTP ${status}` },
    version,
    servesVolumes: has(metrics?.body, "trivet_csi_calls_total"),
    servesNetwork: has(metrics?.body, "trivet_cni_calls_total"),
    isRegistered: registered && registered.value === 1,
    degraded: readings("trivet_degraded").map(({ labels }) => ({
      what: labels.what ?? "",
      subject: labels.subject ?? "",
    })),
    sweepFailures: sum(readings("trivet_cni_sweep_failures_total")),
  };
}

/** Undefined where nothing of the proxy answers there: its metrics are off unless they are asked for. */
export async function gatherProxy({ get, settings }: DaemonDeps): Promise<ProxyFacts | undefined> {
  const answer = await get(`${settings.proxyMetricsUrl}/metrics`).catch(() => undefined);
  if (!has(answer?.body, "trivet_cri_calls_total")) return undefined;
  const readings = readMetrics(answer?.body ?? "");
  const named = (metric: string, label: string) =>
    readings(metric).flatMap(({ labels, value }) => (value > 0 ? [labels[label] ?? ""] : []));
  return {
    recordsLost: sum(readings("trivet_cri_records_lost_total")),
    failedReloads: sum(
      readings("trivet_cri_reloads_total").filter(({ labels }) => labels.result === "failed"),
    ),
    unimplemented: named("trivet_cri_unimplemented_total", "method"),
    unknownToUs: [
      ...named("trivet_cri_unknown_method_calls_total", "method"),
      ...named("trivet_cri_unknown_fields_total", "field"),
    ],
  };
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The samples of a text in Prometheus' format, by the name of their metric. */
function readMetrics(text: string): (name: string) => Sample[] {
  const lines = text.split("\n");
  return (name) =>
    lines.flatMap((line) => {
      const [, found, labels = "", value = ""] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (found !== name) return [];
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      return [
        { labels: Object.fromEntries(pairs.map(([, key, text]) => [key, text])), value: Number(value) },
      ];
    });
}

const has = (text: string | undefined, metric: string) => text?.includes(`# TYPE ${metric} `) === true;
const sum = (samples: readonly Sample[]) => samples.reduce((total, { value }) => total + value, 0);
