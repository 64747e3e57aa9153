/** The runtime's side of one rule: calls the plugin, holds it to the form of its answers, and cleans up behind the rule. */
import { randomBytes } from "node:crypto";
import {
  type AddResult,
  type CallChanges,
  type ErrorObject,
  type Json,
  must,
  type Outcome,
  type Pod,
  type RuleContext,
  type Runtime,
} from "./rule.ts";

/** The exactly one document on stdout, which must be an object. */
export function documentOf({ stdout }: Outcome, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(stdout);
  } catch {
    must(false, `${what} printed no JSON document on stdout, but ${show(stdout)}`);
  }
  must(
    typeof value === "object" && value !== null && !Array.isArray(value),
    `${what} printed no JSON object`,
  );
  return value as Json;
}

export const show = (value: unknown): string => {
  const text = typeof value === "string" ? value.trim() : (JSON.stringify(value) ?? "missing");
  return text === "" ? "nothing" : text.length > 160 ? `${text.slice(0, 160)}…` : text;
};

export interface OwnedRuntime extends Runtime {
  /** Deletes every attachment that was tried, then the pods. */
  end(): Promise<void>;
}

export function createRuntime({ subject, version }: RuleContext): OwnedRuntime {
  const pods: Pod[] = [];
  const tried = new Map<string, () => Promise<unknown>>();
  const runtime: OwnedRuntime = {
    subject,
    version,
    async pod() {
      const pod = await subject.pod();
      pods.push(pod);
      return pod;
    },
    conf: (changes = {}) => ({ ...subject.conf, cniVersion: version, ...changes }),
    env: (command, pod, changes = {}) => ({
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod.id,
      CNI_NETNS: pod.netns,
      CNI_IFNAME: "eth0",
      CNI_PATH: subject.cniPath,
      ...changes,
    }),
    async call(command, pod, how: CallChanges = {}) {
      const env = runtime.env(command, pod, how.env);
      const conf = runtime.conf(how.conf);
      if (command === "ADD") {
        const { CNI_CONTAINERID: id, CNI_IFNAME: ifname } = env;
        tried.set(`${id} ${ifname}`, () =>
          subject.call({ ...env, CNI_COMMAND: "DEL" }, JSON.stringify(conf)),
        );
      }
      return subject.call(env, how.stdin ?? JSON.stringify(conf));
    },
    async added(pod, how) {
      const outcome = await runtime.succeeds("ADD", pod, how);
      return checkResult(documentOf(outcome, "ADD"));
    },
    async succeeds(command, pod, how) {
      const outcome = await runtime.call(command, pod, how);
      must(outcome.exitCode === 0, `${command} failed: ${show(outcome.stdout)}`);
      return outcome;
    },
    async fails(command, pod, how) {
      const outcome = await runtime.call(command, pod, how);
      must(outcome.exitCode !== 0, `${command} ended with exit code 0`);
      return checkError(documentOf(outcome, `the failed ${command}`));
    },
    async end() {
      for (const remove of [...tried.values()].reverse()) await remove();
      for (const pod of pods) await pod.remove("nothing");
    },
  };
  return runtime;
}

function checkResult(result: Json): AddResult {
  must(Array.isArray(result.interfaces ?? []), "the result's interfaces are no list");
  must(Array.isArray(result.ips ?? []), "the result's ips are no list");
  return { interfaces: [], ips: [], ...result } as unknown as AddResult;
}

function checkError({ cniVersion, code, msg }: Json): ErrorObject {
  must(typeof code === "number" && Number.isInteger(code) && code > 0, "the error has no code above 0");
  must(typeof msg === "string" && msg !== "", "the error has no msg");
  return { cniVersion, code, msg };
}

/** A name that no plugin can know. */
export const unknownId = (): string => `unknown-${randomBytes(4).toString("hex")}`;
