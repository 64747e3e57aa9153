/** The plugin and the configurations that the container runtime finds. */
import { usesTrivet } from "./check-network.ts";
import type { NetworkFacts, RuntimeFacts } from "./facts.ts";
import { type DoctorDeps, known } from "./gather.ts";

const EXECUTABLE = 0o111;
const extensions = /\.(conf|conflist|json)$/;

const usualConfDir = "/etc/cni/net.d";

/** `runtime`: what the container runtime says of its directories, which is where it looks. */
export async function gatherNetwork(
  deps: DoctorDeps,
  { network: runtime }: Pick<RuntimeFacts, "network">,
): Promise<NetworkFacts> {
  const { files, settings, given } = deps;
  const confDir = given.confDir ? settings.confDir : (runtime?.confDir ?? settings.confDir);
  const binDirs = given.binDir ? [settings.binDir] : (runtime?.binDirs ?? [settings.binDir]);
  const binDir = (await holding(deps, binDirs, "trivet")) ?? binDirs[0] ?? settings.binDir;
  const configurations = await readConfigurations(deps, confDir);
  // Where the runtime itself says that it looks elsewhere; a directory that was asked for is another matter.
  const isUsual = given.confDir === true || confDir === usualConfDir;
  const elsewhere = isUsual ? new Map() : await readConfigurations(deps, usualConfDir);
  const loopback = (await holding(deps, binDirs, "loopback")) ?? binDir;
  const loopbackKind = await lookAtPlugin(deps, `${loopback}/loopback`);
  const agent = await files.stat(settings.cniSocket).catch(() => undefined);
  return {
    ...{ configurations, confDir, binDir },
    plugin: await lookAtPlugin(deps, `${binDir}/trivet`),
    loopback: loopbackKind === "native" || loopbackKind === "script",
    strayed: [...elsewhere].flatMap(([name, text]) => (usesTrivet(text) ? [`${usualConfDir}/${name}`] : [])),
    agentAnswers: agent !== undefined && (await deps.isLiveSocket(deps.reach(settings.cniSocket))),
    status: await known(askStatus(deps, configurations)),
  };
}

/** In the order in which the runtime looks at them. */
async function readConfigurations({ files }: DoctorDeps, directory: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { name } of (await files.list(directory).catch(() => [])).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    if (!extensions.test(name)) continue;
    const bytes = await files.read(`${directory}/${name}`).catch(() => undefined);
    if (bytes) found.set(name, bytes.toString("utf8"));
  }
  return found;
}

/** The first of the directories that has a file of that name. */
async function holding({ files }: DoctorDeps, directories: readonly string[], name: string) {
  for (const directory of directories) {
    if (await files.stat(`${directory}/${name}`).catch(() => undefined)) return directory;
  }
  return undefined;
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
  { pluginStatus, isThisNode }: DoctorDeps,
  configurations: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const ours = [...configurations.values()].find(usesTrivet);
  if (ours === undefined) throw new Error("no configuration uses Trivet");
  // It looks at the state of the machine that it runs on.
  if (!isThisNode) throw new Error("not asked, since --root is not this machine");
  const list = JSON.parse(ours) as { name: string; plugins?: { type: string }[] };
  const plugin = list.plugins?.find(({ type }) => type === "trivet") ?? list;
  return pluginStatus(JSON.stringify({ ...plugin, name: list.name, cniVersion: "1.1.0" }));
}
