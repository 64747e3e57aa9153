/**
 * The static client against an agent of every kind, and none. Nothing of a call may be lost, run twice where that matters, or
 * end without an answer that a runtime understands.
 */

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { askAgent } from "../../src/cni/client/ask-agent.ts";
import { forwardedEnvironment, limitsOf } from "../../src/cni/protocol/agent-frame.ts";
import {
  type Behaviour,
  installClient,
  type Running,
  replyText,
  runPlugin,
  type StandInAgent,
  startStandIn,
  writeStandIn,
} from "./support/cni-client.ts";

const directory = mkdtempSync(join(tmpdir(), "trivet-client-"));
const socket = join(directory, "cni.sock");
const conf = JSON.stringify({ cniVersion: "0.4.0", name: "pods", type: "trivet", socket });
const sum = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");
let client: string;
let waitingClient: string;
let agents: StandInAgent[] = [];

beforeAll(() => {
  const standIn = join(directory, "stand-in");
  writeStandIn(standIn);
  client = installClient(join(directory, "bin"), standIn);
  waitingClient = installClient(join(directory, "waiting-bin"), writeWaitingStandIn());
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  agents = [];
});
afterAll(() => rmSync(directory, { recursive: true }));

async function agent(behaviour?: Behaviour): Promise<StandInAgent> {
  const started = await startStandIn(socket, behaviour);
  agents.push(started);
  return started;
}

const run = (command: string, stdin: Running["stdin"] = conf) =>
  runPlugin(client, { env: { CNI_COMMAND: command, CNI_CONTAINERID: "c1" }, stdin });

/** What the stand-in for the standalone plugin prints, with its exit code. */
const standalone = (command: string, stdin: string | Uint8Array = conf) => ({
  exitCode: 7,
  stdout: `standalone cni --standalone ${command} ${sum(stdin)}\n`,
});

describe("the client", () => {
  test("has less than 200 lines, and needs no library when it runs", () => {
    const source = readFileSync(new URL("../../src/cni/client/native/trivet.c", import.meta.url), "utf8");
    expect(source.split("\n").length).toBeLessThanOrEqual(200);
    // Of the program headers, PT_INTERP (3) and PT_DYNAMIC (2) would name a loader and its libraries.
    const elf = readFileSync(client);
    const [offset, size, count] = [
      Number(elf.readBigUInt64LE(32)),
      elf.readUInt16LE(54),
      elf.readUInt16LE(56),
    ];
    const types = Array.from({ length: count }, (_, index) => elf.readUInt32LE(offset + index * size));
    expect(types.filter((type) => type === 2 || type === 3)).toEqual([]);
  });

  test.each(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "BOGUS"])(
    "sends the frame of the client in TypeScript for %j",
    async (command) => {
      const { seen } = await agent();
      const env = {
        CNI_COMMAND: command,
        CNI_CONTAINERID: "c1",
        CNI_ARGS: 'A="quoted\\";B=\ttab\u0001\u007fü\u{1f600}',
        CNI_NETNS: "",
        TRACEPARENT: "00-1-2-3",
        TRACESTATE: "a=b",
        BAGGAGE: "k=v=w",
        TRACE: "not ours",
        XCNI_A: "not ours",
        AWS_SECRET: "hidden",
      };
      await runPlugin(client, { env, stdin: conf });
      const stdin = Buffer.from(conf);
      const { deadlineMs } = limitsOf(command);
      const call = { command, env: forwardedEnvironment(env), stdin, deadlineMs };
      await askAgent({
        socketPath: socket,
        call,
        connectTimeoutMs: 1_000,
        goTimeoutMs: 1_000,
        answerTimeoutMs: 1_000,
      });
      expect(seen).toHaveLength(2);
      expect(seen[0]).toEqual(seen[1]);
    },
  );

  test("hands on stdout, stderr and exit code, however the answer comes in pieces", async () => {
    const answer = Buffer.from(replyText(1, '{"code":11,"msg":"größer"}\n', "a word\n"));
    await agent({
      async onCall(connection) {
        for (const byte of answer) {
          connection.write(Buffer.of(byte));
          await new Promise((resolve) => setImmediate(resolve));
        }
        connection.end();
      },
    });
    expect(await run("ADD")).toEqual({
      exitCode: 1,
      stdout: '{"code":11,"msg":"größer"}\n',
      stderr: "a word\n",
    });
  });

  test("hands on an answer of megabytes, and a configuration of one", async () => {
    const big = `{"dns":"${"x".repeat(5 << 20)}"}\n`;
    const long = JSON.stringify({ socket, padding: "y".repeat(1_000_000) });
    const { seen } = await agent({ onCall: (connection) => void connection.end(replyText(0, big)) });
    const { exitCode, stdout } = await run("ADD", long);
    expect([exitCode, sum(stdout)]).toEqual([0, sum(big)]);
    expect(sum(seen[0]?.stdin ?? "")).toBe(sum(long));
  });

  test("starts with any of its three streams closed", async () => {
    const { seen } = await agent();
    for (const closed of ["1>&-", "2>&-", "1>&- 2>&-"]) {
      const before = ["sh", "-c", `exec "$0" ${closed}`];
      const { exitCode } = await runPlugin(client, { env: { CNI_COMMAND: "DEL" }, stdin: conf, before });
      expect(exitCode).toBe(0);
    }
    expect(seen.map(({ stdin }) => stdin.toString())).toEqual([conf, conf, conf]);
    // Without stdin there is no configuration, and no socket but the default one.
    expect(await run("DEL", "closed")).toMatchObject(standalone("DEL", ""));
  });
});

