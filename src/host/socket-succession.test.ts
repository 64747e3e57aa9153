import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { adoptName, listenInPlaceOf, yieldName } from "./socket-succession.ts";
import { isLiveSocket, listenUnix } from "./unix-socket.ts";

let directory: string;
let path: string;
const servers: Server[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-succession-"));
  path = join(directory, "a.sock");
});
afterEach(async () => {
  for (const server of servers.splice(0)) await close(server);
  await rm(directory, { recursive: true });
});

function serve(text: string): Server {
  const server = createServer((socket) => socket.on("error", () => undefined).end(text));
  servers.push(server);
  return server;
}

const close = (server: Server) => new Promise((resolve) => server.close(resolve));

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

/** Another process's listener, which has not got the public name yet. */
async function newcomer(): Promise<string> {
  const temporary = join(directory, "new.sock");
  await new Promise<void>((resolve) => serve("new").listen(temporary, resolve));
  return temporary;
}

describe("a name that is given away", () => {
  it("is the newcomer's, and nothing stays beside it once that is final", async () => {
    const old = serve("old");
    const published = await listenUnix(old, path);
    const given = await yieldName(path, await newcomer());
    expect(await ask()).toBe("new");
    await given.done();
    await published.withdraw(); // another's by now
    await close(old); // libuv unlinks what it has bound
    expect(await ask()).toBe("new");
    expect(await readdir(directory)).toEqual(["a.sock"]);
  });

  it("comes back, and the old socket answers again", async () => {
    const published = await listenUnix(serve("old"), path);
    const given = await yieldName(path, await newcomer());
    await given.undo();
    expect(await ask()).toBe("old");
    await published.withdraw();
    expect(await readdir(directory)).toEqual([]);
  });

  it("stays where it is if the newcomer has no socket there", async () => {
    await listenUnix(serve("old"), path);
    await expect(yieldName(path, join(directory, "none"))).rejects.toMatchObject({ kind: "not-found" });
    expect(await ask()).toBe("old");
    expect(await readdir(directory)).toEqual(["a.sock"]);
  });
});

describe("listening in the place of another", () => {
  it("takes the name from a live server, with the access that was asked for", async () => {
    await listenUnix(serve("old"), path);
    const published = await listenInPlaceOf(serve("new"), path, { mode: 0o660, gid: 12 });
    expect(await ask()).toBe("new");
    const { mode, gid } = await stat(path);
    expect([mode & 0o777, gid]).toEqual([0o660, process.getuid?.() === 0 ? 12 : gid]);
    await published.withdraw();
    expect(await isLiveSocket(path)).toBe(false);
  });
});

it("an adopted name is withdrawn only while it is the same socket", async () => {
  await listenUnix(serve("old"), path);
  const adopted = await adoptName(path);
  await listenInPlaceOf(serve("new"), path);
  await adopted.withdraw();
  expect(await ask()).toBe("new");
  await expect(adoptName(join(directory, "none"))).rejects.toMatchObject({ kind: "not-found" });
});
