/**
 * A node in memory for tests of the CNI leg: files, kernel, rules and parameters outlive the processes that work on it.
 * `boot` starts one process; every effect of it is a step that can be counted, made to fail, or be its last.
 */
import type { CniDeps } from "../../src/cni/deps.ts";
import { TrivetError } from "../../src/errors.ts";
import { errnoError } from "../../src/host/errno.ts";
import { createFakeConntrack } from "./conntrack.ts";
import { createFakeFiles, type FakeFiles } from "./files.ts";
import { FakeKernel, FakeProcess } from "./netlink.ts";
import { createFakeNft, FakeTables } from "./nft.ts";
import { createFakeSysctl } from "./sysctl.ts";

export const bootId = "11111111-2222-4333-8444-555555555555";

/** What happens at one step: it fails before or after its effect, or the process is killed there. */
export interface Fault {
  readonly step: number;
  readonly mode:
    | "fail-before"
    | "fail-after"
    | "kill-before"
    | "kill-after"
    | "deadline-before"
    | "deadline-after";
  /** Of the call, for a deadline. */
  readonly deadline?: AbortController;
}

export interface BootedProcess {
  readonly deps: CniDeps;
  /** The steps so far, as `op subject`. */
  readonly steps: string[];
  /** From now on this process does nothing any more. */
  kill(): void;
}

export interface FakeNode {
  readonly kernel: FakeKernel;
  readonly sysctls: Map<string, string>;
  readonly tables: FakeTables;
  /** A new process, or the next one after a kill: what lies in memory is lost, the node is not. */
  boot(fault?: Fault): BootedProcess;
  /** Leases, records and temporary files, as paths below the network's directory. */
  stateFiles(): string[];
  readonly files: () => FakeFiles;
}

export function createFakeNode(): FakeNode {
  const kernel = new FakeKernel();
  const uplink = kernel.host.addPlainLink("eth0", { mac: "02:00:00:00:00:99", mtu: 1450 });
  uplink.up = true;
  const linkIndex = uplink.index;
  const route = { op: "route.add", destination: "0.0.0.0", prefixLength: 0, gateway: "192.0.2.1" } as const;
  kernel.host.addRoute({ ...route, linkIndex });
  const sysctls = new Map([
    ["net.ipv4.ip_forward", "0"],
    ["net.ipv6.conf.all.forwarding", "0"],
  ]);
  const tables = new FakeTables();
  let files = createFakeFiles({ directories: ["/run/trivet"] });
  let nonces = 0;
  return {
    kernel,
    sysctls,
    tables,
    files: () => files,
    boot(fault) {
      files = files.crash("everything");
      const nonce = () => `n${nonces++}`;
      return bootProcess({ files, kernel, sysctls, tables, nonce }, fault);
    },
    stateFiles: () =>
      files
        .paths()
        .filter((line) => / file /.test(line) && !line.includes("/cursor."))
        .map((line) => line.replace(/ file .*/, "").replace(/^.*555555555555\//, "")),
  };
}

interface Parts {
  readonly files: FakeFiles;
  readonly kernel: FakeKernel;
  readonly sysctls: Map<string, string>;
  readonly tables: FakeTables;
  readonly nonce: () => string;
}

function bootProcess({ files, kernel, sysctls, tables, nonce }: Parts, fault?: Fault): BootedProcess {
  const process = new FakeProcess(kernel);
  const nft = createFakeNft(tables);
  const conntrack = createFakeConntrack();
  const sysctl = createFakeSysctl(sysctls);
  const steps: string[] = [];
  const kill = () => {
    files.halt();
    process.halt();
    const refuse = (op: string, subject: string) => {
      throw errnoError("ECANCELED", op, subject);
    };
    nft.onEffect = refuse;
    conntrack.onEffect = refuse;
    sysctl.onEffect = refuse;
  };
  const hook = (op: string, subject: string, when: "before" | "after") => {
    if (when === "before") steps.push(`${op} ${subject}`);
    if (steps.length - 1 !== fault?.step || !fault.mode.endsWith(when)) return;
    if (fault.mode.startsWith("deadline")) {
      fault.deadline?.abort(new TrivetError({ kind: "deadline", op, subject, message: "the time is over" }));
      return;
    }
    if (fault.mode.startsWith("kill")) kill();
    throw errnoError("EIO", op, subject);
  };
  files.onEffect = hook;
  process.onEffect = hook;
  nft.onEffect = hook;
  conntrack.onEffect = hook;
  sysctl.onEffect = hook;
  let now = 1_700_000_000_000;
  const clock: CniDeps["clock"] = {
    nowMs: () => now++,
    monotonicNs: () => BigInt(now) * 1_000_000n,
    // Time stands still, so that no deadline comes by itself; whoever waits is let go when it ends.
    sleep: (_ms, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
  };
  const { netlink, netns } = process;
  return { steps, kill, deps: { files, netns, netlink, nft, conntrack, sysctl, clock, bootId, nonce } };
}
