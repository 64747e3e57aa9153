/** The container runtime by its own socket, and through the proxy. */
import type { Known, RuntimeAnswer, RuntimeFacts } from "./facts.ts";
import { type DoctorDeps, known, textOf } from "./gather.ts";

export async function gatherRuntime(deps: DoctorDeps): Promise<RuntimeFacts> {
  const { criSocket, proxySocket } = deps.settings;
  const there = await deps.files.stat(proxySocket).catch(() => undefined);
  const configuration = await textOf(deps, "/etc/containerd/config.toml");
  return {
    socket: criSocket,
    direct: await ask(deps, criSocket),
    proxySocket,
    proxied: there ? await ask(deps, proxySocket) : { unknown: `nothing is at ${proxySocket}` },
    proxyIsThere: there !== undefined,
    usesInternalLoopback: /^\s*use_internal_loopback\s*=\s*true/m.test(configuration),
  };
}

function ask({ askCri, reach }: DoctorDeps, path: string): Promise<Known<RuntimeAnswer>> {
  const answer = async () => {
    const { identity, close } = await askCri(reach(path));
    close();
    const { runtimeName: name, runtimeVersion: version, conditions } = identity;
    const notReady = Object.entries(conditions).flatMap(([type, holds]) =>
      holds ? [] : [`${type} is false`],
    );
    return { name, version, notReady };
  };
  return known(answer());
}
