/** The settings of a node's proxy: written once, and the administrator's from then on. */
import { join } from "node:path";
import { TrivetError } from "../../errors.ts";
import { parseUnixAddress } from "../../host/unix-socket.ts";
import { ifThere } from "../../install/state.ts";
import type { System } from "./context.ts";

export const settingsPath = "/etc/trivet/config.yaml";
export const policyDirectory = "/etc/trivet/policies";

/** Where container runtimes listen, likeliest first: containerd, k3s and rke2, microk8s, k0s, CRI-O. */
const upstreams = [
  "/run/containerd/containerd.sock",
  "/run/k3s/containerd/containerd.sock",
  "/var/snap/microk8s/common/run/containerd.sock",
  "/run/k0s/containerd.sock",
  "/run/crio/crio.sock",
] as const;

export interface SettingsFlags {
  readonly upstream?: string;
  readonly dryRun?: boolean;
}

/** The socket's path. Throws kind `invalid` for what the proxy could not read, before it is written where nobody looks again. */
export function upstreamPath(upstream: string): string {
  const path = parseUnixAddress(upstream);
  if (path !== undefined && /^[A-Za-z0-9/._@:+-]+$/.test(path)) return path;
  const message = `--upstream is ${JSON.stringify(upstream)}: it must be the container runtime's socket, as unix:///PATH`;
  throw new TrivetError({ kind: "invalid", op: "install.options", subject: "--upstream", message });
}

/** Gives what became of the file. `bundle` has the one to begin with. */
export async function installSettings(
  { files, ownFiles, journal }: System,
  { upstream, dryRun }: SettingsFlags,
  bundle: string,
): Promise<string> {
  if (!dryRun) await journal.makeDirectory(policyDirectory);
  if (await ifThere(files.stat(settingsPath))) {
    const known = upstream === undefined ? "" : (await files.read(settingsPath)).toString("utf8");
    if (upstream === undefined || known.includes(upstreamPath(upstream))) return "kept";
    return "kept, without the --upstream given: what is there is yours to edit";
  }
  const text = (await ownFiles.read(join(bundle, "daemonset/host/config.yaml"))).toString("utf8");
  const found = await Promise.all(upstreams.map((path) => ifThere(files.stat(path))));
  const path =
    upstream === undefined ? upstreams[Math.max(0, found.findIndex(Boolean))] : upstreamPath(upstream);
  const content = Buffer.from(text.replace(/^( *upstream: ).*$/m, `$1unix://${path}`));
  const file = { path: settingsPath, content, mode: 0o644, owner: "units" } as const;
  if (!dryRun) return journal.replace(file);
  return `would be ${await journal.look(file)}`;
}
