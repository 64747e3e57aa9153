/**
 * A kubelet that is a process of its own: kubeadm's, kind's, minikube's, or one that somebody wrote a unit for. A flag goes over every
 * file, the drop-ins of --config-dir go over the file of --config. Pure.
 */
import { expandCommand, type FoundFlag, findOrigin, type OriginWord } from "./command-line.ts";
import { type EndpointField, type KubeletConfiguration, parseConfiguration } from "./configuration.ts";
import { type NodeFacts, type NodeProcess, namesIn } from "./facts.ts";
import { isOwnName, ownFile } from "./own-file.ts";
import { serviceOf } from "./service-files.ts";
import {
  defaultRuntimePath,
  type Endpoint,
  endpointPath,
  healthUrlOf,
  imageFlag,
  type KubeletSetup,
  type Place,
  refusal,
  runtimeFlag,
} from "./setup.ts";
import type { Service } from "./unit.ts";
import { flagOf } from "./words.ts";

export const kubeadmFlags = "/var/lib/kubelet/kubeadm-flags.env";
/** What a kubelet is given its flags by, where no systemd unit says it: kubeadm's, Debian's, Red Hat's, OpenRC's. */
export const usualFiles = [
  kubeadmFlags,
  "/etc/default/kubelet",
  "/etc/sysconfig/kubelet",
  "/etc/conf.d/kubelet",
];
const usualCommand = "kubelet $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS $command_args";

/** All that the two settings may be found in. */
interface Sources {
  readonly facts: NodeFacts;
  readonly argv: readonly string[];
  readonly unit: string;
  readonly hasUnit: boolean;
  readonly words: readonly OriginWord[];
  readonly configPath: string | undefined;
  readonly configDirectory: string | undefined;
  readonly main: KubeletConfiguration | undefined;
  /** By name, in the order in which they are read. */
  readonly dropIns: readonly { readonly name: string; readonly says: KubeletConfiguration }[];
}

/** Throws kind `precondition` where what runs is not what the files would start. */
export function detectPlain(facts: NodeFacts, kubelet: NodeProcess): KubeletSetup {
  const { argv } = kubelet;
  const unit = kubelet.service ?? "kubelet.service";
  const service = serviceOf(facts, unit);
  const sources = sourcesOf(facts, { argv, unit, service });
  const runtime = endpointOf(sources, runtimeFlag, "containerRuntimeEndpoint");
  const image = endpointOf(sources, imageFlag, "imageServiceEndpoint");
  const isKubeadm = facts.files.has(kubeadmFlags);
  const port = flagOf(argv, "healthz-port");
  return {
    distribution: isKubeadm ? "kubeadm" : "kubelet",
    process: kubelet,
    service: unit,
    runtime: runtime ?? { place: placeWithout(sources), path: defaultRuntimePath },
    image,
    healthUrl: healthUrlOf(
      flagOf(argv, "healthz-bind-address") ?? lastOf(sources, "healthzBindAddress"),
      port === undefined ? lastOf(sources, "healthzPort") : Number(port),
    ),
    notes: isKubeadm
      ? ["'kubeadm upgrade' may write the kubelet's files again: run this again after it"]
      : [],
  };
}

function sourcesOf(
  facts: NodeFacts,
  { argv, unit, service }: { argv: readonly string[]; unit: string; service: Service | undefined },
): Sources {
  const { files } = facts;
  const started: Service = service ?? {
    commands: [usualCommand],
    environmentFiles: usualFiles.filter((path) => files.has(path)),
    environment: new Map(),
  };
  const configPath = flagOf(argv, "config") || undefined;
  const configDirectory = flagOf(argv, "config-dir")?.replace(/(.)\/+$/, "$1") || undefined;
  for (const path of [configPath, configDirectory]) {
    if (path === undefined || path.startsWith("/")) continue;
    throw refusal(
      "kubelet",
      `the kubelet was started with the relative path "${path}": give it an absolute one first`,
    );
  }
  const mainText = configPath === undefined ? undefined : files.get(configPath);
  const names = configDirectory === undefined ? [] : namesIn(files, configDirectory);
  return {
    ...{ facts, argv, unit, hasUnit: service !== undefined, words: expandCommand(started, files) },
    ...{ configPath, configDirectory },
    main:
      mainText === undefined || configPath === undefined
        ? undefined
        : parseConfiguration(mainText, configPath),
    dropIns: names
      .filter((name) => name.endsWith(".conf"))
      .map((name) => {
        const path = `${configDirectory}/${name}`;
        return { name, says: parseConfiguration(files.get(path) ?? "", path) };
      }),
  };
}

