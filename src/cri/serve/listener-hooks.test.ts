import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CallObserver, CallPlan, EditDecision, StreamStart, TapHooks } from "../tap/hooks.ts";
import { bytesField } from "../wire/encode.ts";
import { hasVerbose, withoutVerbose } from "./clear-verbose.ts";
import { restrictListeners } from "./listener-hooks.ts";
import { allowedPaths } from "./methods.ts";

const runtime = (method: string) => `/runtime.v1.RuntimeService/${method}`;
const rules = [{ name: "agents", paths: allowedPaths(["read-only"]) }];

function start(path: string, listener?: string): StreamStart {
  return { streamId: 1, path, connectionId: 1, listener };
}

/** Hooks that note what they see, and plan as told. */
function inner(plan: Partial<CallPlan> = {}) {
  const seen: Uint8Array[] = [];
  let decide: (message: Uint8Array) => EditDecision | Promise<EditDecision> = () => ({ action: "forward" });
  const ended: unknown[] = [];
  const call: CallObserver = {
    edit(message) {
      seen.push(message);
      return decide(message);
    },
    onResponse: (message) => void seen.push(message),
    onEnd: (end) => void ended.push(end),
  };
  const hooks: TapHooks = { onRequest: () => ({ hold: false, call, ...plan }) };
  return {
    hooks,
    call,
    seen,
    ended,
    decideBy(next: typeof decide) {
      decide = next;
    },
  };
}

const verbose = Buffer.from([0x10, 0x01]);
const podStatus = bytesField(1, "sandbox");

describe("a restricted listener", () => {
  it("leaves the main socket alone", () => {
    const { hooks, call } = inner();
    const plan = restrictListeners(hooks, rules).onRequest(start(runtime("RunPodSandbox")));
    expect(plan).toEqual({ hold: false, call });
    expect(restrictListeners(hooks, [])).toBe(hooks);
  });

  it.each([
    ["a method outside of its list", runtime("RunPodSandbox")],
    ["a method that nobody knows", runtime("NewThing")],
    ["an allowed name of another service", "/runtime.v1.ImageService/ListContainers"],
    ["an older version of the API", "/runtime.v1alpha2.RuntimeService/Version"],
    ["a path that is none", ""],
  ])("denies %s at the headers, and still lets the record see the call", (_, path) => {
    const { hooks, call } = inner({ hold: true });
    expect(restrictListeners(hooks, rules).onRequest(start(path, "agents"))).toEqual({
      hold: false,
      call,
      deny: {
        status: 7,
        message: `${path} is not among the methods of the listener "agents" of trivet cri`,
      },
    });
  });

  it("says no more of a path that somebody made long than names have", () => {
    const path = `/${"x".repeat(1 << 20)}`;
    const { deny } = restrictListeners(inner().hooks, rules).onRequest(start(path, "agents"));
    expect(deny?.message.length).toBeLessThan(700);
  });

  it("denies everything to a connection whose listener has no rule", () => {
    const plan = restrictListeners(inner().hooks, rules).onRequest(start(runtime("Version"), "gone"));
    expect(plan.deny?.status).toBe(7);
  });

  it("passes what is allowed as it was planned", () => {
    const { hooks, call } = inner({ hold: true, observeResponse: true });
    const plan = restrictListeners(hooks, rules).onRequest(start(runtime("ListContainers"), "agents"));
    expect(plan).toEqual({ hold: true, call, observeResponse: true });
  });

  it.each(["Status", "PodSandboxStatus", "ContainerStatus"])("holds %s to take verbose out", (method) => {
    const { hooks, call, seen, ended } = inner({ hold: false, observeResponse: true });
    const plan = restrictListeners(hooks, rules).onRequest(start(runtime(method), "agents"));
    expect(plan).toMatchObject({ hold: true, observeResponse: true });
    const tag = method === "Status" ? 0x08 : 0x10;
    expect(plan.call?.edit?.(Buffer.from([tag, 1]))).toEqual({ action: "replace", message: Buffer.alloc(0) });
    // The observer did not ask for the message, and is told all the rest.
    expect(seen).toEqual([]);
    plan.call?.onResponse?.(podStatus);
    expect(seen).toEqual([podStatus]);
    plan.call?.onEnd({} as never);
    expect(ended).toHaveLength(1);
    expect(call).not.toBe(plan.call);
  });

  it("takes verbose out of what a policy made of the message, at once or later", async () => {
    for (const later of [false, true]) {
      const { hooks, decideBy, seen } = inner({ hold: true });
      const changed = Buffer.concat([podStatus, verbose, bytesField(9, "added")]);
      const decision = { action: "replace", message: changed } as const;
      decideBy(() => (later ? Promise.resolve(decision) : decision));
      const plan = restrictListeners(hooks, rules).onRequest(start(runtime("PodSandboxStatus"), "agents"));
      const message = Buffer.concat([podStatus, verbose]);
      expect(await plan.call?.edit?.(message)).toEqual({
        action: "replace",
        message: Buffer.concat([podStatus, bytesField(9, "added")]),
      });
      expect(seen).toEqual([message]);
    }
  });

  it("leaves a denial of a policy, and a plan that denies", () => {
    const { hooks, decideBy } = inner({ hold: true });
    decideBy(() => ({ action: "deny", status: 7, message: "no" }));
    const plan = restrictListeners(hooks, rules).onRequest(start(runtime("ContainerStatus"), "agents"));
    expect(plan.call?.edit?.(verbose)).toEqual({ action: "deny", status: 7, message: "no" });
    const deny = { status: 7, message: "at the headers" };
    const denied = restrictListeners(inner({ deny }).hooks, rules);
    expect(denied.onRequest(start(runtime("ContainerStatus"), "agents"))).toMatchObject({
      hold: false,
      deny,
    });
  });

  it("denies a request that it cannot read: the runtime might be able to", () => {
    const plan = restrictListeners(inner().hooks, rules).onRequest(start(runtime("Status"), "agents"));
    expect(plan.call?.edit?.(Buffer.from([0x0a, 0x7f]))).toMatchObject({
      action: "deny",
      status: 3,
      message: expect.stringContaining("the request cannot be read"),
    });
  });
});

