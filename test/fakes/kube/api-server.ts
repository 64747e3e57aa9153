/**
 * An API server that knows Nodes only, over http: lists in pages, watches with resource versions and bookmarks, and the ways
 * in which real ones fail: 410 for what is too old, refusals, streams that break, stand still or end at once.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

export interface FakeNodeObject {
  readonly name: string;
  readonly podCIDRs?: readonly string[];
  readonly internalIps?: readonly string[];
}

/** One request as it came. */
export interface SeenRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly userAgent: string | undefined;
}

export interface FakeApiServer {
  readonly url: string;
  readonly requests: SeenRequest[];
  /** Adds or replaces a node, and tells the watchers. */
  put(node: FakeNodeObject): void;
  remove(name: string): void;
  /** Tells the watchers the present version and nothing else. */
  bookmark(): void;
  /** Forgets the history: watches from older versions get 410, as does a list that is being continued. */
  compact(): void;
  /** Ends every watch: in order, or by breaking the connection in the middle of an event. */
  endWatches(how: "in order" | "broken"): void;
  /** The next requests are refused with these codes. */
  refuse(...codes: number[]): void;
  /** Watches take the connection and say nothing, not even the head of an answer. */
  stall: boolean;
  /** Each watch ends as soon as it has begun. */
  endAtOnce: boolean;
  /** Watches that are open. */
  readonly watching: number;
  stop(): Promise<void>;
}

interface Event {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: object;
}

/** Much of a real Node is of no interest to anybody but the scheduler. */
const ballast = {
  labels: { "kubernetes.io/os": "linux", name: "not-the-name" },
  annotations: { note: 'brackets } ] and "quotes" \\' },
};

/** With `tls` over https. */
export async function startFakeApiServer(tls?: {
  readonly key: string;
  readonly cert: string;
}): Promise<FakeApiServer> {
  const cluster = new Cluster();
  const serve = (request: IncomingMessage, response: ServerResponse) => cluster.serve(request, response);
  const server: Server = tls ? createTlsServer(tls, serve) : createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(cluster, {
    url: `${tls ? "https" : "http"}://127.0.0.1:${port}`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

class Cluster {
  readonly requests: SeenRequest[] = [];
  stall = false;
  endAtOnce = false;
  readonly #nodes = new Map<string, object>();
  #version = 100;
  #oldest = 100;
  #history: Event[] = [];
  readonly #watches = new Set<ServerResponse>();
  #refusals: number[] = [];

  get watching(): number {
    return this.#watches.size;
  }

  put(node: FakeNodeObject): void {
    const type = this.#nodes.has(node.name) ? "MODIFIED" : "ADDED";
    const object = this.#objectOf(node);
    this.#nodes.set(node.name, object);
    this.#tell({ version: this.#version, type, object });
  }

  remove(name: string): void {
    const object = this.#objectOf({ name });
    this.#nodes.delete(name);
    this.#tell({ version: this.#version, type: "DELETED", object });
  }

  #objectOf({ name, podCIDRs, internalIps = [] }: FakeNodeObject): object {
    this.#version += 1;
    return {
      kind: "Node",
      metadata: { ...ballast, name, resourceVersion: String(this.#version) },
      spec: podCIDRs ? { podCIDR: podCIDRs[0], podCIDRs } : {},
      status: {
        addresses: [
          ...internalIps.map((address) => ({ type: "InternalIP", address })),
          { type: "Hostname", address: name },
        ],
      },
    };
  }

  #tell(event: Event): void {
    this.#history.push(event);
    const line = `${JSON.stringify({ type: event.type, object: event.object })}\n`;
    for (const watch of this.#watches) watch.write(line);
  }

  bookmark(): void {
    this.#version += 1;
    const object = {
      kind: "Node",
      metadata: { resourceVersion: String(this.#version) },
      spec: {},
      status: {},
    };
    for (const watch of this.#watches) watch.write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
  }

  compact(): void {
    this.#version += 1;
    this.#oldest = this.#version;
    this.#history = [];
  }

  endWatches(how: "in order" | "broken"): void {
    for (const watch of this.#watches) {
      if (how === "in order") watch.end();
      else watch.write('{"type":"ADDED","object":{"metadata":{"name":"half', () => watch.destroy());
    }
    this.#watches.clear();
  }

  refuse(...codes: number[]): void {
    this.#refusals.push(...codes);
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://server");
    const { authorization, "user-agent": userAgent } = request.headers;
    this.requests.push({ path: url.pathname, query: url.searchParams, authorization, userAgent });
    const refusal = this.#refusals.shift();
    if (refusal !== undefined) this.#fail(response, refusal);
    else if (url.pathname !== "/api/v1/nodes") this.#fail(response, 404);
    else if (url.searchParams.get("watch") === "true") this.#watch(url.searchParams, response);
    else this.#list(url.searchParams, response);
  }

  #fail(response: ServerResponse, code: number): void {
    response.writeHead(code, { "content-type": "application/json" });
    response.end(JSON.stringify({ kind: "Status", code, message: `refused with ${code}` }));
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const [from = 0, version = this.#version] = (query.get("continue") ?? "")
      .split("@")
      .filter(Boolean)
      .map(Number);
    if (version < this.#oldest) {
      this.#fail(response, 410);
      return;
    }
    const limit = Number(query.get("limit") ?? Number.MAX_SAFE_INTEGER);
    const all = [...this.#nodes.values()];
    const more = all.length > from + limit ? { continue: `${from + limit}@${version}` } : {};
    const list = {
      kind: "NodeList",
      metadata: { resourceVersion: String(version), ...more },
      items: all.slice(from, from + limit),
    };
    response.end(JSON.stringify(list));
  }

  #watch(query: URLSearchParams, response: ServerResponse): void {
    if (this.stall) return;
    const since = Number(query.get("resourceVersion"));
    response.writeHead(200, { "content-type": "application/json" });
    if (since < this.#oldest) {
      const object = { kind: "Status", code: 410, message: `too old resource version: ${since}` };
      response.end(`${JSON.stringify({ type: "ERROR", object })}\n`);
      return;
    }
    response.flushHeaders();
    for (const { version, type, object } of this.#history) {
      if (version > since) response.write(`${JSON.stringify({ type, object })}\n`);
    }
    if (this.endAtOnce) {
      response.end();
      return;
    }
    this.#watches.add(response);
    response.on("close", () => this.#watches.delete(response));
  }
}
