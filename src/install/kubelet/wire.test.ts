/**
 * The installer is killed before and after every single effect on the disk, with the disk as it is then and as a power cut leaves it: what
 * comes after it makes the node whole, whatever it finds.
 */
import { expect, test } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createFakeFiles, type FakeFiles, type Survival } from "../../../test/fakes/files.ts";
import { createJournal } from "../journal.ts";
import type { NodeDeps } from "./deps.ts";
import type { Edit } from "./edits.ts";
import type { NodeProcess } from "./facts.ts";
import { readPending, type Wiring } from "./record.ts";
import { unwireKubelet, wireKubelet } from "./wire.ts";

const changed = "/etc/default/kubelet";
const added = "/etc/kubernetes/kubelet.conf.d/99-trivet.conf";
const edits: readonly Edit[] = [
  { path: changed, before: "before\n", after: "after\n" },
  { path: added, before: undefined, after: "new\n" },
];
const wiring: Wiring = {
  ...{
    restart: "restart it",
    service: "kubelet.service",
    healthUrl: "http://127.0.0.1:10248/healthz",
    log: "/none",
  },
  ...{
    proxy: "/run/trivet/cri.sock",
    runtime: "/run/containerd/containerd.sock",
    withinMs: 2_000,
    settleMs: 0,
  },
};

/** The kubelet: how often it was started, and what it has read then. */
interface Kubelet {
  starts: number;
  read: string;
}

async function createDisk(): Promise<FakeFiles> {
  const files = createFakeFiles({ directories: ["/etc/default", "/etc/kubernetes", "/var/lib"] });
  await files.create(changed, Buffer.from("before\n"), 0o640);
  files.settle();
  return files;
}

/** The directories that the lock is in stay until everything of Trivet is taken away. */
const withoutState = (files: FakeFiles) =>
  files.paths().filter((path) => !/\/var\/lib\/trivet(\/install)? /.test(path));
const textOf = (files: FakeFiles) => files.read(changed).then(String);

function depsOn(files: FakeFiles, kubelet: Kubelet): NodeDeps {
  const clock = createFakeClock();
  const running = (): NodeProcess => ({
    ...{ pid: 20, startTicks: BigInt(kubelet.starts), argv: ["/usr/bin/kubelet"], service: undefined },
  });
  return {
    ...{ files, stateDir: "/var/lib/trivet", tell: () => undefined },
    clock: { ...clock, sleep: async (ms) => clock.advance(ms) },
    exec: async () => {
      kubelet.read = await textOf(files);
      kubelet.starts += 1;
      return { exitCode: 0, stdout: "", stderr: "" };
    },
    listProcesses: async () => [running()],
    sockets: {
      of: async () => [{ own: "", peer: kubelet.read === "after\n" ? wiring.proxy : wiring.runtime }],
      nameAt: async (path) => path,
    },
    getStatus: async () => 200,
    askCri: () => Promise.reject(new Error("asked before, not here")),
    startDetached: async () => undefined,
  };
}

function wire(deps: NodeDeps): Promise<number> {
  const process: NodeProcess = { pid: 20, startTicks: 0n, argv: ["/usr/bin/kubelet"], service: undefined };
  const pending = { nonce: "one", pid: 7, startTicks: "70" };
  return wireKubelet(deps, { wiring, pending, edits, process, startGuard: async () => undefined });
}

/** Kills at effect number `at`, counted from 0, before or after it is done. True if there was one. */
async function wireUntil(
  files: FakeFiles,
  kubelet: Kubelet,
  { at, when }: { at: number; when: "before" | "after" },
) {
  let count = 0;
  let isKilled = false;
  files.onEffect = (_, __, phase) => {
    if (phase !== when) return;
    count += 1;
    if (count - 1 !== at) return;
    isKilled = true;
    files.halt();
    if (when === "before") throw new Error("killed");
  };
  const done = wire(depsOn(files, kubelet));
  await done.catch(() => undefined);
  return isKilled;
}

test("wired and taken back again, every path is as it was", async () => {
  const files = await createDisk();
  const before = files.paths();
  const kubelet: Kubelet = { starts: 0, read: "before\n" };
  const deps = depsOn(files, kubelet);
  expect(await wire(deps)).toBe(20);
  expect([await textOf(files), kubelet.read, await readPending(deps)]).toEqual([
    "after\n",
    "after\n",
    undefined,
  ]);
  const { restored, kept, verdict } = await unwireKubelet(deps);
  expect(restored.map(({ outcome }) => outcome)).toEqual(["removed", "restored"]);
  expect([kept, verdict.isWell, kubelet.read]).toEqual([[], true, "before\n"]);
  expect(withoutState(files)).toEqual(before);
});

