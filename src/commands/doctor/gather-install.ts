/** Which releases are installed, and which run. */
import { basename, join } from "node:path";
import { readMark } from "../../install/marks.ts";
import { manifestName } from "../../install/release.ts";
import { currentLink, runtimeRoot } from "../../install/runtime.ts";
import { digestOf } from "../../install/state.ts";
import { unitDirectory } from "../../install/units.ts";
import type { InstallFacts } from "./facts.ts";
import { type DoctorDeps, textOf } from "./gather.ts";

export async function gatherInstall(deps: DoctorDeps): Promise<InstallFacts> {
  const { files, settings, version: own } = deps;
  const current = await files.readLink(currentLink).then(basename, () => undefined);
  const pending = await readMark({ files, stateDir: settings.stateDir }, "kubelet-pending").catch(
    () => undefined,
  );
  return {
    ...{ own, current, proxy: await runningProxy(deps), proxyAtBoot: await startsAtBoot(deps) },
    currentIsWhole: current === undefined ? undefined : await isWhole(deps, join(runtimeRoot, current)),
    unfinished: pending === undefined ? [] : [`the wiring of the kubelet (${pending})`],
  };
}

/** Every file as the release's own list has it: digest, mode, name. */
async function isWhole(deps: DoctorDeps, directory: string): Promise<boolean> {
  const manifest = await textOf(deps, join(directory, manifestName));
  const lines = manifest.split("\n").filter(Boolean);
  if (lines.length === 0) return false;
  for (const line of lines) {
    const [, digest, name = ""] = /^([0-9a-f]{64}) [0-7]+ (.+)$/.exec(line) ?? [];
    const bytes = await deps.files.read(join(directory, name)).catch(() => undefined);
    if (!bytes || digestOf(bytes) !== digest) return false;
  }
  return true;
}

/** By the directory below /opt/trivet that its program was started from; links are resolved by the start script. */
async function runningProxy({ listProcesses }: DoctorDeps): Promise<string | undefined> {
  const processes = await listProcesses().catch(() => []);
  const places = processes.flatMap(({ argv }) => {
    if (!argv.includes("cri") || argv.includes("reload")) return [];
    return argv.flatMap((word) => /^\/opt\/trivet\/([^/]+)\//.exec(word)?.[1] ?? []);
  });
  return places.find((name) => name !== "current");
}

/** Whether some target or run level wants it. */
async function startsAtBoot({ files }: DoctorDeps): Promise<boolean | undefined> {
  const names = async (path: string) => (await files.list(path).catch(() => [])).map(({ name }) => name);
  if (await files.stat("/run/systemd/system").catch(() => undefined)) {
    const wanting = (await names(unitDirectory)).filter((name) => /\.(wants|requires)$/.test(name));
    const wanted = await Promise.all(wanting.map((name) => names(join(unitDirectory, name))));
    return wanted.flat().some((name) => /^trivet-cri\.(socket|service)$/.test(name));
  }
  if (!(await files.stat("/run/openrc").catch(() => undefined))) return undefined;
  const levels = await names("/etc/runlevels");
  const started = await Promise.all(levels.map((level) => names(join("/etc/runlevels", level))));
  return started.flat().includes("trivet-cri");
}
