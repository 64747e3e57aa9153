/** VERSION, what a plugin does with a wrong environment or configuration, and the form of its errors. */
import { type CallChanges, must, type Rule, type Runtime } from "../rule.ts";
import { documentOf, show } from "../runtime.ts";

/** The codes that the specification gives a name. */
const codes = { version: 1, environment: 4, decode: 6, config: 7 };

/** One that is no other failure: the same call passes without the change. */
async function isRefused(runtime: Runtime, command: string, how: CallChanges, code: number): Promise<void> {
  const pod = await runtime.pod();
  const before = await pod.links();
  const error = await runtime.fails(command, pod, how);
  must(error.code === code, `the code is ${error.code} instead of ${code} (${error.msg})`);
  must(show(await pod.links()) === show(before), "it changed the container");
}

const environmentRules: readonly Rule[] = [
  ...["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"].map((name) => ({
    title: `ADD without ${name} is an error of code 4`,
    judge: (runtime: Runtime) => isRefused(runtime, "ADD", { env: { [name]: undefined } }, codes.environment),
  })),
  ...["CNI_CONTAINERID", "CNI_IFNAME"].map((name) => ({
    title: `DEL without ${name} is an error of code 4`,
    judge: (runtime: Runtime) => isRefused(runtime, "DEL", { env: { [name]: undefined } }, codes.environment),
  })),
  {
    title: "an unknown CNI_COMMAND is an error of code 4",
    judge: (runtime: Runtime) =>
      isRefused(runtime, "ADD", { env: { CNI_COMMAND: "UPDATE" } }, codes.environment),
  },
  {
    title:
      "a container id may hold only letters, digits, dots, dashes and underscores, and starts with a letter or digit",
    async judge(runtime: Runtime) {
      for (const id of ["../x", "-x", "a/b", "a b", ".x"]) {
        await isRefused(runtime, "ADD", { env: { CNI_CONTAINERID: id } }, codes.environment);
      }
    },
  },
  {
    title: "an interface name that no interface can have is an error",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      for (const name of ["a-name-of-16-byt", "a/b", "a:b", "a b", ".", ".."]) {
        await runtime.fails("ADD", pod, { env: { CNI_IFNAME: name } });
      }
      must((await pod.links()).length === 1, "it made an interface all the same");
    },
  },
  {
    title: "ADD to a network namespace that is not there is an error",
    async judge(runtime: Runtime) {
      await runtime.fails("ADD", await runtime.pod(), { env: { CNI_NETNS: "/run/netns/no-such-namespace" } });
    },
  },
].map((rule) => ({ group: "environment", ...rule }));

const configurationRules: readonly Rule[] = [
  {
    title: "a configuration that is no JSON is an error of code 6",
    async judge(runtime: Runtime) {
      for (const stdin of ["{", "cniVersion: 1.0.0"])
        await isRefused(runtime, "ADD", { stdin }, codes.decode);
    },
  },
  {
    title: "an empty configuration is an error",
    judge: async (runtime: Runtime) => void (await runtime.fails("ADD", await runtime.pod(), { stdin: "" })),
  },
  {
    title: "a cniVersion that the plugin does not speak is an error of code 1",
    judge: (runtime: Runtime) => isRefused(runtime, "ADD", { conf: { cniVersion: "9.9.9" } }, codes.version),
  },
  {
    title: "a configuration without a network name, or with one that is none, is an error of code 7",
    async judge(runtime: Runtime) {
      for (const name of ["", "../x", "a b"])
        await isRefused(runtime, "ADD", { conf: { name } }, codes.config);
    },
  },
  {
    title: "the reserved keys are accepted: args, runtimeConfig, and those of cni.dev",
    async judge(runtime: Runtime) {
      const conf = {
        args: { cni: {} },
        runtimeConfig: {},
        "cni.dev/unheard-of": 1,
        capabilities: { dns: true },
      };
      await runtime.added(await runtime.pod(), { conf });
    },
  },
  {
    title:
      "an error is one object with cniVersion, code and msg on stdout, of the configuration's version, and not exit code 0",
    async judge(runtime: Runtime) {
      const pod = await runtime.pod();
      await pod.occupy("eth0");
      const error = await runtime.fails("ADD", pod);
      must(error.cniVersion !== undefined, "it has no cniVersion");
      must(
        error.cniVersion === runtime.version,
        `its cniVersion is ${error.cniVersion} instead of ${runtime.version}`,
      );
    },
  },
].map((rule) => ({ group: "configuration", ...rule }));

const versionRules: readonly Rule[] = [
  {
    title: "VERSION prints cniVersion and supportedVersions, and needs no other variable than CNI_COMMAND",
    async judge({ subject, version }: Runtime) {
      const stdin = JSON.stringify({ cniVersion: version });
      const outcome = await subject.call({ CNI_COMMAND: "VERSION" }, stdin);
      must(outcome.exitCode === 0, `it failed: ${show(outcome.stdout)}`);
      const { cniVersion, supportedVersions } = documentOf(outcome, "VERSION");
      must(typeof cniVersion === "string", "it has no cniVersion");
      must(Array.isArray(supportedVersions), "its supportedVersions are no list");
      must(supportedVersions.includes(version), `its supportedVersions lack ${version}`);
    },
  },
].map((rule) => ({ group: "VERSION", ...rule }));

export const versionAndErrorRules = [...versionRules, ...environmentRules, ...configurationRules];
