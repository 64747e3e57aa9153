import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { handOverVariable, type SuccessorProcess, takePredecessor } from "./reload-predecessor.ts";
import { successorArgv, successorEnv } from "./reload-successor.ts";

const started = {
  execPath: "/opt/trivet/1.0.0/bin/node",
  execArgv: ["--max-semi-space-size=1"],
  argv: [
    "/opt/trivet/1.0.0/bin/node",
    "/opt/trivet/1.0.0/main.js",
    "cri",
    "--take-over",
    "--config",
    "/etc/c.yaml",
  ],
};

describe("a successor", () => {
  it("is started by the name that the start script was called by, which may lead to another version", () => {
    const env = { TRIVET_PROGRAM: "/opt/trivet/current/bin/trivet" };
    expect(successorArgv({ ...started, env })).toEqual([
      "/opt/trivet/current/bin/trivet",
      "cri",
      ...["--config", "/etc/c.yaml"],
    ]);
  });

  it("is the same program where no start script says otherwise", () => {
    expect(successorArgv({ ...started, env: {} })).toEqual([
      ...[started.execPath, "--max-semi-space-size=1", "/opt/trivet/1.0.0/main.js"],
      ...["cri", "--config", "/etc/c.yaml"],
    ]);
  });

  it("finds the sockets in its environment, with their names", () => {
    const env = {
      LISTEN_PID: "1",
      LISTEN_FDS: "9",
      NODE_COMPILE_CACHE: "/opt/trivet/1.0.0/c",
      HOME: "/root",
    };
    const listeners = [
      { name: "cri", path: "/run/trivet/cri.sock", owner: "systemd", fd: 3 },
      { name: "agents", path: "/run/a.sock", owner: "trivet", fd: 22 },
    ] as const;
    expect(successorEnv({ env, listeners })).toEqual({
      HOME: "/root",
      LISTEN_PID: undefined,
      NODE_COMPILE_CACHE: undefined,
      LISTEN_FDS: "2",
      LISTEN_FDNAMES: "cri:agents",
      [handOverVariable]: JSON.stringify({
        sockets: listeners.map(({ name, path, owner }) => ({ name, path, owner })),
      }),
    });
  });
});

/** The process of a successor, with what it says to the one that serves. */
function successor(text: string | undefined, connected = true) {
  const said: unknown[] = [];
  const events = new EventEmitter();
  const self = Object.assign(events, {
    pid: 7,
    env: { [handOverVariable]: text } as NodeJS.ProcessEnv,
    connected,
    send(message: unknown, _handle: unknown, _options: unknown, sent?: () => void) {
      said.push(message);
      sent?.();
      return true;
    },
    disconnect() {
      self.connected = false;
      events.emit("disconnect");
    },
  });
  return { self, said, process: self as unknown as SuccessorProcess };
}

const sockets = [{ name: "cri", path: "/run/trivet/cri.sock", owner: "trivet" }] as const;
const text = JSON.stringify({ sockets, unknown: "of a newer version" });

describe("the process that serves, seen from its successor,", () => {
  it("is none for a process that was started by anybody else", () => {
    expect(takePredecessor(successor(undefined).process)).toBeUndefined();
    const { process: self } = successor(text);
    Reflect.deleteProperty(self, "send");
    expect(takePredecessor(self)).toBeUndefined();
  });

  it("hands the sockets over, and children do not hear of it", () => {
    const { process: self } = successor(text);
    expect(takePredecessor(self)?.sockets).toEqual(sockets);
    expect(self.env).not.toHaveProperty(handOverVariable);
  });

  it("says when it is time, and is a stranger once the successor serves", async () => {
    const { self, said, process: own } = successor(text);
    const predecessor = takePredecessor(own);
    predecessor?.prepared({ version: "2", kept: ["cri"] });
    self.emit("message", { type: "something new" });
    self.emit("message", { type: "take-over" });
    expect(await predecessor?.turn()).toBe("told");
    predecessor?.serving();
    expect(said).toEqual([{ type: "prepared", pid: 7, version: "2", kept: ["cri"] }, { type: "serving" }]);
    expect(self.connected).toBe(false);
  });

  it("may be gone: then it is the successor's turn", async () => {
    const { self, said, process: own } = successor(text);
    const predecessor = takePredecessor(own);
    self.connected = false;
    self.emit("disconnect");
    expect(await predecessor?.turn()).toBe("gone");
    predecessor?.serving();
    predecessor?.failed(new Error("x"));
    expect(said).toEqual([]);
    expect(await takePredecessor(successor(text, false).process)?.turn()).toBe("gone");
  });

  it("hears why its successor will not come", () => {
    const { self, said, process: own } = successor(text);
    takePredecessor(own)?.failed(new Error("the policies cannot be read"));
    expect(said).toEqual([{ type: "failed", message: "the policies cannot be read" }]);
    expect(self.connected).toBe(false);
  });
});
