/**
 * What the tap adds to a call: a client and a server of node:http2, direct and through a tap in a process of its own.
 * Run with `node test/bench/tap.ts [rounds]`. Candidates take turns within each round, and the table shows medians over the
 * rounds. The Node client and server saturate before the tap does, so calls/s is a lower bound for it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, createServer as createHttp2Server } from "node:http2";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createProxy } from "../../src/cri/tap/proxy.ts";
import { silentLog } from "../../src/observe/log.ts";

const LIST_BYTES = 170_000;
const SMALL_CALLS = 1_500;
const LIST_CALLS = 300;
const WARM_UP_CALLS = 3_000;
const DEFAULT_ROUNDS = 7;

function framed(bytes: number): Buffer {
  const message = Buffer.alloc(5 + bytes);
  message.writeUInt32BE(bytes, 1);
  return message;
}

/** Answers `/bench/List` with 170 KB and all else with a few bytes. */
function serve(path: string): void {
  const small = framed(20);
  const list = framed(LIST_BYTES);
  const server = createHttp2Server();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    stream.resume();
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(headers[":path"] === "/bench/List" ? list : small);
    });
  });
  server.listen(path, () => process.send?.("ready"));
}

/** Holds calls to `/bench/Edited` and appends 60 bytes to their message. */
function tap(path: string, upstreamPath: string): void {
  const more = Buffer.alloc(60);
  const proxy = createProxy({
    upstreamPath,
    log: silentLog,
    hooks: {
      onRequest: ({ path: method }) => ({
        hold: method === "/bench/Edited",
        call: {
          edit: (message) => ({ action: "replace", message: Buffer.concat([message, more]) }),
          onEnd: () => undefined,
        },
      }),
    },
  });
  createServer((socket) => proxy.accept(socket)).listen(path, () => process.send?.("ready"));
  process.on("message", () => process.send?.({ residentMiB: process.memoryUsage().rss / 2 ** 20 }));
}

function callOnce(session: ClientHttp2Session, path: string, body: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": `${100_000 + Math.floor(performance.now() % 1_000)}m`,
    });
    stream.on("error", reject);
    stream.on("end", resolve);
    stream.resume();
    stream.end(body);
  });
}

interface Case {
  readonly name: string;
  readonly path: string;
  readonly requestBytes: number;
  readonly calls: number;
  readonly atOnce: number;
}

const cases: readonly Case[] = [
  { name: "small call, 1 at once", path: "/bench/Small", requestBytes: 20, calls: SMALL_CALLS, atOnce: 1 },
  {
    name: "small call, 32 at once",
    path: "/bench/Small",
    requestBytes: 20,
    calls: 4 * SMALL_CALLS,
    atOnce: 32,
  },
  { name: "4 KiB call, 1 at once", path: "/bench/Plain", requestBytes: 4_096, calls: SMALL_CALLS, atOnce: 1 },
  { name: "4 KiB call, edited", path: "/bench/Edited", requestBytes: 4_096, calls: SMALL_CALLS, atOnce: 1 },
  { name: "170 KB list, 1 at once", path: "/bench/List", requestBytes: 20, calls: LIST_CALLS, atOnce: 1 },
];

interface Measured {
  readonly p50Us: number;
  readonly callsPerSecond: number;
}

async function measure(
  session: ClientHttp2Session,
  { path, requestBytes, calls, atOnce }: Case,
): Promise<Measured> {
  const body = framed(requestBytes);
  const took: number[] = [];
  let left = calls;
  const worker = async () => {
    while (left-- > 0) {
      const before = performance.now();
      await callOnce(session, path, body);
      took.push(performance.now() - before);
    }
  };
  const before = performance.now();
  await Promise.all(Array.from({ length: atOnce }, worker));
  const seconds = (performance.now() - before) / 1_000;
  return { p50Us: median(took) * 1_000, callsPerSecond: calls / seconds };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function start(...args: string[]): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    ["--max-semi-space-size=4", fileURLToPath(import.meta.url), ...args],
    {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    },
  );
  return new Promise((resolve, reject) => {
    child.once("message", () => resolve(child));
    child.once("exit", (code) => reject(new Error(`${args[0]} exited with ${code}`)));
  });
}

async function main(rounds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "trivet-bench-"));
  const upstreamPath = join(directory, "server.sock");
  const tapPath = join(directory, "tap.sock");
  const children = [await start("serve", upstreamPath), await start("tap", tapPath, upstreamPath)];
  const sessions = [upstreamPath, tapPath].map((path) => connect("http://localhost", { path } as never));
  try {
    for (const session of sessions) {
      await measure(session, {
        name: "",
        path: "/bench/Small",
        requestBytes: 20,
        calls: WARM_UP_CALLS,
        atOnce: 8,
      });
    }
    const results = cases.map(() => [[], []] as [Measured[], Measured[]]);
    for (let round = 0; round < rounds; round++) {
      for (const [at, one] of cases.entries()) {
        for (const which of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
          results[at]?.[which].push(await measure(sessions[which] as ClientHttp2Session, one));
        }
      }
    }
    report(results, await residentMiB(children[1] as ChildProcess));
  } finally {
    for (const session of sessions) session.destroy();
    for (const child of children) child.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

function residentMiB(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once("message", (reply: { residentMiB: number }) => resolve(reply.residentMiB));
    child.send("memory");
  });
}

function report(results: readonly [Measured[], Measured[]][], resident: number): void {
  const rows = [
    ["case", "direct p50 us", "tap p50 us", "added us", "direct calls/s", "tap calls/s", "ratio"],
  ];
  for (const [at, [direct, tapped]] of results.entries()) {
    const p50 = [direct, tapped].map((all) => median(all.map(({ p50Us }) => p50Us))) as [number, number];
    const rate = [direct, tapped].map((all) => median(all.map((one) => one.callsPerSecond))) as [
      number,
      number,
    ];
    const cells = [p50[0], p50[1], p50[1] - p50[0], rate[0], rate[1]].map((value) => value.toFixed(0));
    rows.push([cases[at]?.name ?? "", ...cells, (rate[1] / rate[0]).toFixed(2)]);
  }
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const line = row.map((cell, at) =>
      at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0),
    );
    process.stdout.write(`${line.join("  ")}\n`);
  }
  process.stdout.write(`tap: ${resident.toFixed(0)} MiB resident at the end\n`);
}

const [role, ...paths] = process.argv.slice(2);
if (role === "serve") serve(paths[0] ?? "");
else if (role === "tap") tap(paths[0] ?? "", paths[1] ?? "");
else await main(Number(role ?? DEFAULT_ROUNDS));