test("a file that somebody changed since is kept, and is asked for", async () => {
  const files = await createDisk();
  const deps = depsOn(files, { starts: 0, read: "before\n" });
  await wire(deps);
  const { mode } = await files.stat(changed);
  await files.unlink(changed);
  await files.create(changed, Buffer.from("another's\n"), mode);
  expect((await unwireKubelet(deps)).kept).toEqual([changed]);
  expect(await textOf(files)).toBe("another's\n");
  expect((await unwireKubelet(deps, { force: true })).kept).toEqual([]);
  expect(await textOf(files)).toBe("before\n");
});

test("a file that was changed between the look and the work is not touched", async () => {
  const files = await createDisk();
  const kubelet: Kubelet = { starts: 0, read: "before\n" };
  await files.unlink(changed);
  await files.create(changed, Buffer.from("quick\n"), 0o640);
  await expect(wire(depsOn(files, kubelet))).rejects.toThrow(/was changed by somebody else just now/);
  expect([await textOf(files), await createJournal(depsOn(files, kubelet)).entries()]).toEqual([
    "quick\n",
    [],
  ]);
});

test("a file behind a link is changed where it is, with its own mode, and the link stays", async () => {
  const files = await createDisk();
  await files.rename(changed, "/etc/kubernetes/real");
  await files.symlink("../kubernetes/real", changed);
  const before = files.paths();
  const deps = depsOn(files, { starts: 0, read: "before\n" });
  await wire(deps);
  expect(await files.readLink(changed)).toBe("../kubernetes/real");
  expect((await files.stat("/etc/kubernetes/real")).mode).toBe(0o640);
  expect(await textOf(files)).toBe("after\n");
  await unwireKubelet(deps);
  expect(withoutState(files)).toEqual(before);
});

test("a file that is not UTF-8 is not touched, nor is the kubelet", async () => {
  const files = await createDisk();
  const bytes = Buffer.concat([Buffer.from("# caf"), Buffer.from([0xe9]), Buffer.from("\n")]);
  await files.unlink(changed);
  await files.create(changed, bytes, 0o640);
  const kubelet: Kubelet = { starts: 0, read: "before\n" };
  const process: NodeProcess = { pid: 20, startTicks: 0n, argv: ["/usr/bin/kubelet"], service: undefined };
  const work = {
    ...{ wiring, process, edits: [{ path: changed, before: bytes.toString("utf8"), after: "after\n" }] },
    ...{ pending: { nonce: "one", pid: 7, startTicks: "70" }, startGuard: async () => undefined },
  };
  await expect(wireKubelet(depsOn(files, kubelet), work)).rejects.toThrow(/is not UTF-8/);
  expect([await files.read(changed), kubelet.starts]).toEqual([bytes, 0]);
});

const survivals: readonly [string, Survival][] = [
  ["killed", "everything"],
  ["in a power cut", "synced"],
];
const sweep = survivals.flatMap(([name, survival]) =>
  (["before", "after"] as const).map((when) => ({ name, survival, when })),
);

test.each(sweep)("$name $when each effect: the next one makes it whole", async ({ survival, when }) => {
  let at = 0;
  for (; ; at += 1) {
    const files = await createDisk();
    const paths = files.paths();
    const kubelet: Kubelet = { starts: 0, read: "before\n" };
    if (!(await wireUntil(files, kubelet, { at, when }))) break;
    const next = files.crash(survival);
    // After a power cut the kubelet starts with what the disk says.
    if (survival === "synced") kubelet.read = await textOf(next);
    const deps = depsOn(next, kubelet);
    const isPending = (await readPending(deps)) !== undefined;
    if (isPending) await unwireKubelet(deps);
    const text = await textOf(next);
    expect([at, kubelet.read]).toEqual([at, text]);
    if (text === "after\n") expect([at, (await next.read(added)).toString()]).toEqual([at, "new\n"]);
    else expect([at, next.paths().filter((path) => !path.includes("/var/lib/trivet"))]).toEqual([at, paths]);
    // Whatever it was, taking it back leaves nothing at all.
    await unwireKubelet(deps);
    expect([at, await textOf(next)]).toEqual([at, "before\n"]);
    expect([at, withoutState(next)]).toEqual([at, paths]);
  }
  expect(at).toBeGreaterThan(50);
});
