/** `/healthz`, `/readyz` and `/metrics` over HTTP, on one address. */
import { createServer, type Server, type ServerResponse } from "node:http";
import { fromNodeError } from "../host/errno.ts";
import type { Metrics } from "./metrics.ts";

export interface HealthOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: Metrics;
  /** Undefined when ready, or why not. */
  notReady(): string | undefined;
}

export interface HealthServer {
  /** The port that is listened on, where 0 was asked. */
  readonly port: number;
  stop(): Promise<void>;
}

function answer(response: ServerResponse, status: number, body: string, contentType = "text/plain"): void {
  response.writeHead(status, { "content-type": contentType });
  response.end(body);
}

async function handle(path: string, response: ServerResponse, options: HealthOptions): Promise<void> {
  if (path === "/healthz") return answer(response, 200, "ok\n");
  if (path === "/readyz") {
    const reason = options.notReady();
    return reason === undefined ? answer(response, 200, "ok\n") : answer(response, 503, `${reason}\n`);
  }
  if (path === "/metrics") {
    const { body, contentType } = await options.metrics.render();
    return answer(response, 200, body, contentType);
  }
  return answer(response, 404, "not found: try /healthz, /readyz or /metrics\n");
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(fromNodeError(error, "http.listen", `${host}:${port}`)));
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port : port);
    });
  });
}

export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    // Not by `URL`, which throws for `//`: what anybody may send must not end the process.
    const [path = ""] = (request.url ?? "").split("?");
    handle(path, response, options).catch(() => answer(response, 500, "failed\n"));
  });
  const port = await listen(server, options.host, options.port);
  return {
    port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
