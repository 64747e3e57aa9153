/**
 * A node of its own: a real systemd, or busybox's init, as process 1 over a copy-on-write view of this machine, with a real containerd, a kubelet's service and
 * a network that is nobody else's. Its disk outlives `cutPower`, its /run and its processes do not. All of it is in memory and in
 * namespaces that end with this process, however that ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { packageRoot } from "../../../src/host/package-root.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { containerdConfig } from "./containerd-config.ts";
import { treeManifest } from "./tree-manifest.ts";

const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const START_MS = 30_000;
const POLL_MS = 25;
const CGROUPS = "/sys/fs/cgroup";

/** What other programs of this machine have put there is not this node's. */
const cleared = [
  ...["etc/systemd/system", "etc/cni", "etc/trivet", "etc/containerd", "etc/kubernetes"],
  ...["opt/trivet", "opt/cni", "var/lib/trivet", "var/lib/cni", "var/lib/kubelet", "var/log"],
];

/** What a runtime and a kubelet leave of pods that were there before. */
const used = [
  ...["var/lib/containerd", "etc/cni/net.d", "opt/cni/bin", "var/lib/kubelet/plugins/kubernetes.io/csi"],
  ...[
    "var/lib/kubelet/plugins_registry",
    "var/lib/kubelet/pods",
    "var/lib/cni/results",
    "var/log/pods",
    "mnt",
  ],
];

const kubeletProgram = join(packageRoot, "test/e2e/support/whole-kubelet.ts");

const target = (text = "") => `[Unit]\n${text}`;

const containerdSocket = "/run/containerd/containerd.sock";
export const kubeletFlags = "/var/lib/kubelet/kubeadm-flags.env";

/** The files of a node before Trivet comes. */
const nodeFiles: Readonly<Record<string, string>> = {
  "/etc/systemd/system/sysinit.target": target(),
  "/etc/systemd/system/sockets.target": target(),
  "/etc/systemd/system/network.target": target(),
  "/etc/systemd/system/shutdown.target": target("DefaultDependencies=no\n"),
  "/etc/systemd/system/basic.target": target(
    "Requires=sysinit.target\nWants=sockets.target\nAfter=sysinit.target sockets.target\n",
  ),
  "/etc/systemd/system/multi-user.target": target(
    "Requires=basic.target\nAfter=basic.target\nWants=containerd.service kubelet.service\n",
  ),
  // As the distributions have it, but for what needs CAP_SYS_RESOURCE.
  "/etc/systemd/system/containerd.service": `[Unit]
After=network.target
[Service]
Type=notify
ExecStart=/usr/bin/containerd
Delegate=yes
KillMode=process
Restart=always
RestartSec=1
StandardOutput=append:/run/containerd.log
StandardError=append:/run/containerd.log
`,
  // kubeadm's, with its drop-in.
  "/etc/systemd/system/kubelet.service": `[Unit]
StartLimitIntervalSec=0
[Service]
EnvironmentFile=-${kubeletFlags}
ExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1
StandardOutput=append:/run/kubelet.log
StandardError=append:/run/kubelet.log
`,
  "/usr/bin/kubelet": `#!/bin/bash
if [ "$1" = --version ]; then echo Kubernetes v1.30.4; exit; fi
rm -f /run/kubelet-plugins.json
exec -a /usr/bin/kubelet ${process.execPath} --disable-warning=ExperimentalWarning ${kubeletProgram} "$@"
`,
  "/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\nhealthzPort: 10248\n",
  [kubeletFlags]: `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${containerdSocket} --node-ip=192.0.2.1"\n`,
  "/etc/containerd/config.toml": containerdConfig({
    paths: {
      ...{ root: "/var/lib/containerd", config: "/etc/containerd/config.toml", socket: containerdSocket },
      ...{ data: "/var/lib/containerd", state: "/run/containerd", log: "/run/containerd.log" },
    },
    ...{ cniBinDir: "/opt/cni/bin", cniConfDir: "/etc/cni/net.d", snapshotter: "overlayfs" },
  }).replace("netns_mounts_under_state_dir = true", "netns_mounts_under_state_dir = false"),
};

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Hierarchy {
  readonly path: string;
  readonly type: string;
  /** What names it to mount(8), such as `cpu` or `none,name=systemd`. */
  readonly options: string;
}

