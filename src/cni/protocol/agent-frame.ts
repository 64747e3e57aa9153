/**
 * How a client speaks with the agent. The client sends one line of JSON; the agent says `go`; the client sends the bytes of
 * stdin and a line end; the agent begins, and answers with one line of JSON and the bytes of stdout and stderr. Until that last
 * line end nothing has happened, so a client that is kept waiting may leave and do the call by itself. A number, not the program's
 * version, says what both understand; the agent also serves the number before its own. A client that ends the connection before
 * the answer gives the call up, and the agent takes it back. Must stay light: each CNI call without the static client loads it.
 */

/** Raised when an older peer would misread a frame; new optional fields do not raise it. */
export const AGENT_PROTOCOL = 2;
/** All in one line each way, stdin and stdout as texts in it, and no `go`. */
export const OLDER_PROTOCOL = 1;

/** A network configuration is a few KiB; prevResult and runtime arguments may double that. */
export const MAX_REQUEST_BYTES = 1 << 20;
/** Longer answers are taken for nonsense. */
export const MAX_REPLY_BYTES = 16 << 20;

/** What a client may need to know of a verb, in milliseconds. */
export interface VerbLimits {
  /** The agent gives the call up after this. */
  readonly deadlineMs: number;
  /** The client waits no longer than this: time to roll back is added, and a DEL may still be done otherwise. */
  readonly answerMs: number;
}

const otherLimits: VerbLimits = { deadlineMs: 5_000, answerMs: 7_000 };
/** A runtime gives a cleanup one minute, in which a hanging agent and the standalone plugin both must have had their time. */
const verbLimits: Readonly<Record<string, VerbLimits>> = {
  ADD: { deadlineMs: 60_000, answerMs: 67_000 },
  DEL: { deadlineMs: 15_000, answerMs: 22_000 },
  CHECK: { deadlineMs: 15_000, answerMs: 22_000 },
  GC: { deadlineMs: 30_000, answerMs: 37_000 },
  // Asked by containerd inside each status of its own.
  STATUS: { deadlineMs: 1_000, answerMs: 2_000 },
};

/** The same numbers as the static client's. */
export const limitsOf = (command: string): VerbLimits =>
  Object.hasOwn(verbLimits, command) ? (verbLimits[command] ?? otherLimits) : otherLimits;

/** One call, as a client has it. */
export interface AgentCall {
  readonly command: string;
  /** Only CNI_* and the trace context: nothing else of an environment leaves its process. */
  readonly env: Readonly<Record<string, string>>;
  /** The runtime's bytes, whatever they are. */
  readonly stdin: Uint8Array;
  /** How long the client will wait. */
  readonly deadlineMs: number;
}

/** Why an agent leaves a call alone; running it elsewhere is safe. */
export type Refusal = "protocol" | "busy" | "size" | "format";

/** The outcome of a call. */
export interface AgentReply {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A client's first line. Without `stdin`, that many bytes and a line end follow it, once the agent has said `go`. */
export interface RequestLine extends Omit<AgentCall, "stdin"> {
  readonly protocol: typeof AGENT_PROTOCOL | typeof OLDER_PROTOCOL;
  readonly stdinBytes: number;
  readonly stdin?: Uint8Array;
}

const traceVariables = ["TRACEPARENT", "TRACESTATE", "BAGGAGE"];

/** The part of a runtime's environment that the plugin reads. */
export function forwardedEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && (entry[0].startsWith("CNI_") || traceVariables.includes(entry[0])),
  );
  return Object.fromEntries(kept);
}

/** JSON never holds a bare line end, so the line end is the end of the line. */
const line = (value: object): string => `${JSON.stringify(value)}\n`;

/** What a client sends: before the agent's `go`, and after it. */
export function encodeCall({ command, env, stdin, deadlineMs }: AgentCall): {
  readonly first: string;
  readonly rest: Uint8Array;
} {
  const first = { protocol: AGENT_PROTOCOL, command, stdinBytes: stdin.length, deadlineMs, env };
  return { first: line(first), rest: Buffer.concat([stdin, Buffer.from("\n")]) };
}

/** `unknown`: a request of a protocol that we do not speak. `undefined`: no request at all. */
export function decodeRequestLine(text: string): RequestLine | "unknown" | undefined {
  const value = parseObject(text);
  if (!value || typeof value.protocol !== "number") return undefined;
  const { protocol, command, env, stdin, stdinBytes, deadlineMs } = value;
  if (protocol !== AGENT_PROTOCOL && protocol !== OLDER_PROTOCOL) return "unknown";
  const known = typeof env === "object" && env !== null && !Array.isArray(env);
  if (typeof command !== "string" || !known || typeof deadlineMs !== "number" || !(deadlineMs > 0))
    return undefined;
  const kept = Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  const call = { command, env: Object.fromEntries(kept), deadlineMs };
  if (protocol === OLDER_PROTOCOL) {
    if (typeof stdin !== "string") return undefined;
    const bytes = Buffer.from(stdin, "base64");
    return { ...call, protocol, stdinBytes: bytes.length, stdin: bytes };
  }
  const counted = typeof stdinBytes === "number" && Number.isSafeInteger(stdinBytes) && stdinBytes >= 0;
  return counted ? { ...call, protocol, stdinBytes } : undefined;
}

/** The agent's word that it listens, and the time from which the call counts as begun once the rest has come. */
export const goAhead: string = line({ protocol: AGENT_PROTOCOL, go: true });

/** In a form that clients of every protocol understand. */
export function encodeRefusal(refused: Refusal): string {
  const stderr = `the agent speaks protocols ${OLDER_PROTOCOL} and ${AGENT_PROTOCOL}, and refused: ${refused}\n`;
  return line({ protocol: AGENT_PROTOCOL, exitCode: 1, stdout: "", stderr, refused });
}

/** The static client reads the line by its exact form: fields, order and no blanks. */
export function encodeReply(
  protocol: RequestLine["protocol"],
  { exitCode, stdout, stderr }: AgentReply,
): string {
  if (protocol === OLDER_PROTOCOL) return line({ protocol, exitCode, stdout, stderr });
  const [stdoutBytes, stderrBytes] = [Buffer.byteLength(stdout), Buffer.byteLength(stderr)];
  return line({ protocol, exitCode, stdoutBytes, stderrBytes }) + stdout + stderr;
}

/** Whether this is the agent's `go`. Anything else, a refusal above all, sends the client elsewhere. */
export function isGoAhead(text: string): boolean {
  const value = parseObject(text);
  return value?.protocol === AGENT_PROTOCOL && value.go === true;
}

/** `more`: the answer is not whole yet; `undefined`: it never will be one. */
export function decodeReply(bytes: Buffer): AgentReply | "more" | undefined {
  const end = bytes.indexOf(0x0a);
  if (end < 0) return bytes.length > MAX_REPLY_BYTES ? undefined : "more";
  const head = parseObject(bytes.subarray(0, end).toString("utf8"));
  if (head?.protocol !== AGENT_PROTOCOL) return undefined;
  const { exitCode, stdoutBytes, stderrBytes } = head;
  for (const count of [exitCode, stdoutBytes, stderrBytes]) {
    if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) return undefined;
  }
  const [out, err] = [Number(stdoutBytes), Number(stderrBytes)];
  if (out + err > MAX_REPLY_BYTES) return undefined;
  const body = bytes.subarray(end + 1);
  if (body.length < out + err) return "more";
  const text = (from: number, to: number) => body.subarray(from, to).toString("utf8");
  return { exitCode: Number(exitCode), stdout: text(0, out), stderr: text(out, out + err) };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
