import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { type AskRuntime, createPodIndex } from "./pod-index.ts";

const root = protobuf.loadSync(new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname);

function encode(message: string, value: object): Uint8Array {
  return root.lookupType(`runtime.v1.${message}`).encode(value).finish();
}

const config = {
  metadata: { name: "web", uid: "u1", namespace: "shop" },
  labels: { app: "web" },
  annotations: { note: "x" },
};
const run = encode("RunPodSandboxRequest", { config, runtimeHandler: "kata" });
const ran = (podSandboxId: string) => encode("RunPodSandboxResponse", { podSandboxId });
const create = encode("CreateContainerRequest", {
  podSandboxId: "s1",
  config: {
    metadata: { name: "main" },
    image: { image: "sha256:1", userSpecifiedImage: "web:1" },
    envs: [{ key: "PASSWORD", value: Buffer.from("hunter2") }],
  },
  sandboxConfig: config,
});
const created = encode("CreateContainerResponse", { containerId: "c1" });
const podList = (...ids: string[]) =>
  encode("ListPodSandboxResponse", { items: ids.map((id) => ({ id, ...config })) });
const containerList = (...ids: string[]) =>
  encode("ListContainersResponse", {
    containers: ids.map((id) => ({ id, podSandboxId: "s1", metadata: { name: "main" } })),
  });

describe("the index of pods", () => {
  it("learns a pod and its container from the calls that make them, and forgets them when they are removed", () => {
    const pods = createPodIndex();
    pods.learn("RunPodSandbox", run, ran("s1"));
    pods.learn("CreateContainer", create, created);
    expect(pods.container("c1")).toMatchObject({
      ...{ containerId: "c1", name: "main", image: "web:1" },
      pod: { sandboxId: "s1", namespace: "shop", name: "web", uid: "u1", runtimeHandler: "kata" },
    });
    expect(JSON.stringify(pods.container("c1"))).not.toContain("hunter2");
    pods.learn("RemoveContainer", encode("RemoveContainerRequest", { containerId: "c1" }), undefined);
    pods.learn("RemovePodSandbox", encode("RemovePodSandboxRequest", { podSandboxId: "s1" }), undefined);
    expect([pods.container("c1"), pods.sandbox("s1"), pods.size]).toEqual([undefined, undefined, 0]);
  });

  it("reads a list only while an id is unknown, and only so many for one that is in none", () => {
    const pods = createPodIndex();
    expect(pods.wants("ListContainers")).toEqual({ request: false, response: false });
    pods.container("c1");
    expect(pods.wants("ListContainers")).toEqual({ request: false, response: true });
    pods.learn("ListContainers", undefined, containerList("c1"));
    expect(pods.wants("ListContainers").response).toBe(false);
    // The container is known now, and its pod is not.
    expect(pods.container("c1")).toBeUndefined();
    expect(pods.wants("ListPodSandbox").response).toBe(true);
    pods.learn("ListPodSandbox", undefined, podList("s1"));
    expect(pods.container("c1")?.pod.name).toBe("web");

    pods.container("gone");
    for (let list = 0; list < 3; list += 1) {
      expect(pods.wants("ListContainers").response).toBe(true);
      pods.learn("ListContainers", undefined, containerList("c1"));
    }
    expect(pods.wants("ListContainers").response).toBe(false);
  });

  it("learns an unknown sandbox from its status", () => {
    const pods = createPodIndex();
    pods.sandbox("s7");
    expect(pods.wants("PodSandboxStatus").response).toBe(true);
    const status = encode("PodSandboxStatusResponse", { status: { id: "s7", ...config } });
    pods.learn("PodSandboxStatus", undefined, status);
    expect(pods.sandbox("s7")?.name).toBe("web");
  });

  it("takes nothing from what it cannot read, nor from a call that it does not know", () => {
    const pods = createPodIndex();
    pods.learn("RunPodSandbox", Buffer.from([0xff]), ran("s1"));
    pods.learn("ListPodSandbox", undefined, Buffer.from([0x0a, 0x7f]));
    pods.learn("Version", run, ran("s1"));
    expect(pods.size).toBe(0);
    expect(pods.wants("Version")).toEqual({ request: false, response: false });
  });

  it("forgets the least recently used beyond its bound", () => {
    const pods = createPodIndex({ maxEntries: 3 });
    for (const id of ["a", "b", "c"]) pods.learn("RunPodSandbox", run, ran(id));
    pods.sandbox("a");
    pods.learn("RunPodSandbox", run, ran("d"));
    expect(["a", "b", "c", "d"].map((id) => pods.sandbox(id) !== undefined)).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });

  it("waits for a bounded number of ids that somebody made up", () => {
    const pods = createPodIndex();
    for (let id = 0; id < 10_000; id += 1) pods.container(`made-up-${id}`);
    for (let list = 0; list < 3; list += 1) pods.learn("ListContainers", undefined, containerList());
    expect(pods.wants("ListContainers").response).toBe(false);
  });
});

