/** `trivet install kubelet`: the kubelet is told to use the proxy's socket, after everything was checked, and only if it is well there. */
import { createInterface } from "node:readline/promises";
import { type Command, InvalidArgumentError } from "commander";
import { defaultListen } from "../../config/cri.ts";
import { defaultStateDir } from "../../config/node.ts";
import { TrivetError } from "../../errors.ts";
import { parseUnixAddress } from "../../host/unix-socket.ts";
import type { NodeDeps } from "../../install/kubelet/deps.ts";
import { detectKubelet } from "../../install/kubelet/detect.ts";
import { unifiedDiff } from "../../install/kubelet/diff.ts";
import { type Edit, planEdits } from "../../install/kubelet/edits.ts";
import { gatherFacts } from "../../install/kubelet/gather.ts";
import { standGuard } from "../../install/kubelet/guard.ts";
import { locateEdits } from "../../install/kubelet/located.ts";
import { checkBefore } from "../../install/kubelet/preflight.ts";
import { readPending, type Wiring } from "../../install/kubelet/record.ts";
import { restartCommand } from "../../install/kubelet/restart.ts";
import { type KubeletSetup, refusal } from "../../install/kubelet/setup.ts";
import { otherThan } from "../../install/kubelet/watch.ts";
import { patienceMs, unwireKubelet, wireKubelet } from "../../install/kubelet/wire.ts";
import { whileLocked } from "../../install/lock.ts";
import { print } from "../print.ts";
import { createKubeletDeps, createNonce, startGuard } from "./kubelet-deps.ts";

interface KubeletFlags {
  readonly socket: string;
  readonly within: number;
  readonly settle: number;
  readonly healthUrl?: string;
  readonly restartCommand?: string;
  readonly kubeletLog?: string;
  readonly stateDir: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

interface GuardFlags {
  readonly nonce: string;
  readonly deadline: number;
  readonly stateDir: string;
}

const seconds = (value: string): number => {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 0 && number <= 3600) return number;
  throw new InvalidArgumentError("give whole seconds, at most 3600");
};

/** Adds the subcommand to `trivet install`, and the one that it starts beside itself. */
export function defineInstallKubelet(command: Command): void {
  command
    .command("kubelet")
    .description("put the kubelet behind the CRI proxy, and take that back by itself if it is not well there")
    .option("--socket <address>", "of the proxy, unix:///PATH", defaultListen)
    .option("--dry-run", "only show what would be changed")
    .option("--yes", "do not ask")
    .option("--within <seconds>", "for how long the kubelet may take to be well again", seconds, 90)
    .option("--settle <seconds>", "for how long it must stay well", seconds, 5)
    .option(
      "--health-url <url>",
      "of the kubelet (default: as its configuration says, http://127.0.0.1:10248/healthz)",
    )
    .option("--restart-command <command>", "what restarts the kubelet, where neither systemd nor OpenRC does")
    .option("--kubelet-log <file>", "where the kubelet writes its log, where that is not systemd's journal")
    .option("--state-dir <dir>", "where it is remembered what was changed", defaultStateDir)
    .addHelpText(
      "after",
      `
The order is: find how this node runs its kubelet, show the change as a diff, ask; check that the proxy serves and leads to the
kubelet's own runtime; write, restart the kubelet's service, watch it. If it is not healthy, or not connected to the proxy, within the
time given, every file is restored and the service is restarted again; so it is if this program is killed. Run it on the host, with all
its namespaces. 'trivet uninstall kubelet' takes it back, 'trivet bypass' does so when nothing else works.

Example:
  trivet install kubelet --dry-run
  trivet install kubelet --yes --within 120`,
    )
    .action(runInstall);
  command
    .command("kubelet-guard", { hidden: true })
    .description("wait for an installer of the kubelet to end, and take back what it left half done")
    .requiredOption("--nonce <nonce>", "which installer")
    .requiredOption("--deadline <seconds>", "for how long it may take", seconds)
    .option("--state-dir <dir>", "as it was given to install", defaultStateDir)
    .action(runGuard);
}

const tell = (line: string) => process.stderr.write(`${line}\n`);

async function runInstall(flags: KubeletFlags): Promise<void> {
  const proxy = parseUnixAddress(flags.socket);
  if (proxy === undefined) {
    const message = `--socket: "${flags.socket}" is no Unix socket: write it as unix:///PATH`;
    throw new TrivetError({ kind: "invalid", op: "install.kubelet", subject: flags.socket, message });
  }
  const deps = createKubeletDeps(flags.stateDir, tell);
  // Nothing is written, so no lock: that would be a file.
  if (flags.dryRun) return void (await look(deps, flags, proxy));
  await whileLocked(deps.files, deps.stateDir, async () => {
    if (await readPending(deps)) {
      tell("an earlier run was killed before the kubelet was well: taking back what it left");
      await unwireKubelet(deps);
    }
    const found = await look(deps, flags, proxy);
    if (!found) return;
    if (!(await isAgreed(flags))) return print("nothing was changed\n");
    await apply(deps, found);
  });
}

