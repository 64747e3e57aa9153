/** MicroK8s: one process for all, the kubelet's flags in a file with a line each, in which the snap's directories are variables. Pure. */
import type { NodeFacts, NodeProcess } from "./facts.ts";
import {
  type Endpoint,
  endpointPath,
  healthUrlOf,
  imageFlag,
  type KubeletSetup,
  refusal,
  runtimeFlag,
} from "./setup.ts";
import { findFlag, plainly, splitWords, type Word } from "./words.ts";

export const argumentsPath = "/var/snap/microk8s/current/args/kubelet";
export const ownRuntimePath = "/var/snap/microk8s/common/run/containerd.sock";
const variables: Readonly<Record<string, string>> = {
  SNAP_COMMON: "/var/snap/microk8s/common",
  SNAP_DATA: "/var/snap/microk8s/current",
  SNAP: "/snap/microk8s/current",
};

/** The words of a file of flags; lines that begin with `#` are comments. */
export function argumentWords(text: string): Word[] {
  let offset = 0;
  return text.split("\n").flatMap((line) => {
    const words = /^\s*#/.test(line) ? [] : splitWords(plainly(line, offset));
    offset += line.length + 1;
    return words;
  });
}

/** Throws kind `precondition` without the file. */
export function detectMicrok8s(facts: NodeFacts, process: NodeProcess): KubeletSetup {
  const text = facts.files.get(argumentsPath);
  if (text === undefined)
    throw refusal(argumentsPath, `${argumentsPath} is not there: is this a MicroK8s node?`);
  const words = argumentWords(text);
  const value = (flag: string) =>
    findFlag(words, flag)?.value.replace(
      /\$\{(\w+)\}|\$(\w+)/g,
      (all, a?: string, b?: string) => variables[a ?? b ?? ""] ?? all,
    );
  const endpoint = (flag: string): Endpoint | undefined => {
    const found = value(flag);
    if (found === undefined) return undefined;
    return {
      place: { kind: "arguments-file", path: argumentsPath, flag },
      path: endpointPath(found, `--${flag}`),
    };
  };
  const port = value("healthz-port");
  return {
    distribution: "microk8s",
    process,
    service: process.service ?? "snap.microk8s.daemon-kubelite.service",
    runtime: endpoint(runtimeFlag) ?? {
      place: { kind: "arguments-file", path: argumentsPath, flag: runtimeFlag },
      path: ownRuntimePath,
    },
    image: endpoint(imageFlag),
    healthUrl: healthUrlOf(value("healthz-bind-address"), port === undefined ? undefined : Number(port)),
    notes: ["the service restarts every part of MicroK8s on this node; pods go on running"],
  };
}
