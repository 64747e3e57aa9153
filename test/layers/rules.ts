/**
 * Who may import whom, and why not. Every folder says something about every other one: an edge that nobody has
 * thought about is an error of these tables, not a permission.
 */

export const folders = [
  "csi",
  "cni",
  "cri",
  "host",
  "kubelet",
  "kube",
  "observe",
  "config",
  "install",
  "commands",
  "errors",
  "version",
  "main",
  "test",
] as const;

export type Folder = (typeof folders)[number];

export interface FolderRule {
  readonly may: readonly Folder[];
  /** Types only, for this reason; values by name as `allowedValues` has them. */
  readonly typesOnly?: Partial<Record<Folder, string>>;
  /** Forbidden, for this reason. */
  readonly never: Partial<Record<Folder, string>>;
}

const legs =
  "the legs never import one another: each works, fails and is tested by itself, and cri runs in a process of its own";
const upwards = "verbs compose the parts; a part that knew its verb could not be used by another";
const production = "what is shipped must not need the tests";
const noConfig = "a leg takes values that were parsed at the edge, never the configuration itself";
const noKubelet = "registration is a neighbour that the node verb starts, not a part of a leg";
const noKube = "a leg is told what it must know of the cluster, so that it works with no API server";
const noVersion = "the version is a fact about the package: who reports it is told";
const effects =
  "a leg gets host effects as arguments and knows their interfaces only, so that it runs on fakes";
const installed = "what is installed is files, links and units: what they do is the business of others";
const installs = "installing is the work of verbs: no part of a running Trivet installs another";
const bottom = "everything imports the errors: an import of theirs would close a circle";

const leg = (own: Folder, others: Partial<Record<Folder, string>>): FolderRule => ({
  may: [own, "errors", "observe"],
  typesOnly: { host: effects },
  never: {
    ...others,
    kubelet: noKubelet,
    kube: noKube,
    config: noConfig,
    install: installs,
    commands: upwards,
    version: noVersion,
    main: upwards,
    test: production,
  },
});

const kubeAlone = "the API client tells what the cluster says; what is made of it is the business of others";
const hostBelow = "host effects are the lowest layer: they serve every part and know none";

