import { statSync } from "node:fs";
import { mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isLiveSocket, listenUnix, parseUnixAddress, privateSocketPath } from "./unix-socket.ts";

let directory: string;
let path: string;
const servers: Server[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-sock-"));
  path = join(directory, "a.sock");
});

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

async function listen(text: string, at = path) {
  const server = createServer((socket) => socket.on("error", () => undefined).end(text));
  const published = await listenUnix(server, at);
  servers.push(server);
  return { server, published };
}

const ask = () =>
  new Promise<string>((resolve, reject) => {
    let text = "";
    connect({ path })
      .on("data", (chunk) => {
        text += chunk;
      })
      .on("end", () => resolve(text))
      .on("error", reject);
  });

const close = (server: Server) => new Promise((resolve) => server.close(resolve));

describe("listenUnix", () => {
  test("publishes a socket for its owner only, in a directory that it makes, with nothing beside it", async () => {
    path = join(directory, "deep", "er", "a.sock");
    await listen("one");
    expect(await ask()).toBe("one");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, "deep"))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(directory, "deep", "er"))).toEqual(["a.sock"]);
  });

  test("replaces the socket of a process that died, never that of a live one", async () => {
    const { server } = await listen("one");
    await expect(listen("two")).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringContaining("is served"),
    });
    expect(await ask()).toBe("one");
    await close(server); // the public name stays, as after SIGKILL
    expect(await isLiveSocket(path)).toBe(false);
    await listen("two");
    expect(await ask()).toBe("two");
    expect(await readdir(directory)).toEqual(["a.sock"]);
  });

  test.each(["file", "link"])("leaves a %s at its path alone", async (what) => {
    if (what === "file") await writeFile(path, "precious");
    else await symlink("/nowhere", path);
    await expect(listen("one")).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringContaining("not a socket"),
    });
    expect(await readdir(directory)).toEqual(["a.sock"]);
  });

  test("is its owner's alone from the first moment on, whatever the umask", async () => {
    const before = process.umask(0);
    try {
      const server = createServer();
      let mode = 0;
      server.once("listening", () => {
        mode = statSync(privateSocketPath(path)).mode & 0o777;
      });
      await listenUnix(server, path, { mode: 0o660 });
      servers.push(server);
      expect(mode & 0o077).toBe(0);
      expect((await stat(path)).mode & 0o777).toBe(0o660);
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(before);
    }
  });

  test("has a private name of its own for each of several paths with long names", () => {
    const names = ["a", "b"].map((end) =>
      privateSocketPath(join(directory, `monitoring-agents-${end}.sock`)),
    );
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(basename(name).length).toBeLessThanOrEqual(24);
  });

  test("withdraw takes the name away once, and never that of a successor", async () => {
    const first = await listen("one");
    await close(first.server);
    await listen("two");
    await first.published.withdraw();
    expect(await ask()).toBe("two");
  });

  test("the end of a server does not take its successor's socket away", async () => {
    const first = await listen("one");
    await first.published.withdraw();
    await listen("two");
    await close(first.server);
    expect(await ask()).toBe("two");
  });
});

test("privateSocketPath refuses what does not fit into a socket address, with the remedy", () => {
  expect(() => privateSocketPath(`/${"d".repeat(110)}/a.sock`)).toThrow(
    /longer than 107 bytes: choose a shorter/,
  );
});

test("a path without a socket, or with a file, is not live", async () => {
  expect(await isLiveSocket(join(directory, "none"))).toBe(false);
  await writeFile(path, "");
  expect(await isLiveSocket(path)).toBe(false);
});

test.each([
  ["unix:///run/x.sock", "/run/x.sock"],
  ["unix:/run/x.sock", "/run/x.sock"],
  ["/run/x.sock", "/run/x.sock"],
  ["unix://run/x.sock", undefined],
  ["tcp://1.2.3.4:5", undefined],
  ["x.sock", undefined],
  ["", undefined],
])("parseUnixAddress reads %s as %s", (address, expected) => {
  expect(parseUnixAddress(address)).toBe(expected);
});
