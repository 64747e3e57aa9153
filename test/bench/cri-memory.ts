/**
 * What `trivet cri` keeps in memory after a day of calls, with policies, the call log, the index of pods and metrics on. Run with
 * `node test/bench/cri-memory.ts [calls]`: a client and a runtime of node:http2 in this process, the proxy as it is shipped.
 * Ends with code 1 above the goal.
 */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type ClientHttp2Session, connect, createServer, type ServerHttp2Stream } from "node:http2";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { bytesField, entryField } from "../../src/cri/wire/encode.ts";

const GOAL_MIB = 100;
const DEFAULT_CALLS = 100_000;
const AT_ONCE = 16;
const METRICS = "127.0.0.1:19819";
// As it is shipped where that is built: from the sources it needs some 30 MiB more, for the compiler that strips their types.
const root = join(import.meta.dirname, "../..");
const bundle = join(root, "dist/trivet/bin/trivet");
const program = existsSync(bundle) ? bundle : join(root, "bin/trivet");

function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

const id = (kind: string, number: number) => `${kind}${String(number).padStart(64 - kind.length, "0")}`;

function podConfig(number: number): Buffer {
  const name = `web-${number}`;
  const metadata = [name, `uid-${number}`, "shop"].map((text, index) => bytesField(index + 1, text));
  const labels = ["app", "tier", "release"].map((key) => entryField(6, key, name));
  const annotations = Array.from({ length: 10 }, (_, index) =>
    entryField(7, `note-${index}`, "x".repeat(100)),
  );
  return Buffer.concat([bytesField(1, Buffer.concat(metadata)), ...labels, ...annotations]);
}

function createRequest(number: number): Buffer {
  const env = Array.from({ length: 30 }, (_, index) => entryField(6, `NAME_${index}`, "v".repeat(60)));
  const config = Buffer.concat([
    bytesField(1, bytesField(1, "main")),
    bytesField(2, bytesField(1, "web:1")),
    ...env,
  ]);
  const parts = [bytesField(1, id("s", number)), bytesField(2, config), bytesField(3, podConfig(number))];
  return Buffer.concat(parts);
}

/** What a busy node asks: mostly for states, and now and then a pod comes and another one goes. */
function requestFor(call: number): { readonly method: string; readonly message: Buffer } {
  const pod = Math.floor(call / 100);
  switch (call % 100) {
    case 0:
      return { method: "RunPodSandbox", message: bytesField(1, podConfig(pod)) };
    case 1:
      return { method: "CreateContainer", message: createRequest(pod) };
    case 2:
      return { method: "StartContainer", message: bytesField(1, id("c", pod)) };
    case 3:
      return { method: "StopContainer", message: bytesField(1, id("c", Math.max(0, pod - 200))) };
    case 4:
      return { method: "RemovePodSandbox", message: bytesField(1, id("s", Math.max(0, pod - 200))) };
    default:
      if (call % 10 === 5) return { method: "ListContainers", message: Buffer.alloc(0) };
      if (call % 10 < 3)
        return { method: "ExecSync", message: bytesField(1, id("c", Math.max(0, pod - (call % 50)))) };
      return { method: "ContainerStatus", message: bytesField(1, id("c", Math.max(0, pod - (call % 300)))) };
  }
}

const list = Buffer.concat(
  Array.from({ length: 220 }, (_, index) =>
    bytesField(
      1,
      Buffer.concat([
        bytesField(1, id("c", index)),
        bytesField(2, id("s", index)),
        Buffer.from(podConfig(index)),
      ]),
    ),
  ),
);

function answer(stream: ServerHttp2Stream, path: string, made: number): void {
  const method = path.split("/").at(-1);
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  if (method === "RunPodSandbox") stream.end(framed(bytesField(1, id("s", made))));
  else if (method === "CreateContainer") stream.end(framed(bytesField(1, id("c", made))));
  else stream.end(framed(method === "ListContainers" ? list : Buffer.alloc(0)));
}