export const rules: Readonly<Record<Folder, FolderRule>> = {
  csi: leg("csi", { cni: legs, cri: legs }),
  cni: leg("cni", { csi: legs, cri: legs }),
  cri: {
    may: ["cri", "errors", "observe"],
    never: {
      csi: legs,
      cni: legs,
      host: "the proxy has only sockets, which it is given: it must start where no native code can be loaded",
      kubelet: noKubelet,
      kube: noKube,
      config: noConfig,
      install: installs,
      commands: upwards,
      version: noVersion,
      main: upwards,
      test: production,
    },
  },
  host: {
    may: ["host", "errors"],
    never: {
      csi: hostBelow,
      cni: hostBelow,
      cri: hostBelow,
      kubelet: hostBelow,
      kube: hostBelow,
      observe: "an effect reports by what it returns and throws; its caller decides what is logged",
      config: hostBelow,
      install: hostBelow,
      commands: hostBelow,
      version: hostBelow,
      main: hostBelow,
      test: production,
    },
  },
  kubelet: {
    may: ["kubelet", "errors", "observe", "host"],
    never: {
      csi: "it is told the driver's name and endpoint, so that any driver can be registered",
      cni: "the network is not registered with the kubelet",
      cri: "the proxy is not registered with the kubelet",
      kube: "the kubelet is spoken to on this node, by sockets; the API server is another matter",
      config: noConfig,
      install: installs,
      commands: upwards,
      version: noVersion,
      main: upwards,
      test: production,
    },
  },
  kube: {
    may: ["kube", "errors", "observe"],
    typesOnly: { host: "files and time come as effects, so that tests bring tokens and pauses of their own" },
    never: {
      csi: kubeAlone,
      cni: kubeAlone,
      cri: kubeAlone,
      kubelet: kubeAlone,
      config: "settings arrive as values",
      install: installs,
      commands: upwards,
      version: noVersion,
      main: upwards,
      test: production,
    },
  },
  observe: {
    may: ["observe", "errors", "host"],
    never: {
      csi: "logs and metrics are told names and numbers: they know nothing of what they report on",
      cni: "logs and metrics are told names and numbers: they know nothing of what they report on",
      cri: "logs and metrics are told names and numbers: they know nothing of what they report on",
      kubelet: "logs and metrics are told names and numbers: they know nothing of what they report on",
      kube: "logs and metrics are told names and numbers: they know nothing of what they report on",
      config: "settings arrive as values",
      install: installs,
      commands: upwards,
      version: noVersion,
      main: upwards,
      test: production,
    },
  },
  config: {
    // A leg's own settings are parsed by that leg: pool flags are csi's, policies are cri's.
    may: ["config", "errors", "observe", "csi", "cni", "cri"],
    typesOnly: { host: "reading a configuration has no effect but the one file that it is given" },
    never: {
      kubelet: "registration has no settings of its own",
      kube: "where the cluster is, the verbs decide from the settings",
      install: installs,
      commands: upwards,
      version: noVersion,
      main: upwards,
      test: production,
    },
  },
  install: {
    // Effects arrive as arguments here too; what is written over the Files interface is imported by name.
    may: ["install", "errors", "observe", "host"],
    never: {
      csi: installed,
      cni: installed,
      cri: installed,
      kubelet: installed,
      kube: "an installation is of one node, and must work with no API server",
      config: "settings arrive as values",
      commands: upwards,
      version: noVersion,
      main: upwards,
      test: production,
    },
  },
  commands: {
    may: [
      "commands",
      "config",
      "csi",
      "cni",
      "cri",
      "host",
      "kubelet",
      "kube",
      "install",
      "observe",
      "errors",
      "version",
    ],
    // Only the demo plays the tests' kubelet; see `demoMayImport`.
    never: { main: "main knows the verbs; the other way round would be a circle", test: production },
  },
  errors: {
    may: ["errors"],
    never: {
      csi: bottom,
      cni: bottom,
      cri: bottom,
      host: bottom,
      kubelet: bottom,
      kube: bottom,
      observe: bottom,
      config: bottom,
      install: bottom,
      commands: bottom,
      version: bottom,
      main: bottom,
      test: bottom,
    },
  },
  version: {
    may: ["version", "host"],
    never: {
      csi: "the version is read from the package, and from nothing else",
      cni: "the version is read from the package, and from nothing else",
      cri: "the version is read from the package, and from nothing else",
      kubelet: "the version is read from the package, and from nothing else",
      kube: "the version is read from the package, and from nothing else",
      observe: "the version is read from the package, and from nothing else",
      config: "the version is read from the package, and from nothing else",
      install: "the version is read from the package, and from nothing else",
      commands: upwards,
      errors: "the version is read from the package, and from nothing else",
      main: upwards,
      test: production,
    },
  },
  main: {
    may: ["main", "commands", "errors", "host", "version"],
    never: {
      csi: "main turns argv into a verb and loads only that verb: start-up time is part of every CNI call",
      cni: "main turns argv into a verb and loads only that verb: start-up time is part of every CNI call",
      cri: "main turns argv into a verb and loads only that verb: start-up time is part of every CNI call",
      kubelet: "main turns argv into a verb and loads only that verb",
      kube: "main turns argv into a verb and loads only that verb",
      observe: "main turns argv into a verb and loads only that verb",
      config: "the verbs load their settings",
      install: "main turns argv into a verb and loads only that verb",
      test: production,
    },
  },
  // Tests and fakes may look at everything.
  test: { may: folders, never: {} },
};

