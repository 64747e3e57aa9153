import { mkdtemp, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bootId, createFakeNode, type FakeNode } from "../../test/fakes/cni-node.ts";
import { silentLog } from "../observe/log.ts";
import { type CniAgent, startCniAgent } from "./agent.ts";
import { askAgent } from "./client/ask-agent.ts";
import type { CniDeps } from "./deps.ts";
import { type AgentReply, MAX_REQUEST_BYTES, type Refusal } from "./protocol/agent-frame.ts";

let directory: string;
let socketPath: string;
let node: FakeNode;
const agents: CniAgent[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-agent-"));
  socketPath = join(directory, "run", "cni.sock");
  node = createFakeNode();
  node.kernel.addNamespace("/run/netns/c1");
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop({ timeoutMs: 1_000 });
  await rm(directory, { recursive: true });
});

async function start(deps: CniDeps = node.boot().deps): Promise<CniAgent> {
  const agent = await startCniAgent({ socketPath, deps, log: silentLog });
  agents.push(agent);
  return agent;
}

const network = {
  cniVersion: "1.0.0",
  name: "pods",
  type: "trivet",
  ipam: { ranges: [[{ subnet: "10.88.0.0/24" }]] },
};

function request(command: string, changes: object = {}): string {
  const env = { CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: "/run/netns/c1" };
  const stdin = Buffer.from(JSON.stringify(network)).toString("base64");
  return `${JSON.stringify({ protocol: 1, command, env, stdin, deadlineMs: 60_000, ...changes })}\n`;
}

type OlderReply = AgentReply & { readonly protocol: number; readonly refused?: Refusal };

/** In the older protocol: sends these bytes and gives the answer; undefined if the agent ends the connection without one. */
function ask(bytes: string): Promise<OlderReply | undefined> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect({ path: socketPath }, () => void socket.write(bytes));
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("close", () => resolve(answer === "" ? undefined : (JSON.parse(answer) as OlderReply)));
    socket.on("error", reject);
  });
}

