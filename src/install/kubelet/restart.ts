/** How the kubelet's service is restarted on this node, as one line for the shell: the same line serves the bypass script. */
import { execOrThrow } from "../../host/exec.ts";
import type { KubeletDeps } from "./deps.ts";
import type { NodeFacts } from "./facts.ts";
import { refusal } from "./setup.ts";

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Throws kind `precondition` where nobody can restart it, with what to give. */
export function restartCommand(init: NodeFacts["init"], service: string): string {
  if (init === "systemd") {
    const unit = quote(service);
    // A unit that has failed too often may not be started again until that is forgotten.
    return `systemctl daemon-reload && { systemctl reset-failed ${unit} 2>/dev/null; systemctl restart ${unit}; }`;
  }
  if (init === "openrc") return `rc-service ${quote(service.replace(/\.service$/, ""))} restart`;
  throw refusal(
    "kubelet",
    "neither systemd nor OpenRC runs here: say with --restart-command what restarts the kubelet, and comes back when it has, such as --restart-command '/etc/init.d/kubelet restart'",
  );
}

/** Resolves when the command has ended well. */
export async function restartKubelet(
  { exec }: Pick<KubeletDeps, "exec">,
  command: string,
  timeoutMs: number,
): Promise<void> {
  await execOrThrow(exec, ["/bin/sh", "-c", command], { timeoutMs });
}

const LOG_LINES = 15;

/** The last lines that the kubelet wrote; none where they cannot be had. */
export async function lastLogLines(
  { exec, files }: Pick<KubeletDeps, "exec" | "files">,
  { service, log }: { readonly service: string; readonly log: string | undefined },
): Promise<string[]> {
  const lines = (text: string) => text.split("\n").filter(Boolean).slice(-LOG_LINES);
  if (log !== undefined) return lines((await files.read(log).catch(() => Buffer.alloc(0))).toString("utf8"));
  const argv = [
    "journalctl",
    "--no-pager",
    "-q",
    "-o",
    "cat",
    "-n",
    String(LOG_LINES),
    "-u",
    service,
  ] as const;
  const answer = await exec([...argv], { timeoutMs: 10_000 }).catch(() => undefined);
  return answer?.exitCode === 0 ? lines(answer.stdout) : [];
}