function callOnce(session: ClientHttp2Session, method: string, message: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ...{ ":method": "POST", ":path": `/runtime.v1.RuntimeService/${method}` },
      ...{ "content-type": "application/grpc", te: "trailers", "grpc-timeout": "120S" },
    });
    stream.on("error", reject);
    stream.on("end", resolve);
    stream.resume();
    stream.end(framed(message));
  });
}

function residentMib(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1_024;
}

/** One that changes each container, and one whose expressions look at it. */
const policies = `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: environment }
spec:
  methods: [CreateContainer]
  mutations: [{ op: add, path: config.envs, values: { HTTP_PROXY: "http://proxy.example.org:3128" } }]
---
apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: no-privileged }
spec:
  methods: [CreateContainer]
  matchConditions: [{ name: shop, expression: "pod.namespace == 'shop'" }]
  validations: [{ expression: "!object.config.linux.security_context.privileged", message: not here }]
`;

async function main(calls: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "trivet-memory-"));
  const upstream = join(directory, "runtime.sock");
  const listen = join(directory, "cri.sock");
  let pods = 0;
  let containers = 0;
  const server = createServer();
  server.on("stream", (stream, headers) => {
    const path = String(headers[":path"]);
    stream.on("error", () => undefined);
    stream.resume();
    const made = path.endsWith("/RunPodSandbox")
      ? pods++
      : path.endsWith("/CreateContainer")
        ? containers++
        : 0;
    stream.on("end", () => answer(stream, path, made));
  });
  await new Promise<void>((resolve) => server.listen(upstream, resolve));
  const flags = [
    "--listen",
    `unix://${listen}`,
    "--upstream",
    `unix://${upstream}`,
    "--metrics-address",
    METRICS,
  ];
  const log = ["--call-log", join(directory, "log/calls.jsonl"), "--call-log-max-mebibytes", "4"];
  const all = ["change", "exec", "image", "probe", "status", "poll"].flatMap((name) => [
    "--call-log-level",
    `${name}=all`,
  ]);
  mkdirSync(join(directory, "policies"));
  writeFileSync(join(directory, "policies/both.yaml"), policies);
  flags.push("--policy-dir", join(directory, "policies"), "--log-level", "warn");
  const proxy = spawn(program, ["cri", ...flags, ...log, ...all], {
    stdio: "inherit",
  });
  const dial = () => connect("http://localhost", { createConnection: () => connectSocket(listen) });
  try {
    let session = dial();
    for (let tries = 0; tries < 100; tries += 1) {
      session.on("error", () => undefined);
      if (
        await callOnce(session, "Version", Buffer.alloc(0)).then(
          () => true,
          () => false,
        )
      )
        break;
      await pause(100);
      session = dial();
    }
    const pid = proxy.pid ?? 0;
    process.stdout.write(`${program}\nat the start ${residentMib(pid).toFixed(1)} MiB\n`);
    let next = 0;
    let most = 0;
    const worker = async () => {
      while (next < calls) {
        const call = next++;
        const { method, message } = requestFor(call);
        await callOnce(session, method, message);
        if (call % 1_000 === 0) most = Math.max(most, residentMib(pid));
        if (call > 0 && call % 25_000 === 0)
          process.stdout.write(`after ${call} calls ${residentMib(pid).toFixed(1)} MiB\n`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await fetch(`http://${METRICS}/metrics`).then((response) => response.text());
    const after = residentMib(pid);
    most = Math.max(most, after);
    const files = readdirSync(join(directory, "log"));
    process.stdout.write(
      `after ${calls} calls ${after.toFixed(1)} MiB, ${most.toFixed(1)} MiB at most; ${files.length} files of the log\n`,
    );
    if (most > GOAL_MIB) process.exitCode = 1;
    session.close();
  } finally {
    proxy.kill("SIGTERM");
    server.close();
    await new Promise((resolve) => proxy.once("exit", resolve));
    rmSync(directory, { recursive: true, force: true });
  }
}

await main(Number(process.argv[2] ?? DEFAULT_CALLS));
process.exit();