/** What the files say of a field: the last one holds. */
function lastOf<Field extends keyof KubeletConfiguration>(
  { main, dropIns }: Sources,
  field: Field,
): KubeletConfiguration[Field] {
  return (
    [...dropIns].reverse().find(({ says }) => says[field] !== undefined)?.says[field] ??
    (main?.[field] as KubeletConfiguration[Field])
  );
}

/** Where one of the two endpoints is set, and to what. Undefined where nobody sets it. */
function endpointOf(sources: Sources, flag: string, field: EndpointField): Endpoint | undefined {
  const running = flagOf(sources.argv, flag) || undefined;
  const written = findOrigin(sources.words, flag);
  if (running !== (written?.value || undefined))
    throw refuseDifference(sources, { flag, running, written: written?.value });
  if (written && running !== undefined) {
    return { place: flagPlace(sources, flag, written), path: endpointPath(running, `--${flag}`) };
  }
  const value = lastOf(sources, field);
  if (value === undefined) return undefined;
  const place = filePlace(sources, field);
  return place && { place, path: endpointPath(value, field) };
}

function refuseDifference(
  { unit, hasUnit }: Sources,
  { flag, running, written }: { flag: string; running: string | undefined; written: string | undefined },
) {
  const [has, says] = [running ?? "none", written ?? "none"];
  const where = hasUnit ? `the files of ${unit} say` : `${usualFiles.join(", ")} say`;
  return refusal(
    "kubelet",
    `the running kubelet has ${has} for --${flag}, but ${where} ${says}: restart it if they were changed since; if it is started by something else, set --${flag}=unix:///run/trivet/cri.sock there by hand and restart it`,
  );
}

function flagPlace({ unit, hasUnit }: Sources, flag: string, { origin }: FoundFlag): Place {
  if (origin.kind === "environment-file") return { ...origin, flag };
  if (hasUnit) return { kind: "unit", unit, flag };
  throw refusal("kubelet", `nothing is known of what starts this kubelet: set --${flag} there by hand`);
}

function filePlace(sources: Sources, field: EndpointField): Place | undefined {
  const { configPath, configDirectory, dropIns } = sources;
  if (configDirectory !== undefined) {
    const rivals = dropIns.filter(({ name, says }) => says[field] !== undefined && !isOwnName(name));
    const path = ownFile(configDirectory, { ending: ".conf", rivals: rivals.map(({ name }) => name) });
    return { kind: "configuration-directory", path };
  }
  return configPath === undefined ? undefined : { kind: "configuration", path: configPath };
}

/** Where to set the runtime's endpoint, for the first time: kubelets take it from a file since 1.27. */
function placeWithout(sources: Sources): Place {
  const { facts, unit, hasUnit } = sources;
  const [major, minor] = facts.version ?? [0, 0];
  const inFile =
    major > 1 || (major === 1 && minor >= 27) ? filePlace(sources, "containerRuntimeEndpoint") : undefined;
  if (inFile) return inFile;
  if (hasUnit) return { kind: "unit", unit, flag: runtimeFlag };
  const why = facts.version
    ? `kubelet ${facts.version.join(".")} takes it from no file`
    : "the kubelet's version is not known";
  throw refusal(
    "kubelet",
    `nothing sets --${runtimeFlag}, ${why}, and no systemd unit starts it: set the flag by hand`,
  );
}
