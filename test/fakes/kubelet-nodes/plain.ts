/**
 * Nodes whose kubelet is a process of its own, as kubeadm, minikube and administrators leave them: files, the process, and what must
 * change to put that kubelet behind the proxy. Written after the layouts that these document.
 */
import { containerd, dropInHead, type KubeletNode, proxy } from "./node.ts";

const kubeletUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`;

const kubeadmDropIn = (extra: string) => `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generates at runtime
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-${extra}
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`;

const kubeadmArgv = (...more: string[]) => [
  "/usr/bin/kubelet",
  "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
  "--kubeconfig=/etc/kubernetes/kubelet.conf",
  "--config=/var/lib/kubelet/config.yaml",
  ...more,
];

/** `more` is put in by its place in the alphabet, as kubeadm sorts its fields. */
const configuration = (more = "") => `# edited by hand: do not lose this comment
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
cgroupDriver: systemd
${more}healthzBindAddress: 127.0.0.1
healthzPort: 10248
kind: KubeletConfiguration
rotateCertificates: true   # by kubeadm
`;

const kubeadmFiles = (flags: string) => ({
  "/usr/lib/systemd/system/kubelet.service": kubeletUnit,
  "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": kubeadmDropIn("/etc/default/kubelet"),
  "/var/lib/kubelet/kubeadm-flags.env": flags,
  "/var/lib/kubelet/config.yaml": configuration(),
});

const kubelet = (distribution: string) => ({
  ...{ distribution, service: "kubelet.service", runtime: "/run/containerd/containerd.sock" },
});

/** All of them. */
export const plainNodes: readonly KubeletNode[] = [
  {
    name: "kubeadm, the flag in kubeadm-flags.env",
    files: kubeadmFiles(
      `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${containerd} --pod-infra-container-image=registry.k8s.io/pause:3.9"\n`,
    ),
    processes: [
      {
        argv: kubeadmArgv(
          `--container-runtime-endpoint=${containerd}`,
          "--pod-infra-container-image=registry.k8s.io/pause:3.9",
        ),
        service: "kubelet.service",
      },
    ],
    found: kubelet("kubeadm"),
    changes: {
      "/var/lib/kubelet/kubeadm-flags.env": [
        `-KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${containerd} --pod-infra-container-image=registry.k8s.io/pause:3.9"`,
        `+KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${proxy} --pod-infra-container-image=registry.k8s.io/pause:3.9"`,
      ],
    },
  },
  {
    name: "kubeadm, overridden in /etc/default/kubelet, which holds",
    files: {
      ...kubeadmFiles(
        `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${containerd} --node-ip=10.0.0.7"\n`,
      ),
      "/etc/default/kubelet": `# local\nKUBELET_EXTRA_ARGS='--v=4 --container-runtime-endpoint unix:///run/second/containerd.sock' \n`,
    },
    processes: [
      {
        argv: kubeadmArgv(
          ...[`--container-runtime-endpoint=${containerd}`, "--node-ip=10.0.0.7", "--v=4"],
          ...["--container-runtime-endpoint", "unix:///run/second/containerd.sock"],
        ),
        service: "kubelet.service",
      },
    ],
    found: { ...kubelet("kubeadm"), runtime: "/run/second/containerd.sock" },
    changes: {
      "/etc/default/kubelet": [
        "-KUBELET_EXTRA_ARGS='--v=4 --container-runtime-endpoint unix:///run/second/containerd.sock' ",
        `+KUBELET_EXTRA_ARGS='--v=4 --container-runtime-endpoint ${proxy}' `,
      ],
    },
  },
  {
    name: "kubeadm on Red Hat, flags over several lines, the image endpoint set too",
    files: {
      ...kubeadmFiles("KUBELET_KUBEADM_ARGS=\n"),
      "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": kubeadmDropIn("/etc/sysconfig/kubelet"),
      "/etc/sysconfig/kubelet": `KUBELET_EXTRA_ARGS=--max-pods=200 \\\n  --container-runtime-endpoint="${containerd}" \\\n  --image-service-endpoint=${containerd}\nOTHER=1\n`,
    },
    processes: [
      {
        argv: kubeadmArgv(
          ...["--max-pods=200", `--container-runtime-endpoint=${containerd}`],
          `--image-service-endpoint=${containerd}`,
        ),
        service: "kubelet.service",
      },
    ],
    found: kubelet("kubeadm"),
    changes: {
      "/etc/sysconfig/kubelet": [
        `-  --container-runtime-endpoint="${containerd}" \\`,
        `-  --image-service-endpoint=${containerd}`,
        `+  --container-runtime-endpoint="${proxy}" \\`,
        `+  --image-service-endpoint=${proxy}`,
      ],
    },
  },
  {
    name: "kubeadm 1.34, the endpoint in the configuration file",
    files: {
      ...kubeadmFiles('KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.7"\n'),
      "/var/lib/kubelet/config.yaml": configuration(`containerRuntimeEndpoint: "${containerd}"  # local\n`),
    },
    processes: [{ argv: kubeadmArgv("--node-ip=10.0.0.7"), service: "kubelet.service" }],
    version: [1, 34],
    found: kubelet("kubeadm"),
    changes: {
      "/var/lib/kubelet/config.yaml": [
        `-containerRuntimeEndpoint: "${containerd}"  # local`,
        `+containerRuntimeEndpoint: "${proxy}"  # local`,
      ],
    },
  },
  {
    name: "nobody names an endpoint, kubelet 1.27",
    files: kubeadmFiles(""),
    processes: [{ argv: kubeadmArgv(), service: "kubelet.service" }],
    version: [1, 27],
    found: kubelet("kubeadm"),
    changes: { "/var/lib/kubelet/config.yaml": [`+containerRuntimeEndpoint: ${proxy}`] },
  },
  {
    name: "nobody names an endpoint, kubelet 1.26, which takes it from no file",
    files: kubeadmFiles(""),
    processes: [{ argv: kubeadmArgv(), service: "kubelet.service" }],
    version: [1, 26],
    found: kubelet("kubeadm"),
    changes: {
      "/etc/systemd/system/kubelet.service.d/99-trivet.conf": [
        dropInHead,
        "+[Service]",
        "+ExecStart=",
        `+ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS --container-runtime-endpoint=${proxy}`,
      ],
    },
  },
  {
    name: "a drop-in directory, in which another file names the endpoint",
    files: {
      "/etc/systemd/system/kubelet.service": kubeletUnit.replace(
        "/usr/bin/kubelet",
        "/usr/bin/kubelet --config /etc/kubernetes/kubelet.json --config-dir=/etc/kubernetes/kubelet.conf.d/",
      ),
      "/etc/kubernetes/kubelet.json": '{\n  "kind": "KubeletConfiguration",\n  "healthzPort": 10255\n}\n',
      "/etc/kubernetes/kubelet.conf.d/10-runtime.conf": `kind: KubeletConfiguration\ncontainerRuntimeEndpoint: ${containerd}\n`,
      "/etc/kubernetes/kubelet.conf.d/20-health.conf":
        "kind: KubeletConfiguration\nhealthzBindAddress: 0.0.0.0\n",
      "/etc/kubernetes/kubelet.conf.d/README": "not read by the kubelet\n",
    },
    processes: [
      {
        argv: [
          "/usr/bin/kubelet",
          ...["--config", "/etc/kubernetes/kubelet.json", "--config-dir=/etc/kubernetes/kubelet.conf.d/"],
        ],
        service: "kubelet.service",
      },
    ],
    version: [1, 30],
    found: { ...kubelet("kubelet"), healthUrl: "http://127.0.0.1:10255/healthz" },
    changes: {
      "/etc/kubernetes/kubelet.conf.d/99-trivet.conf": [
        dropInHead,
        "+apiVersion: kubelet.config.k8s.io/v1beta1",
        "+kind: KubeletConfiguration",
        `+containerRuntimeEndpoint: ${proxy}`,
      ],
    },
  },
  {
    name: "a configuration in JSON and a kubelet that names its health check's port by a flag",
    files: {
      "/etc/systemd/system/kubelet.service": kubeletUnit.replace(
        "/usr/bin/kubelet",
        "/usr/bin/kubelet --config=/etc/kubelet.json --healthz-port=10300",
      ),
      "/etc/kubelet.json": '{\r\n    "kind": "KubeletConfiguration"\r\n}\r\n',
    },
    processes: [
      {
        argv: ["/usr/bin/kubelet", "--config=/etc/kubelet.json", "--healthz-port=10300"],
        service: "kubelet.service",
      },
    ],
    version: [1, 31],
    found: { ...kubelet("kubelet"), healthUrl: "http://127.0.0.1:10300/healthz" },
    changes: { "/etc/kubelet.json": [`+    "containerRuntimeEndpoint": "${proxy}",\r`] },
  },
  {
    name: "minikube, the flag in the unit's own command line, continued",
    files: {
      "/lib/systemd/system/kubelet.service": kubeletUnit,
      "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf": `[Unit]
Wants=containerd.service

[Service]
ExecStart=
ExecStart=/var/lib/minikube/binaries/v1.30.0/kubelet --config=/var/lib/kubelet/config.yaml \\
    --container-runtime-endpoint=${containerd} \\
    --hostname-override=minikube

[Install]
`,
      "/var/lib/kubelet/config.yaml": configuration(),
    },
    processes: [
      {
        argv: [
          ...["/var/lib/minikube/binaries/v1.30.0/kubelet", "--config=/var/lib/kubelet/config.yaml"],
          ...[`--container-runtime-endpoint=${containerd}`, "--hostname-override=minikube"],
        ],
        service: "kubelet.service",
      },
    ],
    version: [1, 30],
    found: kubelet("kubelet"),
    changes: {
      "/etc/systemd/system/kubelet.service.d/99-trivet.conf": [
        dropInHead,
        "+[Service]",
        "+ExecStart=",
        `+ExecStart=/var/lib/minikube/binaries/v1.30.0/kubelet --config=/var/lib/kubelet/config.yaml --container-runtime-endpoint=${proxy} --hostname-override=minikube`,
      ],
    },
  },
  {
    name: "the flag in a variable that the unit sets, beside a drop-in that comes late",
    files: {
      "/usr/lib/systemd/system/kubelet.service": kubeletUnit.replace(
        "/usr/bin/kubelet",
        "/usr/bin/kubelet $ARGS",
      ),
      "/etc/systemd/system/kubelet.service.d/99-zone.conf": `[Service]\nEnvironment="ARGS=--node-labels=a=\\"b\\" --container-runtime-endpoint=/var/run/containerd/containerd.sock" OTHER=x\n`,
    },
    processes: [
      {
        argv: [
          ...["/usr/bin/kubelet", "--node-labels=a=b"],
          "--container-runtime-endpoint=/var/run/containerd/containerd.sock",
        ],
        service: "kubelet.service",
      },
    ],
    version: [1, 29],
    found: { ...kubelet("kubelet"), runtime: "/var/run/containerd/containerd.sock" },
    changes: {
      "/etc/systemd/system/kubelet.service.d/zz-trivet.conf": [
        dropInHead,
        "+[Service]",
        `+Environment="ARGS=--node-labels=a=\\"b\\" --container-runtime-endpoint=${proxy}"`,
      ],
    },
  },
  {
    name: "no systemd: a start script that reads kubeadm's file",
    files: {
      "/var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${containerd}"`,
      "/var/lib/kubelet/config.yaml": configuration(),
    },
    processes: [{ argv: kubeadmArgv(`--container-runtime-endpoint=${containerd}`) }],
    init: "openrc",
    found: kubelet("kubeadm"),
    changes: {
      "/var/lib/kubelet/kubeadm-flags.env": [
        `-KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${containerd}"`,
        "\\ No newline at end of file",
        `+KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=${proxy}"`,
        "\\ No newline at end of file",
      ],
    },
  },
];
