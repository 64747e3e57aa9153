/** How the two processes are, by what they say of themselves. */
import type { DaemonFacts, ProxyFacts, StorageFacts } from "./facts.ts";
import { type Finding, inArea } from "./finding.ts";

const daemon = inArea("daemon");
const runtime = inArea("runtime");

/** What has a finding of its own elsewhere. */
const told = /^pool-/;

export function checkDaemon(facts: DaemonFacts, { pools }: Pick<StorageFacts, "pools">): Finding[] {
  const { healthUrl, notReady, degraded, sweepFailures } = facts;
  if ("unknown" in notReady) {
    // Where nobody answers at all that is said of its storage socket, or of nothing.
    if ("unknown" in pools) return [daemon.unknown("health", notReady.unknown)];
    return [
      daemon.warning("health", {
        cause: notReady.unknown,
        consequence: "the kubelet's probes and Prometheus may find nobody there either",
        remedy: "say where it listens ('--health-url'), or mend node.healthAddress in its configuration",
      }),
    ];
  }
  const findings = degraded
    .filter(({ what }) => !told.test(what))
    .map(({ what, subject }) =>
      daemon.warning(subject || "degraded", {
        cause: `trivet node says that it is degraded: ${what}`,
        consequence: "it works less well than it could",
        remedy: "see the log of trivet node, which says once what is degraded and why",
      }),
    );
  if (sweepFailures > 0) {
    findings.push(
      daemon.warning("sweep", {
        cause: `${sweepFailures} looks for what dead pods left, or removals of it, have failed since it was started`,
        consequence: "addresses and links of pods that are gone may stay taken",
        remedy: "'trivet network gc' shows what is left over; the log of trivet node has the reasons",
      }),
    );
  }
  if (notReady.value !== undefined) {
    findings.push(
      daemon.error("health", {
        cause: `trivet node is not ready: ${notReady.value}`,
        consequence: "what is not ready yet is not served",
        remedy: "wait a moment; if it stays so, the log of trivet node has the reason",
      }),
    );
  }
  return findings.length > 0
    ? findings
    : [daemon.ok("health", `trivet node answers at ${healthUrl}, and is ready`)];
}

export function checkProxyRecord(facts: ProxyFacts | undefined): Finding[] {
  if (!facts) return [];
  const { recordsLost, failedReloads, unimplemented, unknownToUs } = facts;
  const findings: Finding[] = [];
  if (recordsLost > 0) {
    findings.push(
      runtime.warning("call log", {
        cause: `the call log could not take ${recordsLost} records since the proxy was started`,
        consequence: "the record of calls has gaps; the calls themselves went on",
        remedy:
          "make room on the disk of the call log (cri.callLog); 'journalctl -u trivet-cri' has the error",
      }),
    );
  }
  if (failedReloads > 0) {
    findings.push(
      runtime.warning("reload", {
        cause: `${failedReloads} reloads of policies or of the process were refused since the proxy was started`,
        consequence: "the proxy may still work with the policies, or the release, from before",
        remedy: "'systemctl reload trivet-cri' tries again and says what is wrong",
      }),
    );
  }
  if (unimplemented.length > 0) {
    findings.push(
      runtime.warning("methods", {
        cause: `the kubelet calls what the runtime does not know: ${unimplemented.join(", ")}`,
        consequence: "the kubelet falls back to what older releases did",
        remedy: "nothing must be done; a newer containerd knows them",
      }),
    );
  }
  if (unknownToUs.length > 0) {
    findings.push(
      runtime.warning("unknown to the proxy", {
        cause: `the kubelet uses what this release of Trivet does not know: ${unknownToUs.slice(0, 5).join(", ")}`,
        consequence: "it is passed on as it is, and policies cannot see it",
        remedy: "update Trivet",
      }),
    );
  }
  return findings;
}
