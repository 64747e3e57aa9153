import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CsiClient, createCsiClient } from "../../test/conformance/csi/client.ts";
import { type GrpcServer, type Handlers, serveGrpc } from "./grpc.ts";

let directory: string;
let path: string;
const open: { server: GrpcServer; client: CsiClient }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-grpc-"));
  path = join(directory, "csi.sock");
});

afterEach(async () => {
  for (const { server, client } of open.splice(0)) {
    client.close();
    await server.stop({ timeoutMs: 100 });
  }
  await rm(directory, { recursive: true });
});

async function serve(handlers: Handlers, deadlineMs?: number) {
  const statusOf = (error: unknown) => ({ code: "ABORTED" as const, message: `mapped: ${String(error)}` });
  const server = await serveGrpc({ api: "csi", path, handlers, statusOf });
  const client = createCsiClient(path, deadlineMs);
  open.push({ server, client });
  return { server, client };
}

const probe = (act: () => Promise<object>): Handlers => ({ Identity: { Probe: act } });

describe("serveGrpc", () => {
  test("answers what the handler returns, on a socket for its owner only and with nothing beside it", async () => {
    const { client } = await serve(probe(async () => ({ ready: { value: true } })));
    expect(await client.call("Identity", "Probe")).toEqual({ ready: { value: true } });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["csi.sock"]);
  });

  test("answers what the map makes of an error, and UNIMPLEMENTED where there is no handler", async () => {
    const { client } = await serve(probe(() => Promise.reject(new Error("no"))));
    expect(await client.refused("Identity", "Probe")).toEqual({
      code: "ABORTED",
      details: "mapped: Error: no",
    });
    expect((await client.refused("Identity", "GetPluginInfo")).code).toBe("UNIMPLEMENTED");
    expect((await client.refused("Node", "NodeGetInfo")).code).toBe("UNIMPLEMENTED");
  });

  test("tells the handler when its caller has given up", async () => {
    let signal: AbortSignal | undefined;
    const hang: Handlers = {
      Identity: {
        Probe: (_, context) => {
          signal = context.signal;
          return new Promise(() => undefined);
        },
      },
    };
    const { client } = await serve(hang, 300);
    expect((await client.refused("Identity", "Probe")).code).toBe("DEADLINE_EXCEEDED");
    await expect.poll(() => signal?.aborted).toBe(true);
  });

  test("lets calls in flight end when it stops, takes no new ones, and is gone", async () => {
    let finish: (value: object) => void = () => undefined;
    let entered = false;
    const { server, client } = await serve(
      probe(() => {
        entered = true;
        return new Promise((resolve) => {
          finish = resolve;
        });
      }),
    );
    const call = client.call("Identity", "Probe");
    await expect.poll(() => entered).toBe(true);
    const stopped = server.stop({ timeoutMs: 5_000 });
    await expect.poll(() => readdir(directory)).toEqual([]);
    finish({ ready: { value: true } });
    expect(await call).toEqual({ ready: { value: true } });
    client.close();
    await stopped;
  });

  test("cuts off what does not end in time", async () => {
    let entered = false;
    const { server, client } = await serve(
      probe(() => {
        entered = true;
        return new Promise(() => undefined);
      }),
    );
    const call = client.refused("Identity", "Probe");
    await expect.poll(() => entered).toBe(true);
    const started = Date.now();
    await server.stop({ timeoutMs: 100 });
    expect(Date.now() - started).toBeLessThan(2_000);
    expect(["UNAVAILABLE", "CANCELLED"]).toContain((await call).code);
  });

  test("replaces a stale socket, and steals neither a live one nor a file", async () => {
    const first = await serve(probe(async () => ({})));
    const options = {
      api: "csi",
      path,
      handlers: {},
      statusOf: () => ({ code: "INTERNAL" as const, message: "" }),
    } as const;
    await expect(serveGrpc(options)).rejects.toMatchObject({ kind: "conflict" });
    expect(await first.client.call("Identity", "Probe")).toEqual({ ready: null });
    await writeFile(join(directory, "file"), "");
    await expect(serveGrpc({ ...options, path: join(directory, "file") })).rejects.toMatchObject({
      kind: "conflict",
    });
  });
});