describe("a request", () => {
  test("is run, and answered with the plugin's exit code and stdout in one line", async () => {
    await start();
    const added = await ask(request("ADD"));
    expect(added).toMatchObject({ protocol: 1, exitCode: 0, stderr: "" });
    expect(JSON.parse(added?.stdout ?? "")).toMatchObject({ ips: [{ address: "10.88.0.2/32" }] });
    const again = await ask(request("ADD"));
    expect(again?.exitCode).toBe(1);
    expect(JSON.parse(again?.stdout ?? "")).toMatchObject({ code: 100 });
    expect(await ask(request("DEL"))).toMatchObject({ exitCode: 0, stdout: "" });
    expect(node.stateFiles()).toEqual([]);
  });

  test("may come in pieces", async () => {
    await start();
    const bytes = request("ADD");
    const answer = await new Promise<string>((resolve) => {
      const socket = connect({ path: socketPath });
      socket.write(bytes.slice(0, 20));
      setTimeout(() => socket.write(bytes.slice(20)), 20);
      socket.once("data", (chunk) => resolve(chunk.toString()));
    });
    expect(JSON.parse(answer)).toMatchObject({ exitCode: 0 });
  });

  test("of another protocol is refused with our number, and nothing is done", async () => {
    await start();
    const answer = await ask(request("ADD", { protocol: 3, command: 5, env: "another form" }));
    expect(answer).toMatchObject({ protocol: 2, exitCode: 1, refused: "protocol" });
    expect(node.stateFiles()).toEqual([]);
  });

  test.each([
    ["that is no JSON", "ADD c1\n"],
    ["without a command", request("ADD", { command: undefined })],
    ["without a deadline", request("ADD", { deadlineMs: 0 })],
    ["whose environment is no object", request("ADD", { env: [] })],
  ])("%s is refused", async (_title, bytes) => {
    await start();
    expect(await ask(bytes)).toMatchObject({ exitCode: 1, refused: "format" });
  });

  test("that is too long is refused", async () => {
    await start();
    const answer = await ask("x".repeat(MAX_REQUEST_BYTES + 2));
    expect(answer).toMatchObject({ refused: "size" });
  });

  test("whose client goes away is taken back", async () => {
    const { deps } = node.boot();
    let reached: () => void = () => undefined;
    const atLink = new Promise<void>((resolve) => {
      reached = resolve;
    });
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const create: CniDeps["files"]["create"] = async (path, data, mode) => {
      if (path.includes("/staging/")) {
        reached();
        await held;
      }
      return deps.files.create(path, data, mode);
    };
    // A class instance: its methods stay bound to it, only `create` is held up.
    const files = new Proxy(deps.files, {
      get: (target, key) => {
        const value: unknown = key === "create" ? create : Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const agent = await start({ ...deps, files });
    const socket = connect({ path: socketPath }, () => void socket.write(request("ADD")));
    await atLink;
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    goOn();
    await agent.stop({ timeoutMs: 1_000 });
    expect(node.stateFiles()).toEqual([]);
    expect(node.kernel.namespaceAt("/run/netns/c1")).toMatchObject({
      links: new Map([["lo", expect.anything()]]),
    });
  });
});

describe("in the present protocol", () => {
  const limits = { connectTimeoutMs: 1_000, goTimeoutMs: 1_000, answerTimeoutMs: 10_000 };
  const env = { CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: "/run/netns/c1" };
  const call = (command: string, stdin = JSON.stringify(network)) =>
    askAgent({
      socketPath,
      ...limits,
      call: { command, env, stdin: Buffer.from(stdin), deadlineMs: 60_000 },
    });
  const head = (changes: object = {}) =>
    `${JSON.stringify({ protocol: 2, command: "ADD", stdinBytes: 3, deadlineMs: 100, env: {}, ...changes })}\n`;

  /** Sends the parts one after the other, each after an answer to the one before; gives all that came back. */
  function talk(parts: readonly string[], then: "leave" | "wait" = "wait"): Promise<string> {
    return new Promise((resolve, reject) => {
      let said = "";
      const left = [...parts];
      const socket = connect({ path: socketPath });
      const next = () => {
        const part = left.shift();
        if (part !== undefined && then === "leave" && left.length === 0) socket.end(part);
        else if (part !== undefined) socket.write(part);
      };
      socket.once("connect", next);
      socket.on("data", (chunk) => {
        said += chunk;
        next();
      });
      socket.on("close", () => resolve(said));
      socket.on("error", reject);
    });
  }

  test("a call is taken, run and answered", async () => {
    await start();
    const added = await call("ADD");
    expect(added).toMatchObject({ reply: { exitCode: 0, stderr: "" } });
    expect(await call("DEL")).toEqual({ reply: { exitCode: 0, stdout: "", stderr: "" } });
    expect(await call("VERSION")).toMatchObject({
      reply: { stdout: expect.stringContaining("supportedVersions") },
    });
    expect(node.stateFiles()).toEqual([]);
  });

  test("letters of many bytes and an empty stdin are counted right", async () => {
    await start();
    expect(await call("ADD", JSON.stringify({ ...network, mtu: "größer\u{1f600}" }))).toMatchObject({
      reply: { exitCode: 1, stdout: expect.stringContaining("größer\u{1f600}") },
    });
    expect(await call("ADD", "")).toMatchObject({
      reply: { stdout: expect.stringContaining("stdin is empty") },
    });
  });

  test("nothing is begun before the last line end has come", async () => {
    await start();
    const stdin = JSON.stringify(network);
    const said = await talk([head({ env, stdinBytes: stdin.length, deadlineMs: 60_000 }), stdin], "leave");
    expect(said).toBe('{"protocol":2,"go":true}\n');
    expect(node.stateFiles()).toEqual([]);
  });

  test.each([
    ["a size that is no number", head({ stdinBytes: "3" }), "format"],
    ["a size below nothing", head({ stdinBytes: -1 }), "format"],
    ["a size beyond the limit", head({ stdinBytes: MAX_REQUEST_BYTES + 1 }), "size"],
  ])("%s is refused at once", async (_title, line, refused) => {
    await start();
    expect(JSON.parse(await talk([line]))).toMatchObject({ refused });
  });

  test("more bytes than were announced are refused, and not run", async () => {
    await start();
    const said = await talk([head(), "12345\n"]);
    expect(JSON.parse(said.split("\n")[1] ?? "")).toMatchObject({ refused: "format" });
  });

  test("a client that says nothing keeps no other from being served, nor the agent from stopping", async () => {
    const agent = await start();
    const silent = Array.from({ length: 200 }, () => connect({ path: socketPath }));
    for (const socket of silent) socket.on("error", () => undefined);
    expect(await call("ADD")).toMatchObject({ reply: { exitCode: 0 } });
    expect(await call("DEL")).toMatchObject({ reply: { exitCode: 0 } });
    await agent.stop({ timeoutMs: 600_000 });
    for (const socket of silent) socket.destroy();
  });

  test("an ADD that was finished as its client died is taken back", async () => {
    const { deps } = node.boot();
    let leave: () => void = () => undefined;
    // The observer is told when the call is done, before the answer is on its way.
    const agent = await start({ ...deps, observer: { call: ({ command }) => command === "ADD" && leave() } });
    const stdin = JSON.stringify(network);
    const ended = new Promise<void>((resolve) => {
      const victim = connect({ path: socketPath });
      victim.write(head({ env, stdinBytes: stdin.length, deadlineMs: 60_000 }));
      victim.once("data", () => victim.write(`${stdin}\n`));
      victim.on("close", () => resolve());
      leave = () => victim.destroy();
    });
    await ended;
    await agent.stop({ timeoutMs: 5_000 });
    expect(node.stateFiles()).toEqual([]);
  });
});

describe("requests at once", () => {
  test("of different containers get different addresses", async () => {
    await start();
    const ids = Array.from({ length: 40 }, (_, index) => `p${index}`);
    for (const id of ids) node.kernel.addNamespace(`/run/netns/${id}`);
    const answers = await Promise.all(
      ids.map((id) => {
        const env = { CNI_CONTAINERID: id, CNI_IFNAME: "eth0", CNI_NETNS: `/run/netns/${id}` };
        return ask(request("ADD", { env }));
      }),
    );
    const addresses = answers.map((answer) => {
      const { ips } = JSON.parse(answer?.stdout ?? "") as { ips: { address: string }[] };
      return ips[0]?.address;
    });
    expect(new Set(addresses).size).toBe(40);
  });

  test("of the same attachment wait for one another", async () => {
    await start();
    const [added, deleted] = await Promise.all([ask(request("ADD")), ask(request("DEL"))]);
    expect([added?.exitCode, deleted?.exitCode]).toEqual([0, 0]);
    await ask(request("DEL"));
    expect(node.stateFiles()).toEqual([]);
  });
});

describe("the agent", () => {
  test("makes its socket's directory for root alone", async () => {
    await start();
    expect((await stat(join(directory, "run"))).mode & 0o777).toBe(0o700);
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
  });

  test("refuses to take the socket of one that runs", async () => {
    await start();
    await expect(start()).rejects.toMatchObject({ kind: "conflict" });
  });

  test("stops only when those that it told to go on have had their answer", async () => {
    const agent = await start();
    const socket = connect({ path: socketPath });
    const stdin = JSON.stringify(network);
    const head = JSON.parse(request("ADD")) as object;
    socket.write(`${JSON.stringify({ ...head, protocol: 2, stdin: undefined, stdinBytes: stdin.length })}\n`);
    let told = "";
    await new Promise<void>((resolve) => {
      socket.on("data", (chunk) => {
        told += chunk;
        resolve();
      });
    });
    expect(JSON.parse(told)).toMatchObject({ go: true });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const stopped = agent.stop({ timeoutMs: 60_000 });
    // The stop has begun by the time that its name is gone.
    await expect.poll(() => stat(socketPath).catch(() => undefined)).toBe(undefined);
    socket.write(`${stdin}\n`);
    await closed;
    await stopped;
    expect(told).toContain('"exitCode":0');
  });

  test("stops by finishing what runs, and its successor goes on with the same state", async () => {
    const agent = await start();
    const adding = ask(request("ADD"));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await agent.stop({ timeoutMs: 1_000 });
    expect(await adding).toMatchObject({ exitCode: 0 });
    await expect(ask(request("DEL"))).rejects.toMatchObject({ code: "ENOENT" });
    await start();
    expect(await ask(request("DEL"))).toMatchObject({ exitCode: 0 });
    expect(node.stateFiles()).toEqual([]);
  });

  test("removes the state of earlier boots at its start, and nothing else", async () => {
    const files = node.files();
    const old = "99999999-2222-4333-8444-555555555555";
    for (const path of ["", `/${old}`, `/${old}/pods`, `/${bootId}`, "/somebody"]) {
      await files.mkdir(`/run/trivet/cni${path}`, 0o700);
    }
    await files.create(`/run/trivet/cni/${old}/pods/lease`, Buffer.from("p {}"), 0o600);
    await start();
    const names = (await node.files().list("/run/trivet/cni")).map(({ name }) => name);
    expect(names.sort()).toEqual([bootId, "somebody"]);
  });
});
