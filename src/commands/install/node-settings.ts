/** The settings of a node's proxy: written once, and the administrator's from then on. */
import { join } from "node:path";
import { ifThere } from "../../install/state.ts";
import type { System } from "./context.ts";

export const settingsPath = "/etc/trivet/config.yaml";
export const policyDirectory = "/etc/trivet/policies";

/** Where container runtimes listen, likeliest first: containerd, k3s and rke2, microk8s, CRI-O. */
const upstreams = [
  "/run/containerd/containerd.sock",
  "/run/k3s/containerd/containerd.sock",
  "/var/snap/microk8s/common/run/containerd.sock",
  "/run/crio/crio.sock",
] as const;

export interface SettingsFlags {
  readonly upstream?: string;
  readonly dryRun?: boolean;
}

/** Gives what became of the file. `bundle` has the one to begin with. */
export async function installSettings(
  { files, ownFiles, journal }: System,
  { upstream, dryRun }: SettingsFlags,
  bundle: string,
): Promise<string> {
  if (!dryRun) await journal.makeDirectory(policyDirectory);
  if (await ifThere(files.stat(settingsPath))) return "kept";
  const text = (await ownFiles.read(join(bundle, "daemonset/host/config.yaml"))).toString("utf8");
  const found = await Promise.all(upstreams.map((path) => ifThere(files.stat(path))));
  const address = upstream ?? `unix://${upstreams[Math.max(0, found.findIndex(Boolean))]}`;
  const content = Buffer.from(text.replace(/^( *upstream: ).*$/m, `$1${address}`));
  const file = { path: settingsPath, content, mode: 0o644, owner: "units" } as const;
  if (!dryRun) return journal.replace(file);
  return `would be ${await journal.look(file)}`;
}
