/** Delegation: how a plugin runs its IPAM plugin. The one here is a script that writes down how it was called. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Json, must, type Rule, type Runtime, type Subject } from "../rule.ts";
import { show } from "../runtime.ts";
import { otherNetwork } from "./networks.ts";

interface Call {
  readonly env: Record<string, string>;
  readonly stdin: Json;
}

interface Delegate {
  readonly conf: { readonly ipam: Json };
  readonly cniPath: string;
  calls(command: string): Call[];
}

/** `answer`: what it prints for ADD; with `fails` an error and exit code 1. */
function writeDelegate(scratch: string, answer: object, fails = false): Delegate {
  const directory = join(scratch, "delegates");
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const path = join(directory, "conformance-ipam");
  const script = `#!/bin/sh
call=$(mktemp -u "${directory}/$CNI_COMMAND.XXXXXX")
cat >"$call.stdin"
env >"$call.env"
if [ "$CNI_COMMAND" = VERSION ]; then
  echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}'
elif [ "$CNI_COMMAND" = ADD ]; then
  echo '${JSON.stringify(answer)}'
  exit ${fails ? 1 : 0}
fi
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return {
    conf: { ipam: { type: "conformance-ipam", note: "whole" } },
    cniPath: directory,
    calls: (command) => readCalls(directory, command),
  };
}

function readCalls(directory: string, command: string): Call[] {
  const names = readdirSync(directory).filter(
    (name) => name.startsWith(`${command}.`) && name.endsWith(".stdin"),
  );
  return names.map((name) => {
    const base = join(directory, name.slice(0, -".stdin".length));
    const lines = readFileSync(`${base}.env`, "utf8").split("\n");
    const env = lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);
    return {
      env: Object.fromEntries(env) as Record<string, string>,
      stdin: JSON.parse(readFileSync(`${base}.stdin`, "utf8")) as Json,
    };
  });
}

function addressAnswer(version: string): Json {
  const old = ["0.3.1", "0.4.0"].includes(version);
  return {
    cniVersion: version,
    ips: [{ ...(old ? { version: "4" } : {}), address: "203.0.113.77/24", gateway: "203.0.113.1" }],
    routes: [{ dst: "0.0.0.0/0" }],
    dns: {},
  };
}

const excused = (subject: Subject) =>
  subject.scratch === undefined ? "the plugin cannot start others here" : undefined;

async function delegated(runtime: Runtime, fails = false) {
  const answer = fails
    ? { cniVersion: runtime.version, code: 11, msg: "try later" }
    : addressAnswer(runtime.version);
  const delegate = writeDelegate(runtime.subject.scratch ?? "", answer, fails);
  // The plugin's own directory stays in the list: a chain may need both.
  const env = { CNI_PATH: `${runtime.subject.cniPath}:${delegate.cniPath}` };
  const conf = { ...otherNetwork(runtime.subject, "foreign"), ...delegate.conf };
  return { delegate, how: { conf, env } };
}

const rules: readonly Omit<Rule, "group">[] = [
  {
    title: "ADD runs the IPAM plugin from CNI_PATH with the same variables and the whole configuration",
    async judge(runtime) {
      const { delegate, how } = await delegated(runtime);
      const pod = await runtime.pod();
      await runtime.added(pod, how);
      const [call] = delegate.calls("ADD");
      must(call !== undefined, "it was not called");
      for (const [name, value] of Object.entries(runtime.env("ADD", pod, how.env))) {
        must(call.env[name] === value, `${name} was ${show(call.env[name])}`);
      }
      const { name, cniVersion, ipam } = call.stdin;
      must(
        name === runtime.conf(how.conf).name && cniVersion === runtime.version,
        "name or cniVersion was another",
      );
      must(show(ipam) === show(how.conf.ipam), `its ipam was ${show(ipam)}`);
    },
  },
  {
    title: "ADD gives the interface the address that the IPAM plugin chose, and prints it",
    async judge(runtime) {
      const { how } = await delegated(runtime);
      const pod = await runtime.pod();
      const { ips } = await runtime.added(pod, how);
      const printed = ips.map(({ address }) => address.split("/")[0]);
      const given = (await pod.links()).find(({ name }) => name === "eth0")?.addresses ?? [];
      must(show(printed) === show(["203.0.113.77"]), `it printed ${show(printed)}`);
      must(
        given.some((address) => address.startsWith("203.0.113.77/")),
        `the interface has ${show(given)}`,
      );
    },
  },
  {
    title: "an ADD whose IPAM plugin fails, fails too, and calls the IPAM plugin's DEL",
    async judge(runtime) {
      const { delegate, how } = await delegated(runtime, true);
      const pod = await runtime.pod();
      await runtime.fails("ADD", pod, how);
      must(delegate.calls("DEL").length > 0, "DEL was not called");
    },
  },
  {
    title: "DEL calls the IPAM plugin's DEL, without a namespace too",
    async judge(runtime) {
      const { delegate, how } = await delegated(runtime);
      const pod = await runtime.pod();
      await runtime.added(pod, how);
      await runtime.succeeds("DEL", pod, { ...how, env: { ...how.env, CNI_NETNS: "" } });
      must(
        delegate.calls("DEL").some(({ env }) => env.CNI_CONTAINERID === pod.id),
        "it was not called",
      );
    },
  },
];

export const delegationRules: readonly Rule[] = rules.map((rule) => ({
  group: "delegation",
  excused,
  ...rule,
}));
