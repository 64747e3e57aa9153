/**
 * GET requests to the API server, one after another, over node:https: the answer comes in pieces as it arrives. A connection on
 * which nothing comes for too long is given up, since a half-open one never ends by itself. Knows no resource.
 */
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { TrivetError } from "../errors.ts";
import type { Clock } from "../host/clock.ts";
import type { ClusterAccess } from "./access.ts";

/** One request. */
export interface GetOptions {
  /** With its query, such as `/api/v1/nodes?limit=500`. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** The connection is given up after between one and two times this long without a byte. */
  readonly idleMs: number;
  /** Takes the body of a 200. What it throws ends the request. */
  readonly onData: (bytes: Buffer) => void;
}

/** How a request ended: `message` is the beginning of what a refusal says. */
export interface GetOutcome {
  readonly status: number;
  readonly message: string;
}

/** Talks to one cluster. */
export interface ApiClient {
  /** Throws kind `unavailable` if no whole answer came, and the signal's reason if it was aborted. */
  get(options: GetOptions): Promise<GetOutcome>;
  /** Ends connections that are kept for the next request. */
  close(): void;
}

interface ApiClientOptions {
  readonly access: ClusterAccess;
  readonly clock: Clock;
  /** Sent with each request. */
  readonly userAgent: string;
}

const MAX_MESSAGE_BYTES = 2_048;

/** Opens nothing by itself. */
export function createApiClient({ access, clock, userAgent }: ApiClientOptions): ApiClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 2 });
  return {
    async get(options) {
      options.signal.throwIfAborted();
      const { token, ca, cert, key } = await access.credentials().catch((cause: unknown) => {
        throw unavailable("the credentials cannot be read", cause);
      });
      // Nobody hears of an abort that has happened already.
      options.signal.throwIfAborted();
      const headers: Record<string, string> = { accept: "application/json", "user-agent": userAgent };
      if (token) headers.authorization = `Bearer ${token}`;
      const { hostname } = new URL(access.server);
      // Of an address no name is sent (RFC 6066); its certificate is checked all the same.
      const servername = access.serverName ?? (isIP(hostname.replace(/[[\]]/g, "")) ? "" : hostname);
      const tls = { agent, ca, cert, key, servername, rejectUnauthorized: !access.insecure };
      const plain = access.server.startsWith("http:");
      return exchange(
        { ...options, clock, url: `${access.server}${options.path}`, plain },
        { headers, ...(plain ? {} : tls) },
      );
    },
    close: () => agent.destroy(),
  };
}

interface Exchange extends GetOptions {
  readonly clock: Clock;
  readonly url: string;
  readonly plain: boolean;
}

async function exchange(options: Exchange, settings: RequestOptions): Promise<GetOutcome> {
  const { signal, clock, idleMs, url } = options;
  const send = options.plain ? httpRequest : httpsRequest;
  const ended = new AbortController();
  let alive = true;
  const request = send(url, settings);
  const onAbort = () =>
    request.destroy(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
  signal.addEventListener("abort", onAbort, { once: true });
  const watchdog = async () => {
    for (;;) {
      alive = false;
      await clock.sleep(idleMs, ended.signal);
      if (!alive) request.destroy(new Error(`nothing came for ${Math.round(idleMs / 1000)} s`));
    }
  };
  void watchdog().catch(() => undefined);
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      request.once("error", reject);
      request.end();
    });
    request.on("error", () => undefined); // comes again from the response
    return await readBody(response, options, () => {
      alive = true;
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TrivetError) throw error;
    throw unavailable(error instanceof Error ? error.message : String(error), error);
  } finally {
    ended.abort();
    signal.removeEventListener("abort", onAbort);
    request.destroy();
  }
}

async function readBody(
  response: IncomingMessage,
  { onData }: Exchange,
  onLife: () => void,
): Promise<GetOutcome> {
  const status = response.statusCode ?? 0;
  const refusal: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    onLife();
    const bytes = chunk as Buffer;
    if (status === 200) onData(bytes);
    else if (size < MAX_MESSAGE_BYTES) {
      size += bytes.length;
      refusal.push(bytes);
    }
  }
  return { status, message: status === 200 ? "" : messageIn(Buffer.concat(refusal).toString("utf8")) };
}

/** A `Status` object has a message; a proxy in between may send anything. */
function messageIn(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === "string") return message;
  } catch {
    // Not JSON, or cut off.
  }
  return body.slice(0, 200).trim();
}

function unavailable(why: string, cause: unknown): TrivetError {
  return new TrivetError({
    kind: "unavailable",
    op: "kube.get",
    subject: "API server",
    message: `the API server did not answer: ${why}`,
    cause,
  });
}
