import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, createServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { listen } from "../../src/cri/tap/testing/sockets.ts";
import type { TapReport } from "./tap-process.ts";

const MIB = 1 << 20;
const LIST_BYTES = 16 * MIB;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function framed(bytes: number): Buffer {
  const message = Buffer.alloc(5 + bytes, 1);
  message[0] = 0;
  message.writeUInt32BE(bytes, 1);
  return message;
}

/** Answers `/t.T/Small` with a few bytes, and all else with 16 MiB. */
async function serveLists(path: string): Promise<void> {
  const answers = { list: framed(LIST_BYTES), small: framed(20) };
  const server = createServer({ maxSessionMemory: 1_000 });
  server.on("session", (session) => cleanups.push(() => session.destroy()));
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    stream.resume();
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(headers[":path"] === "/t.T/Small" ? answers.small : answers.list);
    });
  });
  await listen(server, path);
  cleanups.push(() => server.close());
}

async function startTap(): Promise<{ path: string; report(): Promise<TapReport> }> {
  const directory = mkdtempSync(join(tmpdir(), "trivet-memory-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "tap.sock");
  const upstreamPath = join(directory, "containerd.sock");
  await serveLists(upstreamPath);
  const script = fileURLToPath(new URL("tap-process.ts", import.meta.url));
  // As bin/trivet starts it.
  const child: ChildProcess = fork(script, [path, upstreamPath], {
    execArgv: ["--expose-gc", "--max-semi-space-size=4"],
  });
  cleanups.push(() => child.kill());
  const next = () => new Promise<unknown>((resolve) => child.once("message", resolve));
  await next();
  return {
    path,
    async report() {
      const answer = next();
      child.send("report");
      return (await answer) as TapReport;
    },
  };
}

function sessionTo(path: string): ClientHttp2Session {
  const session = connect("http://localhost", { path, maxSessionMemory: 1_000 } as never);
  session.on("error", () => undefined);
  return session;
}

/** The octets of an answer. */
function call(session: ClientHttp2Session, method: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": `/t.T/${method}`, te: "trailers" });
    let octets = 0;
    stream.on("data", (chunk: Buffer) => {
      octets += chunk.length;
    });
    stream.on("end", () => resolve(octets));
    stream.on("error", reject);
    stream.end(framed(30));
  });
}

describe("the memory of a tap", () => {
  it.each([
    ["that nobody looks at", "Unread", 16, 80],
    // What somebody wants to read may take half of what may be held, and once more what is put together of it.
    ["that somebody reads", "List", 1, 160],
  ])(
    "stays small while 16 lists of 16 MiB pass at once, %s (%s, connections: %i)",
    async (_, method, connections, boundMiB) => {
      const tap = await startTap();
      const atStart = (await tap.report()).nowMiB;
      const sessions = Array.from({ length: connections }, () => sessionTo(tap.path));
      const calls = Array.from({ length: 16 }, (_, at) =>
        call(sessions[at % connections] as ClientHttp2Session, method),
      );
      expect(await Promise.all(calls)).toEqual(Array.from({ length: 16 }, () => LIST_BYTES + 5));
      for (const session of sessions) session.destroy();
      const { peakMiB, streams, heldBytes } = await tap.report();
      expect([streams, heldBytes]).toEqual([0, 0]);
      // 256 MiB passed.
      expect(peakMiB - atStart).toBeLessThan(boundMiB);
    },
    60_000,
  );

  it("is what it was after hundreds of connections came and went", async () => {
    const tap = await startTap();
    const round = async () => {
      for (let batch = 0; batch < 6; batch++) {
        const sessions = Array.from({ length: 20 }, () => sessionTo(tap.path));
        await Promise.all(sessions.map((session) => call(session, "Small")));
        for (const session of sessions) session.destroy();
      }
      let report = await tap.report();
      while (report.connections > 0) report = await tap.report();
      return report;
    };
    await round();
    const warm = await round();
    const after = [await round(), await round(), await round()].at(-1);
    expect([after?.streams, after?.heldBytes, after?.answersRead]).toEqual([0, 0, 600]);
    // 360 more connections: a leak of a socket's buffers alone would be ten times this.
    expect((after?.nowMiB ?? 0) - warm.nowMiB).toBeLessThan(8);
  }, 60_000);
});
