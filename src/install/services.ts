/**
 * The node's service manager, as an installation needs it. Where there is none that we know, every step is a sentence for the
 * administrator, and nothing is started by guessing.
 */
import type { Exec } from "../host/exec.ts";
import { execOrThrow } from "../host/exec.ts";
import type { Files } from "../host/files.ts";
import { ifThere } from "./state.ts";

/** What a step did, for the table: `active`, `started`, or what is left to do by hand. */
export type StepOutcome = string;

export interface Services {
  readonly kind: "systemd" | "openrc" | "none";
  /** Whether the service manager has read other definitions than are there. */
  hasOldDefinitions(): Promise<boolean>;
  /** After they were changed. */
  reloadDefinitions(): Promise<StepOutcome>;
  isActive(): Promise<boolean>;
  /** The proxy, or its socket, where it does not run. */
  start(): Promise<StepOutcome>;
  /** The running proxy gives its socket to the version that `current` names. Throws where that does not get ready: the old one serves on. */
  reload(): Promise<StepOutcome>;
  /** The proxy and its socket; resolves when they are gone. */
  stop(): Promise<StepOutcome>;
}

export const serviceKinds = ["auto", "systemd", "openrc", "none"] as const;
export type ServiceKind = (typeof serviceKinds)[number];

/** What runs the node: sd_booted(3) looks at the same directory. */
export async function detectServices(files: Files): Promise<Services["kind"]> {
  if (await ifThere(files.stat("/run/systemd/system"))) return "systemd";
  if (await ifThere(files.stat("/run/openrc"))) return "openrc";
  return "none";
}

/** A reload waits for the successor, which reads all its policies first; a stop waits for calls in flight. */
const TIMEOUT_MS = 120_000;
const units = ["trivet-cri.socket", "trivet-cri.service"] as const;

export function createServices(kind: Services["kind"], exec: Exec): Services {
  const run = async (...argv: [string, ...string[]]) => {
    await execOrThrow(exec, argv, { timeoutMs: TIMEOUT_MS });
  };
  const isTrue = async (...argv: [string, ...string[]]) =>
    (await exec(argv, { timeoutMs: TIMEOUT_MS })).exitCode === 0;
  if (kind === "systemd") {
    const property = ["show", "--property=NeedDaemonReload", "--value"] as const;
    const hasOldDefinitions = async () => {
      const { stdout } = await exec(["systemctl", ...property, ...units], { timeoutMs: TIMEOUT_MS });
      return stdout.split("\n").includes("yes");
    };
    return { ...systemd(run, isTrue), hasOldDefinitions };
  }
  return kind === "openrc" ? openrc(run, isTrue) : supervised(run, isTrue);
}

type Run = (...argv: [string, ...string[]]) => Promise<void>;
type IsTrue = (...argv: [string, ...string[]]) => Promise<boolean>;

function systemd(run: Run, isTrue: IsTrue): Omit<Services, "hasOldDefinitions"> {
  const isActive = (unit: string) => isTrue("systemctl", "is-active", "--quiet", unit);
  return {
    kind: "systemd",
    async reloadDefinitions() {
      await run("systemctl", "daemon-reload");
      return "systemd has read the units";
    },
    isActive: () => isActive("trivet-cri.service"),
    async start() {
      const inactive: string[] = [];
      for (const unit of units) if (!(await isActive(unit))) inactive.push(unit);
      if (inactive.length === 0) return "active";
      await run("systemctl", "start", ...inactive);
      return `started ${inactive.join(", ")}`;
    },
    async reload() {
      await run("systemctl", "reload", "trivet-cri.service");
      return "reloaded";
    },
    async stop() {
      // Together: the socket would start the service again.
      await run("systemctl", "stop", ...units);
      return `stopped ${units.join(", ")}`;
    },
  };
}

function openrc(run: Run, isTrue: IsTrue): Services {
  const isActive = () => isTrue("rc-service", "trivet-cri", "status");
  return {
    kind: "openrc",
    hasOldDefinitions: async () => false,
    reloadDefinitions: async () => "not needed with OpenRC",
    isActive,
    async start() {
      if (await isActive()) return "active";
      await run("rc-service", "trivet-cri", "start");
      return "started trivet-cri";
    },
    async reload() {
      await run("rc-service", "trivet-cri", "reload");
      return "reloaded";
    },
    async stop() {
      if (await isActive()) await run("rc-service", "trivet-cri", "stop");
      return "stopped trivet-cri";
    },
  };
}

const supervisor = "/opt/trivet/supervise";

/** The administrator's init runs our supervisor, which then understands the rest. */
function supervised(run: Run, isTrue: IsTrue): Services {
  // It is not there where nothing was installed.
  const isActive = () => isTrue(supervisor, "status").catch(() => false);
  return {
    kind: "none",
    hasOldDefinitions: async () => false,
    reloadDefinitions: async () => "not needed: no systemd here",
    isActive,
    async start() {
      if (await isActive()) return "active";
      return `to do: have the node's init run ${supervisor} before the kubelet; see docs/install.md`;
    },
    async reload() {
      await run(supervisor, "reload");
      return "reloaded";
    },
    async stop() {
      if (!(await isActive())) return "does not run";
      await run(supervisor, "stop");
      return `stopped; to do: take ${supervisor} out of the node's init`;
    },
  };
}
