/**
 * How a client speaks with the agent: one line of JSON each way, then the connection ends. A number, not the program's
 * version, says what both understand. A client that ends its side before the answer gives the call up, and the agent takes
 * it back. Must stay light: each CNI call of the runtime loads it in a new process.
 */

/** Raised when an older peer would misread a frame; new optional fields do not raise it. */
export const AGENT_PROTOCOL = 1;

/** A network configuration is a few KiB; prevResult and runtime arguments may double that. */
export const MAX_REQUEST_BYTES = 1 << 20;

/** One call, from client to agent. */
export interface AgentRequest {
  readonly protocol: number;
  readonly command: string;
  /** Only CNI_* and the trace context: nothing else of an environment leaves its process. */
  readonly env: Readonly<Record<string, string>>;
  /** In base64: it is the runtime's bytes, whatever they are. */
  readonly stdin: string;
  /** How long the client will wait. */
  readonly deadlineMs: number;
}

/** Its outcome, from agent to client. */
export interface AgentReply {
  readonly protocol: number;
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Set if the request was refused before it was looked at, so that running it elsewhere is safe. */
  readonly refused?: "protocol" | "busy" | "size" | "format";
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

/** JSON never holds a bare line end, so the line end is the end of the frame. */
export const encodeFrame = (frame: AgentRequest | AgentReply): string => `${JSON.stringify(frame)}\n`;

/** Undefined for what is no request at all. The protocol number is not judged here. */
export function decodeRequest(line: string): AgentRequest | undefined {
  const value = parseObject(line);
  if (!value || typeof value.protocol !== "number") return undefined;
  const { protocol, command, env, stdin, deadlineMs } = value;
  const texts = typeof command === "string" && typeof stdin === "string";
  const known = typeof env === "object" && env !== null && !Array.isArray(env);
  if (protocol !== AGENT_PROTOCOL) {
    return { protocol, command: "", env: {}, stdin: "", deadlineMs: 0 };
  }
  if (!texts || !known || typeof deadlineMs !== "number" || !(deadlineMs > 0)) return undefined;
  const kept = Object.entries(env).filter((entry) => typeof entry[1] === "string");
  return { protocol, command, env: Object.fromEntries(kept), stdin, deadlineMs };
}

/** Undefined for what is no reply. */
export function decodeReply(line: string): AgentReply | undefined {
  const value = parseObject(line);
  if (!value || typeof value.protocol !== "number" || typeof value.exitCode !== "number") return undefined;
  const text = (key: string) => (typeof value[key] === "string" ? value[key] : "");
  const reply = {
    protocol: value.protocol,
    exitCode: value.exitCode,
    stdout: text("stdout"),
    stderr: text("stderr"),
  };
  return typeof value.refused === "string" ? { ...reply, refused: value.refused as "protocol" } : reply;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
