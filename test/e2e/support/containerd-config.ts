/** The configuration of a private containerd: nothing in it touches a containerd that the machine may run. Pure. */
import { join } from "node:path";
import { pauseImage } from "./oci-archive.ts";

export interface ContainerdPaths {
  /** Everything that this containerd keeps is below it. */
  readonly root: string;
  readonly config: string;
  readonly socket: string;
  readonly data: string;
  readonly state: string;
  readonly log: string;
}

export function containerdPaths(root: string): ContainerdPaths {
  return {
    root,
    config: join(root, "config.toml"),
    socket: join(root, "containerd.sock"),
    data: join(root, "data"),
    state: join(root, "state"),
    log: join(root, "containerd.log"),
  };
}

export interface ConfigOptions {
  readonly paths: ContainerdPaths;
  readonly cniBinDir: string;
  readonly cniConfDir: string;
  readonly snapshotter: "overlayfs" | "native";
}

/** A TOML basic string. */
const quote = (text: string) => JSON.stringify(text);

/** config.toml in version 2, which containerd 1.3 to 2.x read. */
export function containerdConfig({ paths, cniBinDir, cniConfDir, snapshotter }: ConfigOptions): string {
  return `version = 2
root = ${quote(paths.data)}
state = ${quote(paths.state)}
# These two would listen or scan elsewhere, and nothing here needs them.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]

[grpc]
address = ${quote(paths.socket)}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ${quote(pauseImage)}
# Without CAP_SYS_RESOURCE a process may not lower its own score.
restrict_oom_score_adj = true
# Below our own root rather than in /run/netns: what is left after a crash is found and unmounted with the rest.
netns_mounts_under_state_dir = true
enable_selinux = false
# The streaming server would listen on a port of the machine's for exec and attach: any free one of loopback.
stream_server_address = "127.0.0.1"
stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = ${quote(cniBinDir)}
conf_dir = ${quote(cniConfDir)}
max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = ${quote(snapshotter)}
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
`;
}
