/** `trivet cri policy`: looks at policies without a runtime. What the verbs need is loaded when one of them runs. */
import type { Command } from "commander";
import type { CriConfig } from "../../config/cri.ts";
import type { SubjectFlags } from "./policy-subject.ts";
import type { ProxySettings } from "./proxy-settings.ts";

interface OutputFlags {
  readonly output: "table" | "json";
}

const several = (value: string, before: string[] | undefined) => [...(before ?? []), value];

function addOutput(command: Command): Command {
  const option = command.createOption("-o, --output <format>", "table or json").choices(["table", "json"]);
  return command.addOption(option.default("table"));
}

/** `settings` says where the policies of the proxy are, where none are named, and which namespaces are exempt. */
export function definePolicy(
  cri: Command,
  settings: { readonly plain: ProxySettings; readonly exempt: ProxySettings },
): void {
  const policy = cri.command("policy").description("check, explain and test policies, without a runtime");
  policy.helpCommand(false);
  defineCheck(policy, settings.plain);
  defineExplain(policy, settings.exempt);
  defineTest(policy, settings.plain);
}

async function paths(given: readonly string[], config: CriConfig): Promise<readonly string[]> {
  const { pathsOrSettings } = await import("./policy-files.ts");
  return pathsOrSettings(given, config, "name files or a directory of policies");
}

function defineCheck(policy: Command, settings: ProxySettings): void {
  const command = policy
    .command("check")
    .argument("[paths...]", "policy files, or directories of them (default: cri.policyDir of the settings)")
    .description("tell everything that is wrong with policies, and what is probably not meant");
  addOutput(settings.add(command))
    .option("--strict", "count warnings as errors")
    .addHelpText(
      "after",
      `
All files together are one set, as in the proxy: they are read in the order of their names. An error is what the proxy would
refuse; a warning is about what it would do. Exit code: 0, or 2 where there are errors.

Examples:
  trivet cri policy check /etc/trivet/policies
  trivet cri policy check no-privileged.yaml --strict
  trivet cri policy check /etc/trivet/policies -o json | jq -r '.errors[].message'`,
    )
    .action(async (given: string[]) => {
      const { output, strict } = command.opts<OutputFlags & { strict?: boolean }>();
      const { runCheck } = await import("./policy-check.ts");
      const checked = await paths(given, await settings.read(command));
      process.exitCode = await runCheck({ paths: checked, output, strict: strict === true });
    });
}

interface ExplainFlags extends OutputFlags, SubjectFlags {
  readonly policies?: readonly string[];
}

function addSubject(command: Command): Command {
  return command
    .option(
      "--policies <path>",
      "policy file, or directory (default: cri.policyDir of the settings); repeatable",
      several,
    )
    .option("--method <method>", "method of the call, such as CreateContainer")
    .option("--request <file>", "its request, YAML or JSON with the names of the API's .proto; - for stdin")
    .option("--call <line>", "a line of the call log; - for stdin")
    .option("--pod <namespace/name>", "the pod that it is about")
    .option("--uid <uid>", "of the pod")
    .option("--label <key=value>", "of the pod; repeatable", several)
    .option("--annotation <key=value>", "of the pod; repeatable", several)
    .option("--runtime-handler <name>", "of the pod")
    .option("--static", "the pod is a static one")
    .option("--container <name>", "name of the container")
    .option("--image <image>", "image of the container, or of a call about images")
    .option("--listener <name>", "extra listener by which the call comes");
}

function defineExplain(policy: Command, settings: ProxySettings): void {
  const command = policy
    .command("explain")
    .description("tell which policies are about a call, and what they make of it");
  addOutput(settings.add(addSubject(command)))
    .addHelpText(
      "after",
      `
The call is given by flags, by its request, or both: what the request leaves out is made as the kubelet would make it of the
flags. A request with an id alone is about the pod and the container of the flags. Of a line of the call log only what selects
by pod, container and image can be told, since it holds no request; with --request as well, the line says who the call is about.

WHY is, for a policy that does not match, the first thing that does not; for one that matches, what it did. Values that may be
secret are shown as [redacted].

Examples:
  trivet cri policy explain --policies . --method Exec --pod payments/web-0 --container main
  trivet cri policy explain --method CreateContainer --pod shop/web-0 --label app=web --request request.yaml
  trivet cri policy explain --method PullImage --image nginx:1.25 -o json
  trivet cri calls --pod shop/web-0 --method CreateContainer -n 1 -o json | trivet cri policy explain --call -`,
    )
    .action(async () => {
      const flags = command.opts<ExplainFlags>();
      const config = await settings.read(command);
      const { runExplain } = await import("./policy-explain.ts");
      await runExplain({
        policies: await paths(flags.policies ?? [], config),
        exemptNamespaces: config.exemptNamespaces,
        ...{ flags, output: flags.output },
      });
    });
}

function defineTest(policy: Command, settings: ProxySettings): void {
  const command = policy
    .command("test")
    .argument(
      "[paths...]",
      "test files, or directories with *.test.yaml (default: cri.policyDir of the settings)",
    )
    .description("run the cases in RuntimePolicyTest files against policies");
  addOutput(settings.add(command))
    .option("-q, --quiet", "show only what failed")
    .addHelpText(
      "after",
      `
NAME.test.yaml tests NAME.yaml beside it, unless its spec.policies names other files. The proxy passes over test files, so they
may lie in the policy directory. Exit code: 0, 1 where a case failed, 2 where policies or tests cannot be used.

Example of a test:
  apiVersion: trivet.dev/v1alpha1
  kind: RuntimePolicyTest
  spec:
    cases:
      - name: a container gets the proxy
        method: CreateContainer
        pod: { namespace: web, name: web-0, labels: { app: web } }
        container: main
        expect:
          fields: { "config.envs[HTTPS_PROXY]": "http://proxy.example.org:3128" }

Examples:
  trivet cri policy test /etc/trivet/policies
  trivet cri policy test no-privileged.test.yaml -o json`,
    )
    .action(async (given: string[]) => {
      const { output, quiet } = command.opts<OutputFlags & { quiet?: boolean }>();
      const { runTests } = await import("./policy-test.ts");
      const tested = await paths(given, await settings.read(command));
      process.exitCode = await runTests({ paths: tested, output, quiet: quiet === true });
    });
}
