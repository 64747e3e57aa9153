/** Stands for what a real runtime does with a pod: runs the CNI plugin around a namespace, and the demo's container. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CniHook, CniSandbox, Run } from "../../../test/fakes/containerd/runtime.ts";
import { runCni } from "../../cni/client/run.ts";
import type { CniDeps } from "../../cni/deps.ts";
import { policyVariable } from "./files.ts";
import { fileName } from "./scenario.ts";
import type { SimulatedKernel } from "./simulated-stage.ts";

/** The arguments that containerd gives its plugins. */
function cniEnvironment(command: string, { id, netnsPath, config }: CniSandbox): Record<string, string> {
  const { name, namespace, uid } = config.metadata ?? { name: "", namespace: "", uid: "" };
  const args = {
    IgnoreUnknown: "1",
    K8S_POD_NAMESPACE: namespace,
    K8S_POD_NAME: name,
    K8S_POD_INFRA_CONTAINER_ID: id,
    K8S_POD_UID: uid,
  };
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_NETNS: netnsPath,
    CNI_IFNAME: "eth0",
    CNI_PATH: "/opt/cni/bin",
    CNI_ARGS: Object.entries(args)
      .map(([key, value]) => `${key}=${value}`)
      .join(";"),
  };
}

/** Calls the plugin over environment, stdin and stdout; throws its error's message. */
async function callPlugin(
  command: string,
  sandbox: CniSandbox,
  deps: CniDeps,
  config: string,
): Promise<string> {
  let stdout = "";
  const exitCode = await runCni({
    env: cniEnvironment(command, sandbox),
    readStdin: async () => config,
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: () => undefined,
    loadDeps: async () => deps,
  });
  if (exitCode === 0) return stdout;
  throw new Error((JSON.parse(stdout) as { msg: string }).msg);
}

export function createSimulatedCni(kernel: SimulatedKernel, deps: CniDeps, config: string): CniHook {
  return {
    async add(sandbox) {
      kernel.network.addNamespace(sandbox.netnsPath);
      const result = JSON.parse(await callPlugin("ADD", sandbox, deps, config)) as {
        ips: { address: string }[];
      };
      return { ips: result.ips.map(({ address }) => address.split("/")[0] ?? "") };
    },
    async del(sandbox) {
      await callPlugin("DEL", sandbox, deps, config);
      kernel.network.removeNamespace(sandbox.netnsPath);
    },
  };
}

/** Does what the demo's script does, with what the simulated kernel has: the bind mount, the address, the route. */
export function createSimulatedContainer({ mounts, process }: SimulatedKernel): Run {
  return async ({ config, sandbox, env }) => {
    const target = config.mounts.find(({ container_path }) => container_path === "/data")?.host_path;
    const mount = (await mounts.list()).find(({ mountPoint }) => mountPoint === target);
    if (!mount) return { exitCode: 1, output: "the volume is not mounted\n" };
    const hostname = sandbox.config.hostname;
    await writeFile(join(mount.root, fileName), `hello from ${hostname}\n`);

    const handle = process.netns.open(sandbox.netnsPath);
    const connection = process.netlink.connect(handle);
    try {
      const link = await connection.link("eth0");
      const [address] = link ? await connection.addresses(link.index) : [];
      const routes = link ? await connection.routes(link.index) : [];
      const gateway = routes.find(({ prefixLength }) => prefixLength === 0)?.gateway;
      const output = [
        `address ${address?.address}/${address?.prefixLength}`,
        `route default via ${gateway} dev eth0`,
        `variable ${policyVariable.name}=${env[policyVariable.name] ?? ""}`,
      ];
      return { exitCode: 0, output: `${output.join("\n")}\n` };
    } finally {
      connection.close();
      handle?.close();
    }
  };
}
