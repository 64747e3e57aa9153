/** The container runtime by its own socket, and through the proxy. */
import type { Known, RuntimeAnswer, RuntimeFacts, RuntimeNetwork } from "./facts.ts";
import { type DoctorDeps, known } from "./gather.ts";

export async function gatherRuntime(deps: DoctorDeps): Promise<RuntimeFacts> {
  const { criSocket, proxySocket } = deps.settings;
  const there = await deps.files.stat(proxySocket).catch(() => undefined);
  const [direct, proxied] = await Promise.all([
    known(ask(deps, criSocket, true)),
    there ? known(ask(deps, proxySocket, false)) : { unknown: `nothing is at ${proxySocket}` },
  ]);
  return {
    // Many name it below /var/run, which is a link.
    socket: await deps.files.realPath(criSocket).catch(() => criSocket),
    ...{ proxySocket, proxyIsThere: there !== undefined },
    direct: "value" in direct ? { value: direct.value.answer } : direct,
    proxied: "value" in proxied ? { value: proxied.value.answer } : (proxied as Known<RuntimeAnswer>),
    network: "value" in direct ? networkOf(direct.value.info) : undefined,
  };
}

async function ask({ askCri, reach }: DoctorDeps, path: string, verbose: boolean) {
  const { identity, close } = await askCri(reach(path), { verbose });
  close();
  const { runtimeName: name, runtimeVersion: version, conditions, complaints, info = {} } = identity;
  const notReady =
    complaints ?? Object.entries(conditions).flatMap(([type, holds]) => (holds ? [] : [`${type} is false`]));
  const answer: RuntimeAnswer = { name, version, notReady, images: identity.imageFileSystems };
  return { answer, info };
}

/** What containerd tells of go-cni's settings; undefined for a runtime that tells nothing of them. */
export function networkOf(info: Readonly<Record<string, string>>): RuntimeNetwork | undefined {
  try {
    const config = JSON.parse(info.cniconfig ?? "") as {
      PluginDirs?: string[];
      PluginConfDir?: string;
      PluginMaxConfNum?: number;
      Networks?: { Config?: { Name?: string } }[];
    };
    const load = info.lastCNILoadStatus ?? "OK";
    if (typeof config.PluginConfDir !== "string") return undefined;
    return {
      ...{ binDirs: config.PluginDirs ?? [], confDir: config.PluginConfDir },
      maxConfNum: config.PluginMaxConfNum ?? 1,
      usesLoopbackPlugin: (config.Networks ?? []).some(({ Config }) => Config?.Name === "cni-loopback"),
      ...(/^OK\b/i.test(load) ? {} : { loadProblem: load }),
    };
  } catch {
    return undefined;
  }
}