describe("the standalone plugin gets the call, with the same bytes on stdin,", () => {
  test.each(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"])(
    "when there is no agent: %s",
    async (command) => {
      expect(await run(command)).toMatchObject(standalone(command));
    },
  );

  test("when the socket is a dead one", async () => {
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(socket, resolve));
    execFileSync("cp", ["-a", socket, `${socket}.kept`]); // `close` removes the name
    await new Promise((resolve) => dead.close(resolve));
    execFileSync("mv", [`${socket}.kept`, socket]);
    expect(await run("ADD")).toMatchObject(standalone("ADD"));
    rmSync(socket);
  });

  test("when the socket's queue is full: nobody accepts", async () => {
    // A stopped process, and as many clients in its queue as that has room for.
    const program = `require("net").createServer().listen({ path: ${JSON.stringify(socket)}, backlog: 1 }, () => {
      console.log("listening");
      process.kill(process.pid, "SIGSTOP");
    })`;
    const server = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => server.stdout.once("data", resolve));
    await expect.poll(() => readFileSync(`/proc/${server.pid}/stat`, "utf8")).toContain(" T ");
    const waiting = [connect(socket), connect(socket)];
    await Promise.all(waiting.map((one) => new Promise((resolve) => one.once("connect", resolve))));
    const answer = await run("ADD");
    server.kill("SIGKILL");
    for (const one of waiting) one.destroy();
    rmSync(socket);
    expect(answer).toMatchObject(standalone("ADD"));
    expect(answer.stderr).toContain("cannot be reached");
  });

  test("when the agent hangs before it has taken the call, an ADD too", async () => {
    const { seen } = await agent({ onLine: () => undefined });
    const answer = await run("ADD");
    expect(answer).toMatchObject(standalone("ADD"));
    expect(answer.stderr).toContain("does not take the call");
    expect(seen).toEqual([]);
  });

  test.each(["protocol", "busy", "size", "format"])("when the agent refuses: %s", async (refused) => {
    const line = { protocol: 3, exitCode: 1, stdout: "", stderr: "", refused };
    await agent({ onLine: (connection) => void connection.end(`${JSON.stringify(line)}\n`) });
    expect(await run("ADD")).toMatchObject(standalone("ADD"));
  });

  test.each([
    ["something that is no agent", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["a line without an end", "x".repeat(100_000)],
    ["nothing at all", ""],
  ])("when there is %s behind the socket", async (_title, said) => {
    await agent({ onLine: (connection) => void connection.end(said) });
    expect(await run("ADD")).toMatchObject(standalone("ADD"));
  });

  test.each(["DEL", "CHECK", "GC", "STATUS"])(
    "when the agent dies in the middle of a %s",
    async (command) => {
      await agent({ onCall: (connection) => connection.destroy() });
      expect(await run(command)).toMatchObject(standalone(command));
    },
  );

  test("when the agent does not answer a STATUS", async () => {
    await agent({ onCall: () => undefined });
    expect(await run("STATUS")).toMatchObject(standalone("STATUS"));
  });

  test("when stdin is too long for the agent, or empty, or no JSON", async () => {
    const long = JSON.stringify({ socket, padding: "y".repeat(3 << 20) });
    const refusal = `${JSON.stringify({ protocol: 2, refused: "size" })}\n`;
    await agent({ onLine: (connection) => void connection.end(refusal) });
    expect(await run("ADD", long)).toMatchObject(standalone("ADD", long));
  });
});

const released = join(directory, "released");

/** A standalone plugin that ends when there is that file. */
function writeWaitingStandIn(): string {
  const path = join(directory, "waiting");
  const waiting = `for i in $(seq 200); do [ -e ${released} ] && break; sleep 0.05; done`;
  writeFileSync(path, `#!/bin/sh\n${waiting}\necho standalone\n`, { mode: 0o755 });
  return path;
}

/** What many calls at once print. */
function crowd(command: string): Promise<string>[] {
  const env = { CNI_COMMAND: command, CNI_CONTAINERID: "c1" };
  return Array.from({ length: 20 }, async () => {
    const { stdout } = await runPlugin(waitingClient, { env, stdin: conf });
    return stdout.trim();
  });
}

const answering: Behaviour = { onCall: (connection) => void connection.end(replyText(0, "agent\n")) };
const unwilling: readonly (readonly [title: string, command: string, behaviour: Behaviour | undefined])[] = [
  ["is away", "ADD", undefined],
  ["ends before it takes them", "ADD", { onLine: (connection) => connection.destroy() }],
  ["refuses them", "ADD", { onLine: (connection) => void connection.end('{"refused":"busy"}\n') }],
  ["ends in the middle of them", "DEL", { onCall: () => undefined }],
];

