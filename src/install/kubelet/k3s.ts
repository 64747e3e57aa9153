/**
 * k3s and rke2: the kubelet's flags are `kubelet-arg` in their configuration. Their own `container-runtime-endpoint` is never touched:
 * it switches the containerd that they bring along off. Pure.
 */
import { parse } from "yaml";
import { expandCommand } from "./command-line.ts";
import { type NodeFacts, type NodeProcess, namesIn } from "./facts.ts";
import { isOwnName, ownFile } from "./own-file.ts";
import { serviceOf } from "./service-files.ts";
import {
  type Endpoint,
  endpointPath,
  healthUrlOf,
  imageFlag,
  type KubeletSetup,
  type Place,
  refusal,
  runtimeFlag,
} from "./setup.ts";

/** Where the containerd listens that k3s and rke2 bring along. */
export const ownRuntimePath = "/run/k3s/containerd/containerd.sock";

type Name = "k3s" | "rke2";

/** Throws kind `precondition` where the arguments of the service cannot be read. */
export function detectK3s(facts: NodeFacts, process: NodeProcess, name: Name): KubeletSetup {
  const unit = process.service ?? `${name}.service`;
  const command = commandOf(facts, unit, name);
  const given = valuesOf(command, "kubelet-arg");
  const configPath = valuesOf(command, "config").at(-1) ?? `/etc/rancher/${name}/config.yaml`;
  const config = mergeFiles(facts.files, configPath);
  const kubeletArguments = [...config.list("kubelet-arg"), ...given];
  const lastArgument = (flag: string) =>
    kubeletArguments
      .map((text) => /^(?:--)?([^=]+)=(.*)$/s.exec(text))
      .findLast((found) => found?.[1] === flag)?.[2];
  const place = (flag: string): Place =>
    given.length > 0
      ? { kind: "unit", unit, flag: `kubelet-arg=${flag}` }
      : { kind: "k3s-configuration", path: config.ownPath };
  const endpoint = (flag: string): Endpoint | undefined => {
    const value = lastArgument(flag);
    return value === undefined
      ? undefined
      : { place: place(flag), path: endpointPath(value, `kubelet-arg ${flag}`) };
  };
  const replaced = valuesOf(command, runtimeFlag).at(-1) ?? config.list(runtimeFlag).at(-1);
  const path = replaced === undefined ? ownRuntimePath : endpointPath(replaced, runtimeFlag);
  const port = lastArgument("healthz-port");
  return {
    ...{ distribution: name, process, service: unit },
    runtime: endpoint(runtimeFlag) ?? { place: place(runtimeFlag), path },
    image: endpoint(imageFlag),
    healthUrl: healthUrlOf(
      lastArgument("healthz-bind-address"),
      port === undefined ? undefined : Number(port),
    ),
    notes: [`restarting ${unit} restarts the containerd that ${name} brings along; pods go on running`],
  };
}

/** The words after the program. The process itself hides them. */
function commandOf({ files, ...facts }: NodeFacts, unit: string, name: Name): string[] {
  const service = serviceOf({ files, ...facts }, unit);
  if (service) return expandCommand(service, files).map(({ text }) => text);
  const script = files.get(`/etc/init.d/${unit.replace(/\.service$/, "")}`);
  if (script === undefined || !/kubelet-arg|container-runtime-endpoint|--config/.test(script)) return [];
  const message = `${unit} gets kubelet-arg from its start script, over its files: move those arguments into /etc/rancher/${name}/config.yaml, then run this again`;
  throw refusal(unit, message);
}

/** Of `--name=value` and `--name value`, in their order. */
function valuesOf(command: readonly string[], name: string): string[] {
  return command.flatMap((word, index) => {
    if (word.startsWith(`--${name}=`)) return [word.slice(name.length + 3)];
    const next = command[index + 1];
    return word === `--${name}` && next !== undefined ? [next] : [];
  });
}

interface MergedFiles {
  /** A key's values after all files: `key+` adds to them, `key` replaces them. */
  list(key: string): string[];
  /** Where our own file goes: after every other one that says something on kubelet-arg. */
  readonly ownPath: string;
}

function mergeFiles(files: ReadonlyMap<string, string>, configPath: string): MergedFiles {
  const directory = `${configPath}.d`;
  const names = namesIn(files, directory).filter((name) => /\.ya?ml$/.test(name));
  const paths = [configPath, ...names.map((name) => `${directory}/${name}`)].filter((path) =>
    files.has(path),
  );
  const read = paths.map((path) => readMapping(files.get(path) ?? "", path));
  const valuesIn = (mapping: Readonly<Record<string, unknown>>, key: string) =>
    [mapping[key]]
      .flat()
      .filter((value) => value !== undefined && value !== null)
      .map(String);
  const rivals = names.filter((name) =>
    /^\s*["']?kubelet-arg/m.test(files.get(`${directory}/${name}`) ?? ""),
  );
  return {
    list: (key) =>
      read.reduce<string[]>((values, mapping) => {
        const replaced = Object.hasOwn(mapping, key) ? valuesIn(mapping, key) : values;
        return [...replaced, ...valuesIn(mapping, `${key}+`)];
      }, []),
    ownPath: ownFile(directory, { ending: ".yaml", rivals: rivals.filter((name) => !isOwnName(name)) }),
  };
}

function readMapping(text: string, path: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = parse(text) ?? {};
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // Told of below, as everything that is no mapping.
  }
  throw refusal(path, `${path} is no YAML mapping: repair it first`);
}

/** A whole file of ours. The plus adds to what other files say. */
export function formatK3sFile(flags: Readonly<Record<string, string>>): string {
  const lines = Object.entries(flags).map(([flag, value]) => `  - "${flag}=${value}"\n`);
  return `# Written by 'trivet install kubelet'; 'trivet uninstall kubelet' takes it away.\nkubelet-arg+:\n${lines.join("")}`;
}
