/** Who takes part in the benchmark of the CRI proxy: each a process of its own between the same client and the same runtime. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import type { ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { dial } from "./cri-client.ts";

export interface Candidate {
  readonly name: string;
  readonly session: ClientHttp2Session;
  /** Of the proxy; undefined for the direct connection. */
  readonly pid: number | undefined;
  /** Whether policies of it change a container of the namespace `web`. */
  readonly edits: boolean;
}

export interface Candidates {
  readonly all: readonly Candidate[];
  stop(): Promise<void>;
}

const root = join(import.meta.dirname, "../../..");
const bundle = join(root, "dist/trivet/bin/trivet");
/** As it is installed, where that is built: from the sources it needs some 30 MiB more, to strip their types. */
export const program = existsSync(bundle) ? bundle : join(root, "bin/trivet");
/** The policies that are shipped as examples. */
export const examples = join(root, "daemonset/policies");

const oneEdit = `apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: environment }
spec:
  methods: [CreateContainer]
  mutations: [{ op: add, path: config.envs, values: { HTTPS_PROXY: "http://proxy.example.org:3128" } }]
`;

interface Started {
  readonly child: ChildProcess;
  readonly stopped: Promise<unknown>;
}

function start(command: string, args: readonly string[]): Started {
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  process.once("exit", () => child.kill());
  return { child, stopped: new Promise((resolve) => child.once("exit", resolve)) };
}

const startNode = (file: string, ...args: string[]): Started =>
  start(process.execPath, [
    "--disable-warning=ExperimentalWarning",
    "--max-semi-space-size=4",
    join(import.meta.dirname, file),
    ...args,
  ]);

interface ProxyToStart {
  readonly name: string;
  readonly edits?: boolean;
  start(socket: string, upstream: string): Started;
}

function proxies(directory: string): ProxyToStart[] {
  const trivet = (socket: string, upstream: string, ...more: string[]) =>
    start(program, [
      ...["cri", "--listen", `unix://${socket}`, "--upstream", `unix://${upstream}`],
      ...["--log-level", "error", ...more],
    ]);
  const onePolicy = join(directory, "one");
  mkdirSync(onePolicy);
  writeFileSync(join(onePolicy, "environment.yaml"), oneEdit);
  const recorded = [
    ...["--call-log", join(directory, "log/calls.jsonl"), "--call-log-max-mebibytes", "4"],
    ...["--metrics-address", "127.0.0.1:19819"],
  ];
  return [
    { name: "trivet", start: trivet },
    {
      name: "trivet, one policy",
      edits: true,
      start: (...sockets) => trivet(...sockets, "--policy-dir", onePolicy),
    },
    {
      name: "trivet, examples and record",
      edits: true,
      start: (...sockets) => trivet(...sockets, "--policy-dir", examples, ...recorded),
    },
    { name: "node:http2 streams", start: (...sockets) => startNode("http2-proxy.ts", ...sockets) },
    { name: "grpc-js, raw messages", start: (...sockets) => startNode("grpc-proxy.ts", ...sockets) },
  ];
}

/** Starts them all. The first one is the direct connection. */
export async function startCandidates(directory: string): Promise<Candidates> {
  const upstream = join(directory, "runtime.sock");
  const started = [startNode("cri-runtime.ts", upstream)];
  const all: Candidate[] = [];
  const stop = async () => {
    for (const { session } of all) session.destroy();
    for (const { child } of started) child.kill();
    await Promise.all(started.map(({ stopped }) => stopped));
  };
  try {
    all.push({ name: "direct", session: await dial(upstream), pid: undefined, edits: false });
    for (const [index, { name, edits = false, ...proxy }] of proxies(directory).entries()) {
      const socket = join(directory, `${index}.sock`);
      const process = proxy.start(socket, upstream);
      started.push(process);
      all.push({ name, session: await dial(socket), pid: process.child.pid, edits });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { all, stop };
}
