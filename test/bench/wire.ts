/**
 * What reading and editing a CreateContainerRequest of 4 KiB costs, by kind of edit: the best of several rounds, in CPU
 * time of this process, so that other work on the machine counts for little. Run with `node test/bench/wire.ts`.
 */
import { applyMutations, compileMutation, type MutationSpec } from "../../src/cri/wire/mutation.ts";
import { readMessage } from "../../src/cri/wire/read.ts";
import { encodeMessage } from "../../src/cri/wire/value.ts";

const CALLS = 5_000;
const WARM_UP_CALLS = 20_000;
const ROUNDS = 7;

const several = (count: number, key: (index: number) => string, value: string) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [key(index), value]));

const request = encodeMessage(
  "CreateContainerRequest",
  {
    pod_sandbox_id: "5".repeat(64),
    config: {
      metadata: { name: "main" },
      image: { image: `sha256:${"a".repeat(64)}` },
      args: ["serve", "--port=8080"],
      envs: Array.from({ length: 60 }, (_, index) => ({
        key: `SERVICE_PORT_${index}`,
        value: "tcp://10.0.0.1",
      })),
      labels: several(8, (index) => `app.kubernetes.io/label${index}`, "value"),
      annotations: several(8, (index) => `example.com/note${index}`, "v".repeat(40)),
      mounts: Array.from({ length: 8 }, (_, index) => ({
        container_path: `/data${index}`,
        host_path: `/var/lib/kubelet/pods/${index}`,
      })),
      linux: { resources: { memory_limit_in_bytes: 1 }, security_context: { privileged: true } },
    },
    sandbox_config: {
      metadata: { name: "pod", namespace: "default", uid: "uid" },
      annotations: several(4, (index) => `example.com/pod-note${index}`, "v".repeat(150)),
    },
  },
  "",
);

const security = "config.linux.security_context";
const environment: MutationSpec = {
  op: "add",
  path: "config.envs",
  values: several(3, (index) => `PROXY_${index}`, "x"),
};
const privileged: MutationSpec = { op: "set", path: `${security}.privileged`, value: false };
const capability: MutationSpec = {
  op: "add",
  path: `${security}.capabilities.drop_capabilities`,
  value: "NET_RAW",
};
const label: MutationSpec = { op: "set", path: "config.labels[example.com/added]", value: "1" };
const mount: MutationSpec = {
  op: "add",
  path: "config.mounts",
  value: { container_path: "/ca", host_path: "/etc/ca" },
};

const cases: [string, MutationSpec[]][] = [
  ["three variables of the environment", [environment]],
  ["a scalar three levels down", [privileged]],
  ["a capability", [capability]],
  ["a label", [label]],
  ["a mount", [mount]],
  ["all of these", [environment, privileged, capability, label, mount]],
  ["nothing: none of 8 mounts is meant", [{ op: "removeWhere", path: "config.mounts", where: () => false }]],
];

/** Microseconds of one call. */
function measure(call: () => unknown): number {
  for (let index = 0; index < WARM_UP_CALLS; index += 1) call();
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    const start = process.cpuUsage();
    for (let index = 0; index < CALLS; index += 1) call();
    best = Math.min(best, process.cpuUsage(start).user / CALLS);
  }
  return best;
}

process.stdout.write(`a CreateContainerRequest of ${request.length} bytes\n\n`);
for (const [name, specs] of cases) {
  const mutations = specs.map((spec) => compileMutation("CreateContainerRequest", spec));
  const us = measure(() => applyMutations(request, mutations));
  process.stdout.write(`${name.padEnd(40)} ${us.toFixed(1).padStart(8)} us\n`);
}
const us = measure(() => readMessage("CreateContainerRequest", request, { redact: true }));
process.stdout.write(`${"all of it read as plain values".padEnd(40)} ${us.toFixed(1).padStart(8)} us\n`);
