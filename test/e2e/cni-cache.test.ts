/** A real containerd whose CNI cache lost a file, as in a power cut: the pod cannot be deleted, until the agent's start mends it. */
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { repairCache } from "../../src/cni/cache-repair.ts";
import { defaultCacheDir } from "../../src/cni/libcni-cache.ts";
import { createCniDeps } from "../../src/commands/host.ts";
import { silentLog } from "../../src/observe/log.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";
import { startPod, stopPod } from "../fakes/kubelet/pod.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";
import { type ProxiedCri, startProxiedCri } from "./support/proxied-cri.ts";

const trivet = fileURLToPath(new URL("../../bin/trivet", import.meta.url));
const network = `trivet-cache-${process.pid}`;
const forwarding = "net.ipv4.ip_forward";
let directory: string;
let containerd: PrivateContainerd;
let proxy: ProxiedCri;
let cri: CriClient;
let forwarded: string;
let deps: Awaited<ReturnType<typeof createCniDeps>>;
const at = (...parts: string[]) => join(directory, ...parts);

beforeAll(async () => {
  if (process.getuid?.() !== 0) throw new Error("this test starts a containerd: it needs root");
  directory = await mkdtemp("/tmp/tvcache-");
  deps = await createCniDeps();
  forwarded = await deps.sysctl.read(forwarding);
  for (const name of ["bin", "net.d"]) await mkdir(at(name));
  // The same program is both plugins.
  for (const name of ["trivet", "loopback"]) await symlink(trivet, at("bin", name));
  const ipam = { ranges: [[{ subnet: "10.213.78.0/24" }]] };
  const plugin = { type: "trivet", ipam, stateDir: at("state"), socket: at("no-agent.sock") };
  const conflist = { cniVersion: "1.0.0", name: network, plugins: [plugin] };
  await writeFile(at("net.d", "10-trivet.conflist"), JSON.stringify(conflist));
  containerd = await startContainerd({ root: at("c"), cniBinDir: at("bin"), cniConfDir: at("net.d") });
  proxy = await startProxiedCri(containerd.socket, directory);
  cri = connectCri({ path: proxy.path });
});

afterAll(async () => {
  cri?.close();
  await proxy?.stop();
  await containerd?.stop();
  await deps.sysctl.write(forwarding, forwarded);
  await rm(directory, { recursive: true, force: true });
  const left = await readdir(join(defaultCacheDir, "results")).catch(() => []);
  expect(left.filter((name) => name.startsWith(network))).toEqual([]);
});

it("a pod whose cache file is empty cannot be stopped; once the file is mended, it can, and leaves nothing", async () => {
  const pod = await startPod(
    { cri, kubeletRoot: at("kubelet"), logRoot: at("pods") },
    {
      ...{ name: "web", namespace: "shop", uid: "2a6d1b1c-0000-4000-8000-00000000cac4" },
      containers: [{ name: "main", image: containerd.image, command: ["true"], env: {} }],
    },
  );
  expect(pod.ip).toMatch(/^10\.213\.78\.\d+$/);
  const file = join(defaultCacheDir, "results", `${network}-${pod.sandboxId}-eth0`);
  const before = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
  await truncate(file, 0);
  await utimes(file, new Date(1_000_000), new Date(1_000_000));
  const stop = () => cri.call("StopPodSandbox", { pod_sandbox_id: pod.sandboxId });
  await expect(stop()).rejects.toThrow();
  const where = { stateDir: at("state"), cacheDir: defaultCacheDir, confDir: at("net.d") };
  const repaired = await repairCache({ deps, ...where, log: silentLog });
  expect(repaired.rebuilt).toEqual([`${network}-${pod.sandboxId}-eth0`]);
  const after = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
  expect(after).toMatchObject({ kind: "cniCacheV1", networkName: network, ifName: "eth0" });
  // The same facts as libcni itself had written; that of containerd 1.6 did not yet have the namespace.
  const facts = ({ containerId, config }: Record<string, unknown>) => ({ containerId, config });
  expect(facts(after)).toEqual(facts(before));
  await stopPod(pod);
  const [boot = ""] = (await readdir(at("state"))).filter((name) => name.includes("-"));
  expect(await readdir(at("state", boot, network, "leases"))).toEqual([]);
});
