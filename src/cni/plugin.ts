/**
 * The plugin: environment and stdin in, exit code and stdout out. The agent and the standalone program both run this, on the
 * same state. It is the edge: errors get their code here, and each call its one line in the log.
 */
import { asTrivetError, isKind, type TrivetError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { add } from "./add.ts";
import { check } from "./check.ts";
import type { CallContext } from "./context.ts";
import { createMasquerade } from "./datapath/masquerade.ts";
import { withDeadline } from "./deadline.ts";
import { del } from "./del.ts";
import type { CniDeps } from "./deps.ts";
import { kindToCniCode } from "./error-code.ts";
import { createCursors } from "./ipam/cursor.ts";
import { createKeyedTurns } from "./keyed-turns.ts";
import { limitsMs } from "./protocol/defaults.ts";
import { type AttachmentCall, type Environment, parseCall, parseCommand } from "./protocol/environment.ts";
import { decodeConfig, type NetworkIdentity, parseConfig, parseIdentity } from "./protocol/netconf.ts";
import type { JsonObject } from "./protocol/problems.ts";
import { encodeError } from "./protocol/result.ts";
import { versionReply } from "./protocol/versions.ts";

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
}

/** Has no effect by itself. */
export function createPlugin({ deps, log }: { deps: CniDeps; log: Log }): CniPlugin {
  const masquerade = createMasquerade(deps.nft);
  const cursors = createCursors(deps.files);
  const turns = createKeyedTurns();
  /** One call, as far as it got: for the log line. */
  const run = async (request: CniRequest, facts: CallFacts): Promise<string> => {
    const command = parseCommand(request.env);
    facts.command = command;
    if (command === "VERSION") return versionReply(request.stdin);
    const call = parseCall(command, request.env);
    facts.call = call;
    const config = decodeConfig(request.stdin);
    facts.cniVersion = config.cniVersion;
    const identity = parseIdentity(config);
    facts.network = identity.name;
    const what = `${command} of ${call.ifname} of ${call.containerId}`;
    const limitMs = Math.min(limitsMs[command], request.deadlineMs ?? Number.POSITIVE_INFINITY);
    const deadline = { clock: deps.clock, limitMs, what, signal: request.signal };
    return withDeadline(deadline, (signal) =>
      turns.run([identity.name, call.containerId, call.ifname].join(" "), async () => {
        signal.throwIfAborted();
        const raw = { env: request.env, config };
        return dispatch(
          { deps, masquerade, cursors, log, signal, request: raw },
          { call, config, identity, facts },
        );
      }),
    );
  };
  return {
    async call(request) {
      const started = deps.clock.monotonicNs();
      const facts: CallFacts = { command: request.env.CNI_COMMAND ?? "" };
      const outcome = await run(request, facts).then(
        (stdout) => ({ stdout, code: 0 }),
        (error: unknown) => ({ error: asTrivetError(error, "cni.call", facts.command), code: -1 }),
      );
      const code = "error" in outcome ? kindToCniCode(outcome.error.kind) : 0;
      const ms = Number(deps.clock.monotonicNs() - started) / 1e6;
      logCall({ log, facts, code, ms, error: "error" in outcome ? outcome.error : undefined });
      deps.observer?.call({ command: facts.command, code, ms });
      if (!("error" in outcome)) return { exitCode: 0, stdout: outcome.stdout };
      return { exitCode: 1, stdout: errorText(outcome.error, code, facts.cniVersion) };
    },
  };
}

interface CallFacts {
  command: string;
  call?: AttachmentCall;
  network?: string;
  addresses?: readonly string[];
  cniVersion?: unknown;
}

interface Decoded {
  readonly call: AttachmentCall;
  readonly config: JsonObject;
  readonly identity: NetworkIdentity;
  readonly facts: CallFacts;
}

async function dispatch(context: CallContext, { call, config, identity, facts }: Decoded): Promise<string> {
  switch (call.command) {
    case "ADD": {
      const outcome = await add(context, call, parseConfig(config));
      facts.addresses = outcome.addresses;
      return outcome.stdout;
    }
    case "CHECK":
      facts.addresses = await check(context, call, parseConfig(config));
      return "";
    case "DEL":
      facts.addresses = await del(context, call, identity);
      return "";
  }
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
    containerId: call?.containerId,
    ifname: call?.ifname,
    pod,
    addresses: facts.addresses,
    code,
    ms: Math.round(ms * 10) / 10,
  };
  if (!error) {
    log.info("cni call", fields);
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
