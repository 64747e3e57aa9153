/** The plugin and the configurations that the container runtime finds. */
import { usesTrivet } from "./check-network.ts";
import type { NetworkFacts } from "./facts.ts";
import { type DoctorDeps, known } from "./gather.ts";

const EXECUTABLE = 0o111;
const extensions = /\.(conf|conflist|json)$/;

export async function gatherNetwork(deps: DoctorDeps): Promise<NetworkFacts> {
  const { files, settings } = deps;
  const { confDir, binDir } = settings;
  const configurations = new Map<string, string>();
  const names = (await files.list(confDir).catch(() => [])).map(({ name }) => name).sort();
  for (const name of names) {
    if (!extensions.test(name)) continue;
    const bytes = await files.read(`${confDir}/${name}`).catch(() => undefined);
    if (bytes) configurations.set(name, bytes.toString("utf8"));
  }
  const loopback = await files.stat(`${binDir}/loopback`).catch(() => undefined);
  return {
    ...{ configurations, confDir, binDir },
    plugin: await lookAtPlugin(deps, `${binDir}/trivet`),
    loopback: loopback !== undefined,
    status: await known(askStatus(deps, configurations)),
  };
}

async function lookAtPlugin({ files }: DoctorDeps, path: string): Promise<NetworkFacts["plugin"]> {
  try {
    const target = await files.realPath(path);
    if (((await files.stat(target)).mode & EXECUTABLE) === 0) return "not executable";
    const bytes = await files.read(target);
    return bytes.subarray(0, 2).toString("latin1") === "#!" ? "script" : "native";
  } catch {
    return undefined;
  }
}

/** As a runtime would: our plugin's part of the list, with the list's name. STATUS came with 1.1.0. */
async function askStatus(
  { pluginStatus }: DoctorDeps,
  configurations: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const ours = [...configurations.values()].find(usesTrivet);
  if (ours === undefined) throw new Error("no configuration uses Trivet");
  const list = JSON.parse(ours) as { name: string; plugins?: { type: string }[] };
  const plugin = list.plugins?.find(({ type }) => type === "trivet") ?? list;
  return pluginStatus(JSON.stringify({ ...plugin, name: list.name, cniVersion: "1.1.0" }));
}
