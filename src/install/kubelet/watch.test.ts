/** Judging a kubelet before and after: each reason to refuse or to take back, on a host that says what it is told to. */
import { describe, expect, it } from "vitest";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { TrivetError } from "../../errors.ts";
import type { CriIdentity } from "../../host/cri-identity.ts";
import type { SocketEnds } from "../../host/process-sockets.ts";
import type { KubeletDeps } from "./deps.ts";
import type { NodeProcess } from "./facts.ts";
import { checkBefore } from "./preflight.ts";
import { watchKubelet } from "./watch.ts";

const proxy = "/run/trivet/cri.sock";
/** What the proxy has bound before it took its public name. */
const bound = "/run/trivet/.30.cri.sock";
const runtime = "/run/containerd/containerd.sock";
const healthUrl = "http://127.0.0.1:10248/healthz";
const kubelet: NodeProcess = { pid: 20, startTicks: 5n, argv: ["/usr/bin/kubelet"], service: undefined };
const proxyProcess: NodeProcess = {
  pid: 30,
  startTicks: 1n,
  argv: ["node", "/main.js", "cri"],
  service: undefined,
};
const identity: CriIdentity = {
  ...{ runtimeName: "containerd", runtimeVersion: "2.1.0", apiVersion: "v1" },
  ...{ conditions: { RuntimeReady: true, NetworkReady: false }, imageFileSystems: ["/var/lib/containerd"] },
};

/** Everything as it should be; each test breaks one thing. */
interface World {
  readonly processes: NodeProcess[];
  /** By pid. */
  readonly sockets: Readonly<Record<number, SocketEnds[]>>;
  readonly names: Record<string, string>;
  readonly health: () => number;
  readonly answers: Record<string, CriIdentity | undefined>;
}

function createWorld(): World {
  return {
    processes: [kubelet, proxyProcess],
    sockets: {
      20: [{ own: "", peer: bound }],
      30: [
        { own: bound, peer: "" },
        { own: "", peer: runtime },
      ],
    },
    names: { [proxy]: bound },
    health: () => 200,
    answers: { [proxy]: identity, [runtime]: identity },
  };
}

function depsOf(
  world: World,
): Pick<KubeletDeps, "askCri" | "sockets" | "listProcesses" | "getStatus" | "clock"> {
  const clock = createFakeClock();
  return {
    listProcesses: async () => world.processes,
    sockets: {
      of: async (pid) => world.sockets[pid] ?? [],
      nameAt: async (path) => world.names[path] ?? path,
    },
    getStatus: async () => world.health(),
    askCri: async (path) => {
      const answer = world.answers[path];
      if (answer) return { identity: answer, close: () => undefined };
      const message = `${path} does not answer Version: UNAVAILABLE`;
      throw new TrivetError({ kind: "unavailable", op: "cri.ask", subject: path, message });
    },
    clock: {
      ...clock,
      sleep: async (ms) => clock.advance(ms),
    },
  };
}

describe("before anything is changed,", () => {
  const check = (change: () => Partial<World>) => {
    return checkBefore(depsOf({ ...createWorld(), ...change() }), { proxy, runtime, healthUrl });
  };

  it("a proxy that leads to the kubelet's runtime will do", async () => {
    expect(await check(() => ({}))).toEqual(identity);
  });

  it.each<[string, () => Partial<World>, RegExp]>([
    ["a sick kubelet", () => ({ health: () => 500 }), /not healthy as it is: .* answers 500/],
    [
      "a runtime that is away",
      () => ({ answers: { [proxy]: identity } }),
      /containerd.sock does not answer.*has now/,
    ],
    [
      "a proxy that is away",
      () => ({ answers: { [runtime]: identity } }),
      /cri.sock does not answer.*trivet cri --listen/,
    ],
    [
      "another runtime's answers",
      () => ({ answers: { [runtime]: identity, [proxy]: { ...identity, runtimeVersion: "1.6.0" } } }),
      /runtimeVersion is "1.6.0" through it, and "2.1.0" without/,
    ],
    [
      "another runtime with the same answers",
      () => ({ sockets: { 30: [{ own: bound, peer: "/run/second.sock" }] } }),
      /leads to \/run\/second.sock, but the kubelet's runtime is at \/run\/containerd/,
    ],
    [
      "a proxy that calls itself",
      () => ({
        sockets: {
          30: [
            { own: bound, peer: "" },
            { own: "", peer: bound },
          ],
        },
      }),
      /which is itself/,
    ],
    ["one socket by two names", () => ({ names: { [proxy]: runtime } }), /are one socket/],
    ["a proxy whose process is not seen", () => ({ processes: [kubelet] }), /cannot be seen/],
  ])("%s is refused", async (_, change, says) => {
    await expect(check(change)).rejects.toMatchObject({
      kind: "precondition",
      message: expect.stringMatching(says),
    });
  });
});

describe("after the restart,", () => {
  const watch = (change: () => Partial<World>, more = {}) => {
    const world = { ...createWorld(), ...change() };
    const before = { pid: 20, startTicks: 4n };
    return watchKubelet(depsOf(world), {
      before,
      healthUrl,
      proxy,
      withinMs: 10_000,
      settleMs: 2_000,
      ...more,
    });
  };

  it("a new kubelet that is healthy and connected to the proxy is well", async () => {
    expect(await watch(() => ({}))).toEqual({ isWell: true, pid: 20 });
  });

  it("so is one on the generation of the proxy that is being replaced", async () => {
    const verdict = await watch(() => ({ names: { [proxy]: "/run/trivet/.31.cri.sock" } }));
    expect(verdict).toEqual({ isWell: true, pid: 20 });
  });

  it("without a proxy only the health counts", async () => {
    const verdict = await watch(() => ({ sockets: {} }), { proxy: undefined });
    expect(verdict).toEqual({ isWell: true, pid: 20 });
  });

  it.each<[string, () => Partial<World>, RegExp]>([
    [
      "that was not restarted",
      () => ({ processes: [{ ...kubelet, startTicks: 4n }] }),
      /20 was not restarted/,
    ],
    ["that is gone", () => ({ processes: [] }), /no kubelet runs here/],
    ["that is sick", () => ({ health: () => 500 }), /answers 500/],
    [
      "on the old socket",
      () => ({ sockets: { 20: [{ own: "", peer: runtime }] } }),
      /is healthy, but process 20 is not connected to \/run\/trivet\/cri.sock; it is to \/run\/containerd/,
    ],
    [
      "that comes and goes",
      () => {
        const answers = [200, 200, 200, 500];
        let asked = 0;
        return {
          health: () => {
            asked += 1;
            return answers[asked % answers.length] ?? 0;
          },
        };
      },
      /answers 500|only for the last/,
    ],
  ])("a kubelet %s is not well", async (_, change, says) => {
    expect(await watch(change)).toEqual({ isWell: false, reason: expect.stringMatching(says) });
  });
});