interface Found {
  readonly setup: KubeletSetup;
  readonly edits: readonly Edit[];
  readonly wiring: Wiring;
}

/** Says what is there, what would be changed, and whether it could be. Undefined where there is nothing to do. */
async function look(deps: NodeDeps, flags: KubeletFlags, proxy: string): Promise<Found | undefined> {
  const facts = await gatherFacts(deps);
  const setup = detectKubelet(facts);
  const { runtime, image, service, distribution } = setup;
  const edits = await locateEdits(deps, planEdits(facts, setup, proxy));
  print(`${distribution}: process ${setup.process.pid} of ${service}, runtime at ${runtime.path}\n`);
  for (const note of setup.notes) print(`note: ${note}\n`);
  if (image && image.path !== runtime.path)
    print(`note: images have a service of their own at ${image.path}: it stays\n`);
  if (runtime.path.endsWith("run/crio/crio.sock")) {
    print("note: by another name of its socket the kubelet asks CRI-O, and not cAdvisor, for statistics\n");
  }
  if (await isSameSocket(deps, runtime.path, proxy)) {
    const elsewhere = await otherThan(deps, setup.process.pid, proxy);
    if (elsewhere !== undefined) {
      const message = `the kubelet's files name ${proxy}, but it is connected to ${elsewhere}: restart it`;
      throw refusal(proxy, message);
    }
    print(`the kubelet is behind ${proxy} already: nothing to do\n`);
    return undefined;
  }
  for (const { path, before, after } of edits) print(unifiedDiff(path, before, after));
  const healthUrl = flags.healthUrl ?? setup.healthUrl;
  if (healthUrl === undefined)
    throw refusal("kubelet", "the kubelet serves no health check: turn it on, or give --health-url");
  const restart = flags.restartCommand ?? restartCommand(facts.init, service);
  const identity = await checkBefore(deps, { proxy, runtime: runtime.path, healthUrl });
  print(`the proxy leads to it: ${identity.runtimeName} ${identity.runtimeVersion}\nrestart: ${restart}\n`);
  if (!(await isServedAtBoot(deps))) {
    print(
      `note: nothing is set up to serve ${proxy} before the kubelet at the next boot: see 'trivet install'\n`,
    );
  }
  const wiring: Wiring = {
    ...{ restart, service, healthUrl, proxy, runtime: runtime.path, log: flags.kubeletLog },
    ...{ withinMs: flags.within * 1000, settleMs: flags.settle * 1000 },
  };
  return { setup, edits, wiring };
}

/** Whether systemd starts what 'trivet install' puts there. Other service managers cannot be asked. */
async function isServedAtBoot({ files }: NodeDeps): Promise<boolean> {
  const links = ["sockets.target.wants/trivet-cri.socket", "multi-user.target.wants/trivet-cri.service"];
  const found = links.map((link) => files.stat(`/etc/systemd/system/${link}`).then(Boolean, () => false));
  return (await Promise.all(found)).includes(true);
}

async function isSameSocket({ files }: NodeDeps, a: string, b: string): Promise<boolean> {
  const [real, other] = await Promise.all([a, b].map((path) => files.realPath(path).catch(() => path)));
  return real === other;
}

async function isAgreed({ yes }: KubeletFlags): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY) {
    const message = "nothing was changed: give --yes to have it done without being asked";
    throw new TrivetError({ kind: "precondition", op: "install.kubelet", subject: "--yes", message });
  }
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await asking
    .question("Change this, and restart the kubelet? [y/N] ")
    .finally(() => asking.close());
  return /^y(es)?$/i.test(answer.trim());
}

async function apply(deps: NodeDeps, { setup, edits, wiring }: Found): Promise<void> {
  const nonce = createNonce();
  const own = (await deps.listProcesses()).find(({ pid }) => pid === process.pid);
  const pending = { nonce, pid: process.pid, startTicks: String(own?.startTicks ?? 0n) };
  // Restarting and watching, there and back, and something for the rest.
  const deadlineMs = 2 * wiring.withinMs + 2 * patienceMs(wiring) + 60_000;
  const work = {
    wiring,
    pending,
    edits,
    process: setup.process,
    startGuard: () => startGuard(deps, { nonce, deadlineMs }),
  };
  const pid = await wireKubelet(deps, work);
  print(`the kubelet, now process ${pid}, is healthy and asks its runtime through ${wiring.proxy}\n`);
}

async function runGuard({ nonce, deadline, stateDir }: GuardFlags): Promise<void> {
  // It is to outlive the terminal that the installer was started from.
  for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT"] as const) process.on(signal, () => undefined);
  const deps = createKubeletDeps(stateDir, tell);
  await standGuard(deps, { nonce, deadlineMs: deadline * 1000, kill: (pid) => process.kill(pid, "SIGKILL") });
}
