/** The guard: idle beside an installer that is done, at work after one that was killed, and not patient with one that hangs. */
import { expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { createJournal } from "../journal.ts";
import { whileLocked } from "../lock.ts";
import { readMark } from "../marks.ts";
import type { NodeDeps } from "./deps.ts";
import type { NodeProcess } from "./facts.ts";
import { awaitGuard, standGuard } from "./guard.ts";
import { beginWiring, type Pending, settleWiring, type Wiring } from "./record.ts";

const file = "/etc/default/kubelet";
const wiring: Wiring = {
  ...{
    restart: "restart it",
    service: "kubelet.service",
    healthUrl: "http://127.0.0.1:10248/healthz",
    log: undefined,
  },
  ...{
    proxy: "/run/trivet/cri.sock",
    runtime: "/run/containerd/containerd.sock",
    withinMs: 5_000,
    settleMs: 0,
  },
};
const pending: Pending = { nonce: "one", pid: 7, startTicks: "70" };
const installer: NodeProcess = {
  pid: 7,
  startTicks: 70n,
  argv: ["trivet", "install", "kubelet"],
  service: undefined,
};

async function createNode() {
  const files = createFakeFiles({ directories: ["/etc/default", "/var/lib"] });
  await files.create(file, Buffer.from("before\n"), 0o640);
  const restarts: string[] = [];
  const clock = createFakeClock();
  const kubelet = (): NodeProcess => ({
    ...{ pid: 20, argv: ["/usr/bin/kubelet"], service: undefined },
    startTicks: BigInt(restarts.length),
  });
  const deps: NodeDeps = {
    ...{ files, stateDir: "/var/lib/trivet", tell: () => undefined },
    clock: { ...clock, sleep: async (ms) => clock.advance(ms) },
    exec: async ([, , command = ""]) => {
      restarts.push(command);
      return { exitCode: 0, stdout: "", stderr: "" };
    },
    listProcesses: async () => [kubelet(), installer],
    sockets: { of: async () => [], nameAt: async (path) => path },
    getStatus: async () => 200,
    askCri: () => Promise.reject(new Error("not asked by a guard")),
    startDetached: async () => undefined,
  };
  const journal = createJournal(deps);
  const write = () =>
    journal.replace({ path: file, content: Buffer.from("after\n"), mode: 0o640, owner: "kubelet" });
  const text = async () => (await files.read(file)).toString();
  return { deps, restarts, write, text };
}

const patient = { nonce: "one", deadlineMs: 60_000, kill: () => undefined };

test("an installer that is done leaves its guard nothing to do", async () => {
  const { deps, restarts, write, text } = await createNode();
  let guard: Promise<void> | undefined;
  await whileLocked(deps.files, deps.stateDir, async () => {
    guard = standGuard(deps, patient);
    await awaitGuard({ ...deps, clock: { ...deps.clock, sleep: () => new Promise(setImmediate) } }, "one");
    await beginWiring(deps, wiring, pending);
    await write();
    await settleWiring(deps);
  });
  await guard;
  expect([await text(), restarts]).toEqual(["after\n", []]);
  expect(await readMark(deps, "kubelet-guard")).toBeUndefined();
  expect(await readMark(deps, "kubelet-restart")).toBe("restart it");
});

test("what an installer left half done is taken back, and forgotten", async () => {
  const { deps, restarts, write, text } = await createNode();
  await beginWiring(deps, wiring, pending);
  await write();
  await standGuard(deps, patient);
  expect([await text(), restarts]).toEqual(["before\n", ["restart it"]]);
  expect(await deps.files.list("/var/lib/trivet/install")).toEqual([{ name: "lock", kind: "file" }]);
});

test("another installer's work is none of its business", async () => {
  const { deps, restarts, write, text } = await createNode();
  await beginWiring(deps, wiring, { ...pending, nonce: "two" });
  await write();
  await standGuard(deps, patient);
  expect([await text(), restarts]).toEqual(["after\n", []]);
});

test("an installer that hangs is ended, and taken back", async () => {
  const { deps, restarts, write, text } = await createNode();
  const killed: number[] = [];
  let end: () => void = () => undefined;
  const hangs = new Promise<void>((resolve) => {
    end = resolve;
  });
  const work = whileLocked(deps.files, deps.stateDir, async () => {
    await beginWiring(deps, wiring, pending);
    await write();
    await hangs;
  });
  const kill = (pid: number) => {
    killed.push(pid);
    end();
  };
  await Promise.all([work, standGuard(deps, { nonce: "one", deadlineMs: 30, kill })]);
  expect([killed, await text(), restarts]).toEqual([[7], "before\n", ["restart it"]]);
});
