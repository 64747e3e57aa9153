import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { createClock } from "../host/clock.ts";
import { createApiClient } from "./api-client.ts";

test("a call that is given up while its credentials are read ends at once, and sends nothing", async () => {
  let requests = 0;
  // Never answers.
  const server = createServer(() => {
    requests += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const stopping = new AbortController();
  const reason = new Error("stopping");
  const access = {
    server: `http://127.0.0.1:${port}`,
    async credentials() {
      stopping.abort(reason);
      return {};
    },
  };
  const client = createApiClient({ access, clock: createClock(), userAgent: "trivet/test" });
  const call = { path: "/", signal: stopping.signal, idleMs: 600_000, onData: () => undefined };
  await expect(client.get(call)).rejects.toBe(reason);
  expect(requests).toBe(0);
  client.close();
  server.close();
});
