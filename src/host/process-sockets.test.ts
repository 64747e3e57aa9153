/** Who is connected to whom, of this very process: the kernel is asked, so that nothing here needs root. */
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createProcessSockets } from "./process-sockets.ts";
import { listProcesses } from "./processes.ts";
import { createSyscalls } from "./syscall.ts";

const directory = mkdtempSync(join(tmpdir(), "tv-sockets-"));
const [bound, path] = [join(directory, "bound.sock"), join(directory, "public.sock")];
const sockets = createProcessSockets(createSyscalls());
let server: Server;
let client: Socket;

beforeAll(async () => {
  server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(bound, resolve));
  renameSync(bound, path);
  client = connect(path);
  await new Promise((resolve) => client.once("connect", resolve));
});
afterAll(async () => {
  client.destroy();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

test("a server is named as it was bound, whatever it is called now", async () => {
  expect(await sockets.nameAt(path)).toBe(bound);
  await expect(sockets.nameAt(join(directory, "none.sock"))).rejects.toMatchObject({ kind: "not-found" });
});

test("both ends of a connection tell the name of the one that was bound", async () => {
  const ends = await sockets.of(process.pid);
  expect(ends).toContainEqual({ own: "", peer: bound });
  expect(ends).toContainEqual({ own: bound, peer: "" });
});

test("a process that is not there is not found", async () => {
  await expect(sockets.of(0x7fff_fff0)).rejects.toMatchObject({ kind: "not-found" });
});

test("this process is among those of the host, with its arguments and its start", async () => {
  const own = (await listProcesses()).find(({ pid }) => pid === process.pid);
  expect(own?.argv[0]).toBe(process.argv0);
  expect(own?.startTicks).toBeGreaterThan(0n);
});