/** Values of host modules that legs and the configuration may import: pure, or written over the interface given. */
export const allowedValues: Readonly<Record<string, string>> = {
  replaceFile: "written over the Files interface that the caller passes",
  ensureDirectory: "written over the Files interface that the caller passes",
  parseUnixAddress: "pure: text to path",
  maxSocketPathBytes: "a number of the kernel's",
  execOrThrow: "written over the Exec interface that the caller passes",
  listenUnix: "takes the node:net server of its caller; only edges of a leg call it",
};

/** Node modules that a leg may use anywhere in it: they compute and touch nothing. */
export const pureNodeModules: readonly string[] = [
  "node:path",
  "node:crypto",
  "node:buffer",
  "node:zlib",
  "node:util",
  "node:events",
];

/** The files of the legs that are an edge to a socket, and may use node:net and node:http2 for it. */
export const socketEdges: readonly string[] = [
  "src/cni/agent.ts",
  "src/cni/agent-request.ts",
  "src/cni/client/ask-agent.ts",
  "src/cri/pods/runtime-client.ts",
  "src/cri/tap/link.ts",
];

/** Which package may be imported below which paths, and why nowhere else. */
export const packages: Readonly<Record<string, { readonly by: readonly string[]; readonly why: string }>> = {
  koffi: {
    by: ["src/host/syscall.ts", "src/host/syscall/"],
    why: "koffi checks nothing: every argument is validated in one place",
  },
  "@grpc/grpc-js": {
    by: ["src/host/", "src/csi/", "src/kubelet/"],
    why: "it takes 65 ms to load, and the proxy does not speak gRPC but passes its bytes",
  },
  "@grpc/proto-loader": { by: ["src/host/proto.ts"], why: "how the .proto files are loaded is decided once" },
  systeminformation: {
    by: ["src/host/"],
    why: "it starts shells to read lsblk and df: only for people, never on the way of a call",
  },
  pino: {
    by: ["src/observe/"],
    why: "callers log through our own interface, which allows listed fields only",
  },
  "prom-client": { by: ["src/observe/"], why: "metrics have one registry, and one place that names them" },
  commander: { by: ["src/main.ts", "src/commands/"], why: "argv belongs to the verbs" },
  valibot: {
    by: ["src/config/", "src/cni/", "src/cri/policy/"],
    why: "only edges turn unknown data into types",
  },
  yaml: {
    by: ["src/config/", "src/cri/policy/", "src/commands/", "src/kube/kubeconfig.ts", "src/install/kubelet/"],
    why: "only configuration is YAML",
  },
  "@marcbachmann/cel-js": {
    by: ["src/cri/policy/cel/"],
    why: "expressions are bounded and checked in one place, before anything runs",
  },
  re2js: { by: ["src/cri/policy/cel/"], why: "patterns that policies bring must not backtrack" },
  "ipaddr.js": { by: ["src/cni/", "src/host/"], why: "addresses are the network's business" },
};

/** What the demo may import of the tests: the fakes and the harness, never a test. */
export const demoMayImport: readonly string[] = ["test/fakes/", "test/e2e/support/"];

/** The only places that may read the environment and argv, end the process or set its exit code. */
export const processEdges: readonly string[] = ["src/main.ts", "src/commands/"];

/** What the proxy's process may never load, by any way. */
export const unreachableFromCri: readonly string[] = [
  "src/csi/",
  "src/cni/",
  "src/kubelet/",
  "src/host/syscall.ts",
  "src/host/syscall/",
  "koffi",
  "@grpc/",
];

/** What breaks that rule below one file, for this reason: the proxy may load it by a dynamic import, and in no other way. */
export const lazyFromCri: Readonly<Record<string, string>> = {
  "src/host/peer-credentials.ts":
    "only the kernel knows who connected: loaded when a listener of the settings names users, and never without one",
};

export const MAX_LINES = 400;
/** Names that say nothing about what a file owns. */
export const emptyNames: readonly string[] = [
  "utils",
  "util",
  "helpers",
  "helper",
  "common",
  "misc",
  "shared",
];