async function hierarchies(): Promise<Hierarchy[]> {
  const lines = (await readFile("/proc/self/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  return lines
    .filter(([, path = "", type]) => path.startsWith(CGROUPS) && (type === "cgroup" || type === "cgroup2"))
    .map(([, path = "", type = "", options = ""]) => {
      const named = options
        .split(",")
        .filter((word) => !/^(rw|ro|relatime|no\w+|nsdelegate|memory_\w+)$/.test(word));
      const isNamed = named.some((word) => word.startsWith("name="));
      return { path, type, options: isNamed ? `none,${named.join(",")}` : named.join(",") };
    });
}

const health = "http://127.0.0.1:10248/healthz";

/** For a node without systemd: the inittab of busybox. */
const inittab = `::sysinit:/bin/true
::respawn:/usr/local/bin/run-containerd
::respawn:/usr/local/bin/run-kubelet
`;

const plainFiles: Readonly<Record<string, string>> = {
  "/etc/inittab": inittab,
  "/usr/local/bin/run-containerd": "#!/bin/sh\nexec /usr/bin/containerd >>/run/containerd.log 2>&1\n",
  "/usr/local/bin/run-kubelet": `#!/bin/sh
. ${kubeletFlags}
exec /usr/bin/kubelet --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS >>/run/kubelet.log 2>&1
`,
  // busybox's init starts it again by itself.
  "/usr/local/bin/restart-kubelet": `#!/bin/sh
kubelet=$(pgrep -x -f '/usr/bin/kubelet .*')
kill $kubelet
while kill -0 $kubelet 2>/dev/null; do sleep 0.1; done
until busybox wget -q -O /dev/null ${health}; do sleep 0.1; done
`,
};

const systemd = `exec env -i container=other PATH=${PATH} SYSTEMD_UNIT_PATH=/etc/systemd/system /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=null --default-standard-output=null`;

export interface WholeNodeOptions {
  /** What becomes process 1; default: systemd. */
  readonly init?: "systemd" | "busybox";
}

export class WholeNode {
  readonly #init: "systemd" | "busybox";
  readonly directory = mkdtempSync(join(tmpdir(), "trivet-whole-"));
  #disk: ChildProcess | undefined;
  #machine: ChildProcess | undefined;
  #pid = 0;

  constructor({ init = "systemd" }: WholeNodeOptions = {}) {
    this.#init = init;
  }

  /** Makes its disk and starts it. */
  async create(): Promise<void> {
    const { directory } = this;
    // In the end the directory goes from here too, should this process not live to remove it.
    const script = `set -e; mount -t tmpfs -o mode=0755 tmpfs ${directory}; cd ${directory}
      mkdir root upper work tmp containerd; chmod 1777 tmp; ${this.#overlay()}; cd root
      rm -rf ${cleared.join(" ")}; mkdir -p ${[...cleared, ...used].join(" ")}; mkdir mnt/made; rmdir mnt/made
      rmdir opt/trivet etc/trivet var/lib/trivet
      echo made; read line; cd ${directory}; umount root; echo ready; read end || :; cd /; umount -l ${directory}; rmdir ${directory}`;
    this.#disk = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await this.#said(this.#disk, "made");
    const files = this.#init === "systemd" ? nodeFiles : { ...nodeFiles, ...plainFiles };
    for (const [path, text] of Object.entries(files)) {
      const at = join(`/proc/${this.#disk.pid}/root${directory}/root`, path);
      mkdirSync(dirname(at), { recursive: true });
      writeFileSync(at, text, { mode: path.startsWith("/usr/") ? 0o755 : 0o644 });
    }
    this.#disk.stdin?.write("go\n");
    await this.#said(this.#disk, "ready");
    await this.boot();
  }

  #overlay(): string {
    const { directory } = this;
    const layers = `lowerdir=/,upperdir=${directory}/upper,workdir=${directory}/work`;
    return `mount -t overlay overlay -o ${layers} ${directory}/root`;
  }

  async #said(child: ChildProcess, word: string): Promise<void> {
    const ended = once(child, "exit").then(([code]) => {
      throw new Error(`the node could not be made: code ${code}`);
    });
    await Promise.race([once(child.stdout ?? child, "data"), ended]).then(([text]) => {
      if (!String(text).includes(word)) throw new Error(`the node said ${text} instead of ${word}`);
    });
    ended.catch(() => undefined);
  }

  /** Switches it on. Resolves when systemd has reached its target, or when containerd answers. */
  async boot(): Promise<void> {
    const all = await hierarchies();
    const groups = all.map(({ path }) => join(path, `trivet-node-${process.pid}-${Date.now()}`));
    for (const path of groups) await mkdir(path);
    const enter = groups.map(
      (path) => `for name in cpus mems; do
        [ ! -e ${path}/cpuset.$name ] || [ -e ${CGROUPS}/cgroup.procs ] || cat ${path}/../cpuset.$name >${path}/cpuset.$name
      done
      echo $$ >${path}/cgroup.procs`,
    );
    const script = join(`/proc/${this.#disk?.pid}/root${this.directory}`, "boot.sh");
    writeFileSync(script, this.#bootScript(all));
    const flags = "--pid --mount --net --uts --ipc --cgroup --fork --kill-child --propagation private";
    // What ends with this process: its end of the pipe does so in any case.
    const outer = `set -e
      ${enter.join("\n")}
      unshare ${flags} sh ${this.directory}/boot.sh </dev/null & machine=$!
      echo $machine; read end || :; kill -9 $machine 2>/dev/null || :; wait
      # The kernel may take its last process out of it a moment later.
      for group in ${groups.join(" ")}; do
        echo $$ >$group/../cgroup.procs || :
        for try in $(seq 40); do find $group -depth -type d -exec rmdir {} + && break || sleep 0.05; done
      done 2>/dev/null`;
    const argv = ["-t", String(this.#disk?.pid), "-m", "sh", "-c", outer];
    const machine = spawn("nsenter", argv, { stdio: ["pipe", "pipe", "inherit"] });
    this.#machine = machine;
    machine.once("exit", () => {
      this.#pid = 0;
    });
    const [line] = await once(machine.stdout, "data");
    const unshared = Number(String(line).trim());
    await this.until(() => {
      const children = readFileSync(`/proc/${unshared}/task/${unshared}/children`, "utf8");
      this.#pid = Number(children.trim().split(" ")[0]);
      return this.#pid > 0;
    }, "process 1");
    await this.until(async () => {
      if (this.#init === "busybox") return (await this.run("ctr", "version")).status === 0;
      const { stdout } = await this.run("systemctl", "is-system-running");
      return ["running", "degraded"].includes(stdout.trim());
    }, "the init's work");
  }

  #bootScript(all: readonly Hierarchy[]): string {
    const { directory } = this;
    const isUnified = all.some(({ path }) => path === CGROUPS);
    const groups = isUnified
      ? [`mount -t cgroup2 cgroup2 root${CGROUPS}`]
      : [
          `mount -t tmpfs -o mode=0755 tmpfs root${CGROUPS}`,
          ...all.flatMap(({ path, type, options }) => [
            `mkdir root${path}`,
            `mount -t ${type} ${type === "cgroup" ? `-o ${options}` : ""} cgroup root${path}`,
          ]),
        ];
    const binds = { tmp: "/tmp", containerd: "/var/lib/containerd" };
    // Where these lie on disks of their own they are not in the view of this machine.
    const ours = [packageRoot, dirname(process.execPath)];
    return [
      ...["set -e", `cd ${directory}`, this.#overlay(), "mount -t proc proc root/proc"],
      ...["mount -t sysfs sysfs root/sys", "mount --rbind /dev root/dev"],
      ...["mount -t tmpfs -o mode=0755 tmpfs root/run", ...groups],
      ...Object.entries(binds).map(([name, path]) => `mount --bind ${name} root${path}`),
      ...ours.map(
        (path) =>
          `[ -d root${path} ] && [ -n "$(ls root${path})" ] || { mkdir -p root${path}; mount --bind ${path} root${path}; }`,
      ),
      ...["ip link set lo up", "ip link add up0 type veth peer up1", "ip address add 192.0.2.1/24 dev up0"],
      ...[
        "ip link set up1 up",
        "ip link set up0 up",
        "ip route add default via 192.0.2.254",
        "hostname node-1",
      ],
      ...["cd root", "pivot_root . .", "umount -l .", "cd /", "mount --make-rshared /"],
      this.#init === "busybox" ? `exec env -i PATH=${PATH} /bin/busybox init` : systemd,
    ].join("\n");
  }

  /** Ends all that runs, without a word; the disk stays. */
  async cutPower(): Promise<void> {
    const machine = this.#machine;
    this.#machine = undefined;
    if (!machine) return;
    const ended = machine.exitCode === null ? once(machine, "exit") : undefined;
    machine.stdin?.end();
    await ended;
  }

  async destroy(): Promise<void> {
    await this.cutPower();
    const ended = this.#disk && this.#disk.exitCode === null ? once(this.#disk, "exit") : undefined;
    this.#disk?.stdin?.end();
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** A path of the node's, as one of this process's. */
  at(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  read(path: string): string {
    return readFileSync(this.at(path), "utf8");
  }

  spawn(argv: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const namespaces = ["-t", String(this.#pid), ...["-m", "-p", "-n", "-u", "-i", "-C"]];
    return spawn("nsenter", [...namespaces, "--", ...argv], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH, HOME: "/root", ...env },
    });
  }

  /** A program on the node, to its end. */
  async run(...argv: string[]): Promise<Ran> {
    const child = this.spawn(argv);
    child.stdin?.end();
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name]?.on("data", (chunk: Buffer) => {
        texts[name] += chunk;
      });
    }
    const [status] = (await once(child, "close")) as [number | null];
    return { status, ...texts };
  }

  /** Throws with all that it said where its exit code is not 0. Gives its standard output. */
  async do(...argv: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(...argv);
    if (status !== 0) throw new Error(`${argv.join(" ")}: code ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  async kubeletIsWell(): Promise<void> {
    const ask = async () => (await this.run("busybox", "wget", "-q", "-O", "-", health)).stdout === "ok";
    await this.until(ask, "the kubelet's health");
  }

  /** The properties that `systemctl show` has of a unit. */
  async show(unit: string): Promise<Readonly<Record<string, string>>> {
    const text = await this.do("systemctl", "show", unit);
    return Object.fromEntries(text.split("\n").map((line) => line.split(/=(.*)/s, 2)));
  }

  async until(isTrue: () => boolean | Promise<boolean>, what: string, timeoutMs = START_MS): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (!(await isTrue())) {
      if (this.#machine && this.#machine.exitCode !== null) throw new Error(`${what}: the node has ended`);
      if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
      await sleep(POLL_MS);
    }
  }

  /**
   * What of its disk is not as on this machine, by path, each with what it is: all that was written, made, or taken away. Times are left out,
   * and what the kernel notes for the overlay.
   */
  async changes(): Promise<Record<string, object>> {
    const upper = `/proc/${this.#disk?.pid}/root${this.directory}/upper`;
    const found: Record<string, object> = {};
    for (const [name, entry] of Object.entries(await treeManifest(createSyscalls(), upper))) {
      const { mtimeNs: _, first: _first, links: _links, xattrs = {}, ...rest } = entry as Entry;
      const kept = Object.entries(xattrs).filter(([key]) => !key.startsWith("trusted.overlay."));
      found[name.slice(1) || "/"] = { ...rest, xattrs: Object.fromEntries(kept) };
    }
    return found;
  }
}

interface Entry {
  readonly mtimeNs: bigint;
  readonly first?: string;
  readonly links?: bigint;
  readonly xattrs?: Readonly<Record<string, string>>;
}
