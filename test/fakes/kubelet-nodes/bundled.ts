/** Nodes whose kubelet comes with a distribution that starts it by itself: k3s, rke2, MicroK8s. See plain.ts. */
import { containerd, dropInHead, type KubeletNode, proxy } from "./node.ts";

const k3sUnit = (more = "") => `[Unit]
Description=Lightweight Kubernetes

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
KillMode=process
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \\
    server \\
${more}
`;

const k3sChange = [dropInHead, "+kubelet-arg+:", `+  - "container-runtime-endpoint=${proxy}"`];

/** All of them. */
export const bundledNodes: readonly KubeletNode[] = [
  {
    name: "k3s without a configuration",
    files: { "/etc/systemd/system/k3s.service": k3sUnit() },
    processes: [{ argv: ["/usr/local/bin/k3s server", "", ""], service: "k3s.service" }],
    found: { distribution: "k3s", service: "k3s.service", runtime: "/run/k3s/containerd/containerd.sock" },
    changes: { "/etc/rancher/k3s/config.yaml.d/99-trivet.yaml": k3sChange },
  },
  {
    name: "k3s with kubelet-arg in its files, one of them late, and a port of its own for the health check",
    files: {
      "/etc/systemd/system/k3s-agent.service": k3sUnit().replace("server", "agent"),
      "/etc/rancher/k3s/config.yaml":
        "token: secret # keep\nkubelet-arg:\n  - max-pods=200\n  - healthz-port=10301\n",
      "/etc/rancher/k3s/config.yaml.d/99-zone.yaml": 'kubelet-arg+: ["v=2"]\n',
    },
    processes: [{ argv: ["/usr/local/bin/k3s agent"], service: "k3s-agent.service" }],
    found: {
      ...{
        distribution: "k3s",
        service: "k3s-agent.service",
        runtime: "/run/k3s/containerd/containerd.sock",
      },
      healthUrl: "http://127.0.0.1:10301/healthz",
    },
    changes: { "/etc/rancher/k3s/config.yaml.d/zz-trivet.yaml": k3sChange },
  },
  {
    name: "k3s on a runtime of the administrator's",
    files: {
      "/etc/systemd/system/k3s.service": k3sUnit(),
      "/etc/rancher/k3s/config.yaml": `container-runtime-endpoint: ${containerd}\n`,
    },
    processes: [{ argv: ["/usr/local/bin/k3s server"], service: "k3s.service" }],
    found: { distribution: "k3s", service: "k3s.service", runtime: "/run/containerd/containerd.sock" },
    changes: { "/etc/rancher/k3s/config.yaml.d/99-trivet.yaml": k3sChange },
  },
  {
    name: "k3s with kubelet-arg on the command line, which goes over its files",
    files: {
      "/etc/systemd/system/k3s.service": k3sUnit(
        "\t'--kubelet-arg=v=2' \\\n\t'--disable' \\\n\t'traefik' \\\n",
      ),
    },
    processes: [{ argv: ["/usr/local/bin/k3s server"], service: "k3s.service" }],
    found: { distribution: "k3s", service: "k3s.service", runtime: "/run/k3s/containerd/containerd.sock" },
    changes: {
      "/etc/systemd/system/k3s.service.d/99-trivet.conf": [
        dropInHead,
        "+[Service]",
        "+ExecStart=",
        `+ExecStart=/usr/local/bin/k3s server '--kubelet-arg=v=2' '--disable' 'traefik' --kubelet-arg=container-runtime-endpoint=${proxy}`,
      ],
    },
  },
  {
    name: "rke2, whose kubelet is a process of its own",
    files: {
      "/usr/local/lib/systemd/system/rke2-server.service":
        "[Service]\nExecStart=/usr/local/bin/rke2 server\n",
      "/etc/rancher/rke2/config.yaml": "cni: none\n",
    },
    processes: [
      { argv: ["/usr/local/bin/rke2 server"], service: "rke2-server.service" },
      {
        argv: ["kubelet", "--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock"],
        service: "rke2-server.service",
      },
    ],
    found: {
      distribution: "rke2",
      service: "rke2-server.service",
      runtime: "/run/k3s/containerd/containerd.sock",
    },
    changes: { "/etc/rancher/rke2/config.yaml.d/99-trivet.yaml": k3sChange },
  },
  {
    name: "MicroK8s",
    files: {
      "/var/snap/microk8s/current/args/kubelet": `# --container-runtime-endpoint=old\n--root-dir=\${SNAP_COMMON}/var/lib/kubelet\n--eviction-hard="memory.available<100Mi"\n--container-runtime-endpoint=\${SNAP_COMMON}/run/containerd.sock\n--healthz-bind-address=127.0.0.1\n`,
    },
    processes: [
      {
        argv: ["/snap/microk8s/7589/kubelite", "--kubelet-args-file=/var/snap/microk8s/7589/args/kubelet"],
        service: "snap.microk8s.daemon-kubelite.service",
      },
    ],
    found: {
      distribution: "microk8s",
      service: "snap.microk8s.daemon-kubelite.service",
      runtime: "/var/snap/microk8s/common/run/containerd.sock",
    },
    changes: {
      "/var/snap/microk8s/current/args/kubelet": [
        `---container-runtime-endpoint=\${SNAP_COMMON}/run/containerd.sock`,
        `+--container-runtime-endpoint=${proxy}`,
      ],
    },
  },
];
