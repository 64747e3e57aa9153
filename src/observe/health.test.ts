import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type HealthServer, startHealthServer } from "./health.ts";
import { createMetrics } from "./metrics.ts";

let server: HealthServer | undefined;
afterEach(() => server?.stop());

describe("the health address", () => {
  it("tells alive from ready, and why not", async () => {
    let reason: string | undefined = "the pools are being scanned";
    server = await startHealthServer({
      host: "127.0.0.1",
      port: 0,
      metrics: createMetrics(),
      notReady: () => reason,
    });
    const get = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${server?.port}${path}`);
      return [response.status, await response.text()];
    };
    expect(await get("/healthz")).toEqual([200, "ok\n"]);
    expect(await get("/readyz")).toEqual([503, "the pools are being scanned\n"]);
    reason = undefined;
    expect(await get("/readyz")).toEqual([200, "ok\n"]);
    expect((await get("/nothing"))[0]).toBe(404);
  });

  it("serves the calls that were observed as metrics", async () => {
    const metrics = createMetrics();
    const observe = metrics.callObserver("trivet_test", "Calls of a test");
    observe({ method: "Probe", code: "OK", durationMs: 3 });
    observe({ method: "Probe", code: "INTERNAL", durationMs: 300 });
    server = await startHealthServer({ host: "127.0.0.1", port: 0, metrics, notReady: () => undefined });
    const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
    expect(text).toContain('trivet_test_calls_total{method="Probe",code="OK"} 1');
    expect(text).toContain('trivet_test_call_duration_seconds_bucket{le="0.005",method="Probe"} 1');
    expect(text).toContain('trivet_test_call_duration_seconds_count{method="Probe"} 2');
    expect(text).toContain("process_resident_memory_bytes");
  });

  it.each(["//", "http://", "*", "/%", "/healthz?x=//"])(
    "answers a request for %s, and lives on",
    async (path) => {
      const metrics = createMetrics();
      server = await startHealthServer({ host: "127.0.0.1", port: 0, metrics, notReady: () => undefined });
      const { port } = server;
      const answer = await new Promise<string>((resolve) => {
        const socket = connect({ host: "127.0.0.1", port });
        let text = "";
        socket.on("data", (chunk) => {
          text += chunk;
        });
        socket.on("close", () => resolve(text));
        socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      });
      expect(answer).toMatch(path.startsWith("/healthz") ? /^HTTP\/1.1 200 / : /^HTTP\/1.1 40[04] /);
      expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    },
  );

  it("names an address that is taken", async () => {
    const metrics = createMetrics();
    server = await startHealthServer({ host: "127.0.0.1", port: 0, metrics, notReady: () => undefined });
    const again = startHealthServer({
      host: "127.0.0.1",
      port: server.port,
      metrics,
      notReady: () => undefined,
    });
    await expect(again).rejects.toThrow(`127.0.0.1:${server.port}: EADDRINUSE`);
  });
});