describe("withoutVerbose", () => {
  it.each(["v1alpha2", "v1"])("knows the methods of %s, which a list may name by their paths", (version) => {
    const path = `/runtime.${version}.RuntimeService/ContainerStatus`;
    expect(hasVerbose(path)).toBe(true);
    expect(withoutVerbose(path, Buffer.concat([podStatus, verbose]))).toEqual(podStatus);
    expect(hasVerbose(`/runtime.${version}.RuntimeService/ImageStatus`)).toBe(false);
    expect(hasVerbose(`/runtime.${version}.ImageService/ImageStatus`)).toBe(true);
  });

  it("forwards a message that is not verbose, and one of a method that cannot be", () => {
    expect(withoutVerbose(runtime("ContainerStatus"), podStatus)).toBeUndefined();
    expect(withoutVerbose(runtime("Version"), verbose)).toBeUndefined();
  });

  it("takes every occurrence out, in any wire form, and keeps all else byte for byte", () => {
    const field = fc.oneof(
      fc.constant(Buffer.from([0x10, 0x01])),
      fc.constant(Buffer.from([0x10, 0x81, 0x80, 0x00])), // a long form of 1
      fc.constant(bytesField(2, "what a packed list would look like")),
      fc.integer({ min: 3, max: 2_000 }).map((number) => bytesField(number, "unknown")),
      fc.constant(podStatus),
    );
    fc.assert(
      fc.property(fc.array(field, { maxLength: 12 }), (fields) => {
        const kept = fields.filter((bytes) => (bytes[0] ?? 0) >> 3 !== 2 || (bytes[0] ?? 0) >= 0x80);
        const cleared = withoutVerbose(runtime("PodSandboxStatus"), Buffer.concat(fields));
        const expected = kept.length === fields.length ? undefined : Buffer.concat(kept);
        expect(cleared).toEqual(expected);
      }),
    );
  });
});
