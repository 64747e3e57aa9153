import { openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { descriptorOf } from "./descriptor-of.ts";
import { inheritedSockets, parseUnixTable } from "./inherited-sockets.ts";

let directory: string;
let server: Server;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-inherit-"));
  server = createServer();
  await new Promise<void>((resolve) => server.listen(join(directory, "a b.sock"), resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true, force: true });
});

const ask = (env: Record<string, string>, fromPredecessor = false) =>
  inheritedSockets({ env, pid: 77, fromPredecessor });

describe("inherited sockets", () => {
  it.each([
    ["nothing is said", {}],
    ["they are for another process", { LISTEN_FDS: "1", LISTEN_PID: "78" }],
    ["they are for nobody", { LISTEN_FDS: "1" }],
    ["there are none", { LISTEN_FDS: "0", LISTEN_PID: "77" }],
  ])("are none when %s", async (_, env) => {
    expect(await ask(env)).toEqual([]);
  });

  it.each(["x", "-1", "1.5", "100000"])("are refused when their number is %s", async (count) => {
    await expect(ask({ LISTEN_FDS: count, LISTEN_PID: "77" })).rejects.toMatchObject({ kind: "invalid" });
  });

  it("are refused when a descriptor is no listening unix socket, by their name", async () => {
    // Whatever descriptors 3 and on are in this process, not all of the next 200 are unix sockets that listen.
    openSync("/dev/null", "r");
    await expect(ask({ LISTEN_FDS: "200", LISTEN_FDNAMES: "cri" }, true)).rejects.toThrow(
      /^the inherited socket (cri|unknown) cannot be used: descriptor \d+ is /,
    );
  });

  it("are found in the table of the kernel, with what they were bound to", async () => {
    expect(descriptorOf(server)).toBeGreaterThan(2);
    const table = parseUnixTable(await readFile("/proc/net/unix", "utf8"));
    const found = table.find(({ path }) => path === join(directory, "a b.sock"));
    expect(found).toMatchObject({ listens: true });
  });

  it("are read from lines with and without a path, and other types do not listen", () => {
    const table = [
      "Num       RefCount Protocol Flags    Type St Inode Path",
      "0000000000000000: 00000002 00000000 00010000 0001 01 101 /run/a.sock",
      "0000000000000000: 00000002 00000000 00010000 0005 01 102 @abstract",
      "0000000000000000: 00000003 00000000 00000000 0001 03 103",
      "",
    ].join("\n");
    expect(parseUnixTable(table)).toEqual([
      { inode: "101", listens: true, path: "/run/a.sock" },
      { inode: "102", listens: false, path: "@abstract" },
      { inode: "103", listens: false, path: undefined },
    ]);
  });
});

it("a closed server has no descriptor", async () => {
  const closed = createServer();
  expect(() => descriptorOf(closed)).toThrow("the socket is closed");
});
