/**
 * Questions to a daemon of this machine, as JSON over HTTP on a unix socket that only root can open: one POST for each. Knows
 * none of the questions. What a handler throws comes back as the error that it was.
 */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { asTrivetError, type Kind, kinds, TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import { listenUnix, type PublishedSocket } from "./unix-socket.ts";

/** What is answered, by name. Arguments and answers are what JSON can hold. */
export type AdminMethods = Readonly<Record<string, (argument: unknown) => Promise<unknown>>>;

/** A socket that answers. */
export interface AdminServer {
  /** Takes no more questions, and lets those that are being answered end. For one whose socket has no name any more. */
  retire(): void;
  /** Takes the socket away; questions that are being answered are cut off. */
  stop(): Promise<void>;
}

/** PersistentVolumes of a large cluster are a few megabytes. */
const MAX_BODY_BYTES = 64 * 2 ** 20;

/**
 * Serves until `stop`. A stale socket is replaced, a live one is never stolen (`conflict`), unless `listen` is another way of
 * listening.
 */
export async function serveAdmin(
  path: string,
  methods: AdminMethods,
  listen: (server: Server, path: string) => Promise<PublishedSocket> = listenUnix,
): Promise<AdminServer> {
  const server = createServer((incoming, response) => {
    answer(methods, incoming, response).catch(() => response.destroy());
  });
  const socket = await listen(server, path);
  return {
    retire: () => void server.close(),
    async stop() {
      await socket.withdraw();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

async function answer(
  methods: AdminMethods,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const name = (incoming.url ?? "/").slice(1);
  const reply = (status: number, body: object) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  try {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (!method || incoming.method !== "POST")
      throw failure("unsupported", name, `this daemon does not know "${name}"`);
    const argument: unknown = JSON.parse((await readBody(incoming)) || "null");
    reply(200, { answer: (await method(argument)) ?? null });
  } catch (error) {
    const { kind, op, subject, message } = asTrivetError(error, "admin.answer", name);
    reply(400, { error: { kind, op, subject, message } });
  }
}

async function readBody(stream: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_BODY_BYTES)
      throw failure("invalid", "body", `a body of more than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * Asks the daemon at `path`. Throws what the daemon threw; `unavailable` where none answers there.
 */
export async function askAdmin(path: string, name: string, argument: unknown): Promise<unknown> {
  const text = await post(path, name, JSON.stringify(argument ?? null));
  const { answer: found, error } = JSON.parse(text) as { answer?: unknown; error?: Record<string, unknown> };
  if (!error) return found;
  const kind = kinds.find((known) => known === error.kind) ?? "bug";
  throw failure(kind, String(error.subject), String(error.message), String(error.op));
}

function post(path: string, name: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const isAway = ["ENOENT", "ECONNREFUSED", "ENOTSOCK"].includes(error.code ?? "");
      const away = failure("unavailable", path, `no daemon answers at ${path}`);
      reject(isAway ? away : fromNodeError(error, "admin.ask", path));
    };
    // No connection is kept: the next question is for whoever has the path by then.
    const asking = request(
      { socketPath: path, path: `/${name}`, method: "POST", agent: false },
      (response) => {
        readBody(response).then(resolve, fail);
      },
    );
    asking.once("error", fail);
    asking.end(body);
  });
}

function failure(kind: Kind, subject: string, message: string, op = "admin"): TrivetError {
  return new TrivetError({ kind, op, subject, message });
}
