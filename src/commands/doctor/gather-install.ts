/** Which releases are installed, and which run. */
import { basename } from "node:path";
import { readMark } from "../../install/marks.ts";
import { currentLink } from "../../install/runtime.ts";
import type { InstallFacts } from "./facts.ts";
import type { DoctorDeps } from "./gather.ts";

export async function gatherInstall(deps: DoctorDeps): Promise<InstallFacts> {
  const { files, settings, version: own } = deps;
  const current = await files.readLink(currentLink).then(basename, () => undefined);
  const program = await files.stat(`${currentLink}/bin/trivet`).catch(() => undefined);
  const pending = await readMark({ files, stateDir: settings.stateDir }, "kubelet-pending").catch(
    () => undefined,
  );
  return {
    ...{ own, current, node: await runningNode(deps), proxy: await runningProxy(deps) },
    currentIsWhole: current === undefined ? undefined : program !== undefined,
    unfinished: pending === undefined ? [] : [`the wiring of the kubelet (${pending})`],
  };
}

async function runningNode({ getText, settings }: DoctorDeps): Promise<string | undefined> {
  const metrics = await getText(`${settings.healthUrl}/metrics`).catch(() => "");
  return /^trivet_build_info\{version="([^"]+)"/m.exec(metrics)?.[1];
}

/** By the directory below /opt/trivet that its program was started from; links are resolved by the start script. */
async function runningProxy({ listProcesses }: DoctorDeps): Promise<string | undefined> {
  const processes = await listProcesses().catch(() => []);
  const proxy = processes.find(
    ({ argv }) => argv.includes("cri") && argv.some((word) => word.startsWith("/opt/trivet/")),
  );
  const place = proxy?.argv
    .map((word) => /^\/opt\/trivet\/([^/]+)\//.exec(word)?.[1])
    .find((name) => name && name !== "current");
  return place;
}