test.each(unwilling)(
  "of many calls whose agent %s one is done standalone, and the next agent does the others: %s",
  async (_title, command, behaviour) => {
    const first = behaviour && (await agent(behaviour));
    rmSync(released, { force: true });
    const printed = crowd(command);
    if (command === "DEL") await expect.poll(() => first?.seen.length).toBe(printed.length);
    else await sleep(300);
    await first?.stop();
    if (command === "DEL") await sleep(300);
    await agent(answering);
    let others = 0;
    for (const one of printed) {
      void one.then((text) => {
        others += text === "agent" ? 1 : 0;
        if (others === 19) writeFileSync(released, "");
      });
    }
    expect((await Promise.all(printed)).sort()).toEqual([...Array(19).fill("agent"), "standalone"]);
  },
);

const broken: readonly (readonly [title: string, answer: (connection: Socket) => void])[] = [
  ["dies at once", (connection) => connection.destroy()],
  ["dies in the first line", (connection) => void connection.end('{"protocol":2,"exitCode":0,"std')],
  ["dies in stdout", (connection) => void connection.end(replyText(0, '{"ips":[]}\n').slice(0, -3))],
  ["dies in stderr", (connection) => void connection.end(replyText(0, "{}\n", "word\n").slice(0, -3))],
  ["answers in another form", (connection) => void connection.end('{"exitCode":0}\n')],
  [
    "announces more than can be",
    (c) => void c.end('{"protocol":2,"exitCode":0,"stdoutBytes":99999999999,"stderrBytes":0}\n'),
  ],
];

test.each(broken)(
  "an ADD whose agent %s is a failure of code 11, is not run again, and shows nothing of the answer",
  async (_title, answer) => {
    await agent({ onCall: answer });
    const { exitCode, stdout } = await run("ADD");
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      cniVersion: "0.4.0",
      code: 11,
      msg: expect.stringContaining("DEL"),
    });
    expect(stdout.trim().split("\n")).toHaveLength(1);
  },
);

test("without an agent and without the standalone plugin there is an error object: 11, and 50 for STATUS", async () => {
  const beside = join(directory, "bin", ".trivet-standalone");
  const before = readFileSync(beside);
  writeFileSync(beside, '/nowhere/"trivet"\n');
  const answers = [await run("DEL"), await run("STATUS")];
  writeFileSync(beside, before);
  expect(answers.map(({ exitCode, stdout }) => [exitCode, JSON.parse(stdout)])).toEqual([
    [1, { cniVersion: "0.4.0", code: 11, msg: expect.stringContaining('/nowhere/"trivet"') }],
    [1, { cniVersion: "0.4.0", code: 50, msg: expect.stringContaining("agent") }],
  ]);
});

test("a stdin that is far too long is refused with code 5", async () => {
  const { exitCode, stdout } = await run("ADD", Buffer.alloc(9 << 20, 0x20));
  expect([exitCode, JSON.parse(stdout)]).toMatchObject([1, { cniVersion: "1.0.0", code: 5 }]);
});

test("the socket is the one that JSON.parse finds at the top of the configuration", async () => {
  const reached: string[] = [];
  const paths = ["a", "b"].map((name) => join(directory, `${name}.sock`));
  const servers = await Promise.all(
    paths.map((path) =>
      startStandIn(path, {
        onCall: (connection) => {
          reached.push(path);
          connection.end(replyText(0, ""));
        },
      }),
    ),
  );
  const key = fc.constantFrom("socket", "Socket", "socke", "name", "ipam", 'so"cket', "socket\\", "");
  const value = fc.constantFrom(
    ...paths,
    "relative",
    '"',
    "\\",
    "{",
    "}]",
    ",",
    ":",
    "\u0001",
    "socket",
    "ü",
  );
  const { node } = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      value,
      fc.integer(),
      fc.constant(null),
      fc.boolean(),
      tie("list"),
      tie("object"),
    ),
    list: fc.array(tie("node"), { maxLength: 3 }),
    object: fc.dictionary(key, tie("node"), { maxKeys: 4 }),
  }));
  const document = fc.tuple(
    fc.array(fc.tuple(key, node), { maxLength: 5 }),
    fc.constantFrom(undefined, 1, "\t"),
  );
  await fc.assert(
    fc.asyncProperty(document, fc.constantFrom(...paths), async ([entries, indent], last) => {
      // Written by hand, so that a key may come twice.
      const pairs = [...entries, ...(entries.length % 2 ? ([["socket", last]] as const) : [])];
      const text = `{${pairs.map(([name, item]) => `${JSON.stringify(name)}${indent ? " : " : ":"}${JSON.stringify(item, null, indent)}`).join(",")}}`;
      const found = (JSON.parse(text) as { socket?: unknown }).socket;
      reached.length = 0;
      const { exitCode } = await run("DEL", text);
      const wanted = paths.filter((path) => path === found);
      expect(reached).toEqual(wanted);
      if (wanted.length > 0) expect(exitCode).toBe(0);
    }),
    { numRuns: 150 },
  );
  await Promise.all(servers.map((server) => server.stop()));
});
