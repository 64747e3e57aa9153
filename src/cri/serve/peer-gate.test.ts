import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { type Log, type LogFields, silentLog } from "../../observe/log.ts";
import { createPeerGate } from "./peer-gate.ts";

const socket = {} as Socket;

function gate(uids: readonly number[]) {
  const lines: (LogFields | undefined)[] = [];
  let now = 0;
  let peer: number | Error = 0;
  const log: Log = { ...silentLog, warn: (_, fields) => void lines.push(fields) };
  const mayStay = createPeerGate({
    listener: "agents",
    uids,
    peerOf: () => {
      if (peer instanceof Error) throw peer;
      return { uid: peer, pid: 42 };
    },
    log,
    nowMs: () => now,
  });
  return {
    lines,
    connect(by: number | Error, atMs = now) {
      now = atMs;
      peer = by;
      return mayStay(socket);
    },
  };
}

describe("a gate for users", () => {
  it("lets the named users through, and nobody else: not even root", () => {
    const { connect, lines } = gate([1000, 1001]);
    expect([1000, 1001, 0, 1002].map((uid) => connect(uid))).toEqual([true, true, false, false]);
    expect(lines).toEqual([
      { listener: "agents", user: "0", connections: 1, pid: 42 },
      { listener: "agents", user: "1002", connections: 1, pid: 42 },
    ]);
  });

  it("refuses who cannot be told", () => {
    const { connect, lines } = gate([0]);
    expect(connect(new Error("the socket is closed"))).toBe(false);
    expect(lines).toMatchObject([{ user: "unknown", reason: "the socket is closed" }]);
  });

  it("says once a minute how often a user tried", () => {
    const { connect, lines } = gate([1]);
    for (let attempt = 0; attempt < 1000; attempt += 1) connect(2, 10);
    connect(2, 60_009);
    expect(lines).toHaveLength(1);
    connect(2, 60_011);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatchObject({ user: "2", connections: 1001 });
  });

  it("keeps little of many users", () => {
    const { connect, lines } = gate([1]);
    for (let uid = 2; uid < 1_002; uid += 1) connect(uid);
    expect(lines).toHaveLength(1_000);
  });
});
