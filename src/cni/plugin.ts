/**
 * The plugin: environment and stdin in, exit code and stdout out. The agent and the standalone program both run this, on the
 * same state. It is the edge: errors get their code here, and each call its one line in the log.
 */
import { asTrivetError, isKind, type TrivetError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { CallContext } from "./context.ts";
import { createRules } from "./datapath/rules.ts";
import { withDeadline } from "./deadline.ts";
import type { CniDeps } from "./deps.ts";
import { type CallFacts, dispatchAttachment, dispatchNetwork } from "./dispatch.ts";
import { kindToCniCode } from "./error-code.ts";
import type { LiveSandboxes } from "./gc/live-sandboxes.ts";
import { createSweepers, type Sweepers } from "./gc/sweepers.ts";
import { createCursors } from "./ipam/cursor.ts";
import { createKeyedTurns, turnKey } from "./keyed-turns.ts";
import { limitsMs } from "./protocol/defaults.ts";
import {
  type Environment,
  parseCall,
  parseCommand,
  requireForNetwork,
  shorten,
} from "./protocol/environment.ts";
import { decodeConfig, type NetworkIdentity, parseIdentity } from "./protocol/netconf.ts";
import { encodeError } from "./protocol/result.ts";
import { requireCommand, versionReply } from "./protocol/versions.ts";

/** What a runtime gives: the CNI_* variables and the bytes of stdin as text. */
export interface CniRequest {
  readonly env: Environment;
  readonly stdin: string;
  /** Shortens the plugin's own limit. */
  readonly deadlineMs?: number | undefined;
  /** Aborted when the caller has gone. */
  readonly signal?: AbortSignal | undefined;
}

/** What a runtime gets: stdout holds one JSON document, or nothing. */
export interface CniReply {
  readonly exitCode: 0 | 1;
  readonly stdout: string;
}

/** One per process: calls share what is known of rules and cursors, and wait for one another by attachment. */
export interface CniPlugin {
  /** Never rejects: every failure is a reply. */
  call(request: CniRequest): Promise<CniReply>;
  /** Looks for what dead pods left, apart from the calls of this process. */
  readonly sweepers: Sweepers;
}

interface PluginOptions {
  readonly deps: CniDeps;
  readonly log: Log;
  /** Asked before anything of a pod is swept. */
  readonly sandboxes?: LiveSandboxes | undefined;
}

/** Has no effect by itself. */
export function createPlugin({ deps, log, sandboxes }: PluginOptions): CniPlugin {
  const rules = createRules(deps);
  const cursors = createCursors(deps.files);
  const turns = createKeyedTurns();
  const sweepers = createSweepers({ deps, log, turns, sandboxes });
  const contextFor = (request: CallContext["request"], signal: AbortSignal, identity: NetworkIdentity) => {
    const ofNetwork = sweepers.forNetwork(identity, signal);
    return { deps, rules, cursors, log, signal, request, ...ofNetwork };
  };
  /** One call, as far as it got: for the log line. */
  const run = async (request: CniRequest, facts: CallFacts): Promise<string> => {
    const { env } = request;
    const command = parseCommand(env);
    facts.command = command;
    if (command === "VERSION") return versionReply(request.stdin);
    const ofNetwork = command === "GC" || command === "STATUS";
    if (ofNetwork) requireForNetwork(command, env);
    else facts.call = parseCall(command, env);
    const config = decodeConfig(request.stdin);
    facts.cniVersion = config.cniVersion;
    const identity = parseIdentity(config);
    facts.network = identity.name;
    requireCommand(command, identity.cniVersion);
    const { call } = facts;
    const what = call ? `${command} of ${call.ifname} of ${shorten(call.containerId)}` : command;
    const limitMs = Math.min(limitsMs[command], request.deadlineMs ?? Number.POSITIVE_INFINITY);
    const deadline = { clock: deps.clock, limitMs, what, signal: request.signal };
    return withDeadline(deadline, async (signal) => {
      const context = contextFor({ env, config }, signal, identity);
      if (!call) return dispatchNetwork(context, { identity, turns, facts });
      return turns.run(turnKey({ ...call, network: identity.name }), async () => {
        signal.throwIfAborted();
        return dispatchAttachment(context, { call, identity, facts });
      });
    });
  };
  return {
    sweepers,
    async call(request) {
      const started = deps.clock.monotonicNs();
      const facts: CallFacts = { command: shorten(request.env.CNI_COMMAND ?? "") };
      const outcome = await run(request, facts).then(
        (stdout) => ({ stdout, code: 0 }),
        (error: unknown) => ({ error: asTrivetError(error, "cni.call", facts.command), code: -1 }),
      );
      const code = "error" in outcome ? kindToCniCode(outcome.error.kind, facts.command) : 0;
      const ms = Number(deps.clock.monotonicNs() - started) / 1e6;
      logCall({ log, facts, code, ms, error: "error" in outcome ? outcome.error : undefined });
      deps.observer?.call({ command: facts.command, code, ms });
      if (!("error" in outcome)) return { exitCode: 0, stdout: outcome.stdout };
      return { exitCode: 1, stdout: errorText(outcome.error, code, facts.cniVersion) };
    },
  };
}

function errorText(error: TrivetError, code: number, cniVersion: unknown): string {
  const cleanup = cleanupFailures(error).map((failure) => `taking it back failed: ${told(failure)}`);
  return encodeError({ cniVersion, code, msg: told(error), details: cleanup.join("; ") });
}

/** What we did not foresee may hold anything: the caller is sent to the log. */
function told(error: TrivetError): string {
  return error.kind === "bug" ? "internal error in trivet: its log has the details" : error.message;
}

function cleanupFailures(error: TrivetError): TrivetError[] {
  // An unforeseen error was given them before it became the cause of one of ours.
  const carriers = [error, error.cause] as ({ cleanupFailures?: unknown[] } | undefined)[];
  const failures = carriers.flatMap((carrier) => carrier?.cleanupFailures ?? []);
  return failures.map((failure) => asTrivetError(failure, "undo", ""));
}

interface CallLine {
  readonly log: Log;
  readonly facts: CallFacts;
  readonly code: number;
  readonly ms: number;
  readonly error: TrivetError | undefined;
}

function logCall({ log, facts, code, ms, error }: CallLine): void {
  const { call, network, command } = facts;
  const pod = call?.pod.name ? `${call.pod.namespace}/${call.pod.name}` : undefined;
  const fields = {
    command,
    network,
    containerId: call && shorten(call.containerId),
    ifname: call?.ifname,
    pod,
    addresses: facts.addresses,
    removed: facts.removed,
    code,
    ms: Math.round(ms * 10) / 10,
  };
  if (!error) {
    // A runtime asks for it every few seconds.
    const write = command === "STATUS" ? log.debug : log.info;
    write("cni call", fields);
    return;
  }
  const cleanup = cleanupFailures(error).map(({ message }) => message);
  log.warn("cni call failed", {
    ...fields,
    kind: error.kind,
    op: error.op,
    error: error.message,
    ...(cleanup.length > 0 ? { cleanup } : {}),
    ...(isKind(error, "bug") ? { stack: (error.cause instanceof Error ? error.cause : error).stack } : {}),
  });
}
