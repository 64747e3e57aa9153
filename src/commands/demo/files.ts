/** The directories of a demo and the files that a user of Trivet would write: CNI configuration and a policy. */
import { mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { driverName } from "../../csi/names.ts";
import { packageRoot } from "../../host/package-root.ts";

/** Where everything of one demo lies; all paths are absolute. */
export interface DemoPaths {
  readonly root: string;
  readonly pool: string;
  readonly state: string;
  readonly kubelet: string;
  readonly csiSocket: string;
  readonly cniSocket: string;
  readonly cniState: string;
  readonly cniBin: string;
  readonly cniConf: string;
  readonly criSocket: string;
  readonly runtime: string;
  readonly policies: string;
  readonly callLog: string;
  readonly logs: string;
  readonly podLogs: string;
}

export const networkName = "trivet-demo";
export const policyVariable = { name: "TRIVET_DEMO", value: "set-by-policy" };

export async function createPaths(): Promise<DemoPaths> {
  const root = await mkdtemp(join(tmpdir(), "trivet-demo-"));
  const paths: DemoPaths = {
    root,
    pool: join(root, "pool"),
    state: join(root, "state"),
    kubelet: join(root, "kubelet"),
    csiSocket: join(root, `kubelet/plugins/${driverName}/csi.sock`),
    cniSocket: join(root, "run/cni.sock"),
    cniState: join(root, "cni-state"),
    cniBin: join(root, "cni/bin"),
    cniConf: join(root, "cni/net.d"),
    criSocket: join(root, "run/cri.sock"),
    runtime: join(root, "runtime"),
    policies: join(root, "policies"),
    callLog: join(root, "logs/calls.jsonl"),
    logs: join(root, "logs"),
    podLogs: join(root, "pods"),
  };
  const directories = [
    "pool",
    "state",
    "run",
    "cni-state",
    "cni/bin",
    "cni/net.d",
    "runtime",
    "policies",
    "logs",
    "pods",
  ];
  for (const directory of directories) await mkdir(join(root, directory), { recursive: true, mode: 0o755 });
  await mkdir(join(paths.csiSocket, ".."), { recursive: true, mode: 0o700 });
  return paths;
}

/** The network that the plugin gets as its part of the conflist, and `trivet cni` on stdin. */
export function networkConfig(paths: DemoPaths, subnet: string): Record<string, unknown> {
  return {
    type: "trivet",
    mode: "routed",
    ipMasq: true,
    socket: paths.cniSocket,
    stateDir: paths.cniState,
    ipam: { ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
  };
}

/** The conflist, and the plugins' directory: ours, and the `loopback` that containerd starts for every pod. */
export async function writeCniFiles(
  paths: DemoPaths,
  subnet: string,
  loopback: string | undefined,
): Promise<void> {
  const conflist = { cniVersion: "1.0.0", name: networkName, plugins: [networkConfig(paths, subnet)] };
  await writeFile(join(paths.cniConf, "10-trivet.conflist"), `${JSON.stringify(conflist, null, 2)}\n`);
  await symlink(join(packageRoot, "bin/trivet"), join(paths.cniBin, "trivet"));
  if (loopback !== undefined) await symlink(loopback, join(paths.cniBin, "loopback"));
}

/** One policy, in one file: the variable comes from nowhere else. */
export async function writePolicy(paths: DemoPaths): Promise<void> {
  const policy = `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata:
  name: demo-environment
spec:
  methods: [CreateContainer]
  namespaces: [demo]
  mutations:
    - op: add
      path: config.envs
      values:
        ${policyVariable.name}: ${policyVariable.value}
`;
  await writeFile(join(paths.policies, "environment.yaml"), policy);
}