describe("looking up an id", () => {
  const runtime =
    (asked: string[], answers: Record<string, Uint8Array>): AskRuntime =>
    (method, request) => {
      asked.push(
        `${method} ${Buffer.from(request)
          .toString("latin1")
          .replace(/[^\w-]/g, "")}`,
      );
      return Promise.resolve(answers[method] ?? new Uint8Array());
    };

  it("asks the runtime once for a container and once for its pod, however many ask, and never again", async () => {
    const asked: string[] = [];
    const answers = { ListContainers: containerList("c1"), ListPodSandbox: podList("s1") };
    const pods = createPodIndex({ ask: runtime(asked, answers) });
    const found = await Promise.all([1, 2, 3].map(() => pods.lookup("container", "c1")));
    expect(found.map((facts) => facts?.pod.namespace)).toEqual(["shop", "shop", "shop"]);
    await pods.lookup("container", "c1");
    await pods.lookup("sandbox", "s1");
    expect(asked).toEqual(["ListContainers c1", "ListPodSandbox s1"]);
  });

  it("finds a container by the beginning of its id, as runtimes do, if that is of one alone", async () => {
    const one = createPodIndex({
      ask: runtime([], { ListContainers: containerList("c123"), ListPodSandbox: podList("s1") }),
    });
    expect((await one.lookup("container", "c1"))?.containerId).toBe("c123");
    const two = createPodIndex({
      ask: runtime([], { ListContainers: containerList("c123", "c124"), ListPodSandbox: podList("s1") }),
    });
    expect(await two.lookup("container", "c1")).toBeUndefined();
  });

  it("says undefined for an id that the runtime does not know, and does not believe a list of others", async () => {
    const pods = createPodIndex({ ask: runtime([], { ListPodSandbox: podList("other") }) });
    expect(await pods.lookup("sandbox", "s1")).toBeUndefined();
    expect(await pods.lookup("container", "c1")).toBeUndefined();
    expect(await pods.lookup("sandbox", "")).toBeUndefined();
  });

  it("rejects where the runtime cannot be asked, and asks again the next time", async () => {
    let fails = true;
    const pods = createPodIndex({
      ask: () => (fails ? Promise.reject(new Error("away")) : Promise.resolve(podList("s1"))),
    });
    await expect(pods.lookup("sandbox", "s1")).rejects.toThrow("away");
    fails = false;
    expect((await pods.lookup("sandbox", "s1"))?.name).toBe("web");
  });

  it("refuses more than so many questions at once", async () => {
    const pods = createPodIndex({ ask: () => new Promise(() => undefined) });
    for (let id = 0; id < 512; id += 1) void pods.lookup("sandbox", `s${id}`);
    await expect(pods.lookup("sandbox", "one-too-many")).rejects.toMatchObject({ kind: "exhausted" });
  });
});
