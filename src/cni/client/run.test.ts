import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createFakeNode, type FakeNode } from "../../../test/fakes/cni-node.ts";
import { errnoError } from "../../host/errno.ts";
import { silentLog } from "../../observe/log.ts";
import { startCniAgent } from "../agent.ts";
import { goAhead } from "../protocol/agent-frame.ts";
import { runCni } from "./run.ts";

let directory: string;
let socket: string;
let node: FakeNode;
let closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-client-"));
  socket = join(directory, "cni.sock");
  node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
});

afterEach(async () => {
  for (const close of closing) await close();
  closing = [];
  await rm(directory, { recursive: true });
});

interface Request {
  readonly env: Record<string, string>;
  readonly [key: string]: unknown;
}

/** Something that listens in the agent's place; `answered` gets the call once all of it is there. */
async function serve(answered: (socket: Socket, request: Request) => void, go = goAhead): Promise<void> {
  const server: Server = createServer((connection) => {
    connection.on("error", () => undefined);
    connection.once("data", (chunk) => {
      connection.write(go);
      connection.once("data", () => answered(connection, JSON.parse(chunk.toString()) as Request));
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
}

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly standalone: boolean;
}

async function run(
  command: string,
  env: Record<string, string> = {},
  options: { answerTimeoutMs?: number } = {},
): Promise<Outcome> {
  let stdout = "";
  let stderr = "";
  let standalone = false;
  const config = {
    cniVersion: "0.4.0",
    name: "pods",
    type: "trivet",
    socket,
    ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
  };
  const exitCode = await runCni({
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c1",
      CNI_IFNAME: "eth0",
      CNI_NETNS: "/run/netns/c1",
      ...env,
    },
    readStdin: async () => JSON.stringify(config),
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: (text) => {
      stderr += text;
    },
    loadDeps: async () => {
      standalone = true;
      return node.boot().deps;
    },
    ...options,
  });
  return { exitCode, stdout, stderr, standalone };
}

test("VERSION is answered without the agent and without loading anything", async () => {
  await serve(() => expect.unreachable("the agent was asked"));
  expect(await run("VERSION")).toMatchObject({ exitCode: 0, standalone: false });
});

test("with an agent the call is the agent's, and its answer is handed on", async () => {
  const agent = await startCniAgent({ socketPath: socket, deps: node.boot().deps, log: silentLog });
  closing.push(() => agent.stop({ timeoutMs: 1_000 }));
  const added = await run("ADD");
  expect(added).toMatchObject({ exitCode: 0, stderr: "", standalone: false });
  expect(JSON.parse(added.stdout)).toMatchObject({ cniVersion: "0.4.0" });
  expect(await run("DEL")).toMatchObject({ exitCode: 0, stdout: "", standalone: false });
});

test("only variables of CNI and of tracing reach the agent", async () => {
  let seen: Request | undefined;
  await serve((connection, request) => {
    seen = request;
    connection.end('{"protocol":2,"exitCode":0,"stdoutBytes":0,"stderrBytes":0}\n');
  });
  await run("DEL", { CNI_ARGS: "A=1", TRACEPARENT: "00-1-2-3", AWS_SECRET: "hidden", PATH: "/bin" });
  expect(Object.keys(seen?.env ?? {}).sort()).toEqual(
    ["CNI_ARGS", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "TRACEPARENT"].sort(),
  );
  expect(seen).toMatchObject({ protocol: 2, command: "DEL", deadlineMs: 15_000 });
});

describe("the call is done here, on the same state,", () => {
  test("when there is no agent", async () => {
    const added = await run("ADD");
    expect(added).toMatchObject({ exitCode: 0, standalone: true });
    expect(
      added.stderr
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).command),
    ).toContain("ADD");
    expect(JSON.parse(added.stdout)).toHaveProperty("ips");
  });

  test.each(["protocol", "busy", "size", "format"])("when the agent refused it: %s", async (refused) => {
    const answer = { protocol: 2, exitCode: 1, stdout: "", stderr: "", refused };
    await serve(() => expect.unreachable("it was refused"), `${JSON.stringify(answer)}\n`);
    expect(await run("ADD")).toMatchObject({ exitCode: 0, standalone: true });
  });

  test("when something answers that is no agent", async () => {
    await serve(() => expect.unreachable("that was no agent"), "220 mail.example\n");
    expect(await run("ADD")).toMatchObject({ exitCode: 0, standalone: true });
  });

  test("when the agent dies in the middle of a DEL", async () => {
    await run("ADD");
    await serve((connection) => connection.destroy());
    expect(await run("DEL")).toMatchObject({ exitCode: 0, stdout: "", standalone: true });
    expect(node.stateFiles()).toEqual([]);
  });

  test("when the agent does not answer a DEL in time", async () => {
    await run("ADD");
    const held: Socket[] = [];
    await serve((connection) => void held.push(connection));
    closing.unshift(async () => held.forEach((connection) => void connection.destroy()));
    const outcome = await run("DEL", {}, { answerTimeoutMs: 50 });
    expect(outcome).toMatchObject({ exitCode: 0, standalone: true });
    expect(outcome.stderr).toContain("did not answer");
  });
});

test("when the agent dies in the middle of an ADD, the runtime gets code 11, so that it sends a DEL", async () => {
  await serve((connection) => connection.destroy());
  const outcome = await run("ADD");
  expect(outcome).toMatchObject({ exitCode: 1, standalone: false });
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 11, msg: expect.stringContaining("agent") });
});

test("an answer that cannot be read is a failed ADD", async () => {
  await serve((connection) => connection.end("what?\n"));
  const outcome = await run("ADD");
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 11 });
});

test("what keeps the plugin from starting at all is an error object too, and says why", async () => {
  let stdout = "";
  const exitCode = await runCni({
    env: { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0" },
    readStdin: async () => JSON.stringify({ cniVersion: "0.4.0", name: "pods", socket }),
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: () => undefined,
    loadDeps: () => Promise.reject(errnoError("ENOENT", "sysctl.read", "kernel.random.boot_id")),
  });
  expect([exitCode, JSON.parse(stdout)]).toMatchObject([
    1,
    { cniVersion: "0.4.0", code: 5, msg: expect.stringContaining("kernel.random.boot_id") },
  ]);
});
