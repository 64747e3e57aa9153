import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createRuntimeClient } from "./runtime-client.ts";

let directory: string;
let path: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-ask-"));
  path = join(directory, "runtime.sock");
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await rm(directory, { recursive: true });
});

type Answer = (stream: ServerHttp2Stream, request: { authority: string; path: string; body: Buffer }) => void;

async function serve(answer: Answer): Promise<Http2Server> {
  const server = createServer();
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () =>
      answer(stream, {
        authority: String(headers[":authority"]),
        path: String(headers[":path"]),
        body: Buffer.concat(chunks),
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  cleanups.push(() => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return server;
}

function reply(stream: ServerHttp2Stream, status: string, message?: Buffer): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
  if (!message) return void stream.end();
  const framed = Buffer.alloc(5 + message.length);
  framed.writeUInt32BE(message.length, 1);
  message.copy(framed, 5);
  stream.end(framed);
}

function client(timeoutMs = 2_000, idleMs = 10_000) {
  const made = createRuntimeClient({ path, timeoutMs, idleMs });
  cleanups.push(() => made.close());
  return made;
}

it("asks by the name that every runtime takes, over one connection, and gives the message of the answer", async () => {
  const seen: unknown[] = [];
  let connections = 0;
  const server = await serve((stream, request) => {
    seen.push(request);
    reply(stream, "0", Buffer.from(`answer ${seen.length}`));
  });
  server.on("session", () => {
    connections += 1;
  });
  const { ask } = client();
  expect(String(Buffer.from(await ask("ListPodSandbox", Buffer.from("q"))))).toBe("answer 1");
  expect(String(Buffer.from(await ask("ListContainers", Buffer.alloc(0))))).toBe("answer 2");
  expect(connections).toBe(1);
  expect(seen[0]).toEqual({
    authority: "localhost",
    path: "/runtime.v1.RuntimeService/ListPodSandbox",
    body: Buffer.from([0, 0, 0, 0, 1, "q".charCodeAt(0)]),
  });
});

it("says which runtime did not answer, and reaches it when it is there", async () => {
  const { ask } = client();
  await expect(ask("ListPodSandbox", Buffer.alloc(0))).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining(path),
  });
  await serve((stream) => reply(stream, "0", Buffer.from("here")));
  expect(String(Buffer.from(await ask("ListPodSandbox", Buffer.alloc(0))))).toBe("here");
});

it("reaches a runtime that was restarted", async () => {
  const first = await serve((stream) => reply(stream, "0", Buffer.from("first")));
  const { ask } = client();
  await ask("ListPodSandbox", Buffer.alloc(0));
  await cleanups.pop()?.();
  first.close();
  await serve((stream) => reply(stream, "0", Buffer.from("second")));
  await expect
    .poll(() => ask("ListPodSandbox", Buffer.alloc(0)).then((bytes) => String(Buffer.from(bytes)), String))
    .toBe("second");
});

it.each([
  ["a status that is not OK", (stream: ServerHttp2Stream) => reply(stream, "5"), "unavailable"],
  ["no message", (stream: ServerHttp2Stream) => reply(stream, "0"), "decode"],
  ["a reset", (stream: ServerHttp2Stream) => stream.close(2), "unavailable"],
])("fails for %s", async (_, answer, kind) => {
  await serve(answer);
  await expect(client().ask("ListPodSandbox", Buffer.alloc(0))).rejects.toMatchObject({ kind });
});

it.each([
  ["ends before its message does", [0, 0, 0, 0, 9, 1]],
  ["goes on behind its message", [0, 0, 0, 0, 1, 1, 1]],
])("takes no answer that %s for one", async (_, bytes) => {
  await serve((stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.from(bytes));
  });
  await expect(client().ask("ListContainers", Buffer.alloc(0))).rejects.toMatchObject({ kind: "decode" });
});

it("gives up at its deadline", async () => {
  await serve(() => undefined);
  await expect(client(30).ask("ListPodSandbox", Buffer.alloc(0))).rejects.toMatchObject({ kind: "deadline" });
});

it("asks on a connection that is open, whatever ends at that moment", async () => {
  const server = await serve((stream) => reply(stream, "0", Buffer.from("here")));
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => sessions.push(session));
  const { ask } = client(2_000, 20);
  let asked = 0;
  for (let waitMs = 10; waitMs < 30; waitMs += 1) {
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    await ask("ListPodSandbox", Buffer.alloc(0));
    asked += 1;
  }
  expect(asked).toBe(20);
  // Each was closed but the last, none forgotten while it was open.
  await expect.poll(() => sessions.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(1);
});
