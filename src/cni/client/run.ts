/**
 * What a container runtime runs: hands the call to the agent, and is the plugin itself where there is no agent. Loads next to
 * nothing before it knows which; stdout gets exactly one JSON document or nothing, and only from here.
 */
import type { CniDeps } from "../deps.ts";
import { type AgentReply, forwardedEnvironment, limitsOf } from "../protocol/agent-frame.ts";
import { defaultSocket } from "../protocol/defaults.ts";
import { askAgent } from "./ask-agent.ts";
import { createStderrLog } from "./stderr-log.ts";

/** The process around the plugin, as arguments: nothing here reads `process` itself. */
export interface RunCniOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readStdin: () => Promise<Uint8Array | string>;
  readonly writeStdout: (text: string) => void;
  readonly writeStderr: (text: string) => void;
  /** Called only where the call is not the agent's, since it loads the native parts. */
  readonly loadDeps: () => Promise<CniDeps>;
  /** Do not ask the agent: the static client has done so already. */
  readonly standalone?: boolean;
  /** How long the agent may take to accept the connection. */
  readonly connectTimeoutMs?: number;
  /** How long to wait for the agent's answer; by default a little longer than the plugin's own limit. */
  readonly answerTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 200;
/** The kernel connects us to an agent that hangs, too. Long enough for one that is busy. */
const GO_TIMEOUT_MS = 1_000;
/** The specification's code for a call that may succeed when it is made again. */
const TRY_AGAIN_LATER = 11;
/** The specification's code for the failure of an operation of the system. */
const IO_FAILURE = 5;

/** Gives the exit code: 0, or 1 with an error object on stdout. */
export async function runCni(options: RunCniOptions): Promise<number> {
  const { env, writeStdout, writeStderr } = options;
  const command = env.CNI_COMMAND ?? "";
  const stdin = Buffer.from(await options.readStdin());
  if (command === "VERSION") {
    const { versionReply } = await import("../protocol/versions.ts");
    writeStdout(versionReply(stdin.toString("utf8")));
    return 0;
  }
  const forwarded = options.standalone ? "standalone" : await forward(options, command, stdin);
  if (forwarded === "standalone") return runStandalone(options, stdin);
  writeStderr(forwarded.stderr);
  writeStdout(forwarded.stdout);
  return forwarded.exitCode;
}

async function forward(
  { env, connectTimeoutMs = CONNECT_TIMEOUT_MS, answerTimeoutMs, writeStderr }: RunCniOptions,
  command: string,
  stdin: Buffer,
): Promise<AgentReply | "standalone"> {
  const { deadlineMs, answerMs } = limitsOf(command);
  const answer = await askAgent({
    socketPath: socketOf(stdin),
    call: { command, env: forwardedEnvironment(env), stdin, deadlineMs },
    connectTimeoutMs,
    goTimeoutMs: Math.max(GO_TIMEOUT_MS, connectTimeoutMs),
    answerTimeoutMs: answerTimeoutMs ?? answerMs,
  });
  if ("reply" in answer) return answer.reply;
  if (!answer.begun) return "standalone";
  // The agent died or hangs in the middle. All but ADD can be run again by anybody; of an ADD the runtime must
  // have a failure, so that it sends the DEL which clears away what is left.
  writeStderr(`trivet: ${answer.why}\n`);
  if (command !== "ADD") return "standalone";
  const { encodeError } = await import("../protocol/result.ts");
  const msg = `${answer.why}; DEL clears away what this ADD left, then try again`;
  const stdout = encodeError({ cniVersion: glance(stdin).cniVersion, code: TRY_AGAIN_LATER, msg });
  return { exitCode: 1, stdout, stderr: "" };
}

function socketOf(stdin: Buffer): string {
  const { socket } = glance(stdin);
  return typeof socket === "string" && socket.startsWith("/") ? socket : defaultSocket;
}

/** What is wrong with a configuration is for the plugin to say: here it is only looked at. */
function glance(stdin: Buffer): { readonly socket?: unknown; readonly cniVersion?: unknown } {
  try {
    return (JSON.parse(stdin.toString("utf8")) as object | null) ?? {};
  } catch {
    return {};
  }
}

async function runStandalone(options: RunCniOptions, stdin: Buffer): Promise<number> {
  const { createPlugin } = await import("../plugin.ts");
  let deps: CniDeps;
  try {
    deps = await options.loadDeps();
  } catch (error) {
    return cannotStart(options, stdin, error);
  }
  const plugin = createPlugin({ deps, log: createStderrLog(options.writeStderr) });
  const { exitCode, stdout } = await plugin.call({ env: options.env, stdin: stdin.toString("utf8") });
  options.writeStdout(stdout);
  return exitCode;
}

/** The runtime reads stdout: what it finds on stderr alone it can only quote. */
async function cannotStart(options: RunCniOptions, stdin: Buffer, error: unknown): Promise<number> {
  const { encodeError } = await import("../protocol/result.ts");
  const why = error instanceof Error ? error.message : String(error);
  const msg = `trivet cannot work on this host: ${why}`;
  options.writeStderr(`trivet: ${why}\n`);
  options.writeStdout(encodeError({ cniVersion: glance(stdin).cniVersion, code: IO_FAILURE, msg }));
  return 1;
}
