import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TrivetError } from "../errors.ts";
import { type AdminServer, askAdmin, serveAdmin } from "./admin-socket.ts";

let directory: string;
let path: string;
let server: AdminServer;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-admin-"));
  path = join(directory, "admin.sock");
  server = await serveAdmin(path, {
    echo: async (argument) => argument,
    nothing: async () => undefined,
    async refuse() {
      throw new TrivetError({ kind: "not-found", op: "test", subject: "x", message: "no x" });
    },
    async fail() {
      throw new Error("broken");
    },
  });
});

afterEach(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

test("an answer comes back as it was given, also a large one", async () => {
  const argument = { text: "ü".repeat(300_000), list: [1, null] };
  expect(await askAdmin(path, "echo", argument)).toEqual(argument);
  expect(await askAdmin(path, "nothing", undefined)).toBeNull();
});

test.each([
  ["refuse", { kind: "not-found", subject: "x", message: "no x" }],
  ["fail", { kind: "bug", message: "broken" }],
  ["toString", { kind: "unsupported" }],
])("what %s throws is thrown here", async (name, expected) => {
  await expect(askAdmin(path, name, {})).rejects.toMatchObject(expected);
});

test("only its owner can open the socket", async () => {
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("where nobody answers it says so, and the socket is gone with its server", async () => {
  await server.stop();
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
  await expect(askAdmin(path, "echo", {})).rejects.toMatchObject({ kind: "unavailable", subject: path });
});
