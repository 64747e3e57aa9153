/** Everything that doctor has to say of a node. Pure: facts in, findings out. */
import { checkDaemon, checkProxyRecord } from "./check-daemon.ts";
import { checkInstall, checkSockets } from "./check-install.ts";
import { checkKernel } from "./check-kernel.ts";
import { checkKubelet } from "./check-kubelet.ts";
import { checkNetwork } from "./check-network.ts";
import { checkRuntime } from "./check-runtime.ts";
import { checkStorage } from "./check-storage.ts";
import type { NodeFacts } from "./facts.ts";
import { byLevel, type Finding } from "./finding.ts";

/** The worst first. */
export function diagnose(facts: NodeFacts): Finding[] {
  const { kernel, daemon, proxy, storage, network, runtime, kubelet, sockets, install } = facts;
  return byLevel([
    ...checkKernel(kernel),
    ...checkDaemon(daemon, storage),
    ...checkStorage(storage, { daemon, kernel }),
    ...checkNetwork(network, runtime),
    ...checkRuntime(runtime),
    ...checkProxyRecord(proxy),
    ...checkKubelet(kubelet, { runtime, daemon }),
    ...checkSockets(sockets),
    ...checkInstall(install, { daemon, kubelet, runtime }),
  ]);
}
