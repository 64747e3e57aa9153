import { describe, expect, it } from "vitest";
import { idIn } from "./facts.ts";
import { giveCall } from "./given-call.ts";
import { readRequest } from "./testing/requests.ts";

const pod = { namespace: "shop", name: "web-0", labels: { app: "web" }, runtimeHandler: "kata" };

describe("a call that is given", () => {
  it("is made as the kubelet makes it, as far as policies look", () => {
    const { message } = giveCall({ method: "RunPodSandbox", pod });
    expect(readRequest("RunPodSandbox", message)).toMatchObject({
      runtime_handler: "kata",
      config: {
        metadata: { namespace: "shop", name: "web-0", uid: "uid-of-shop-web-0" },
        labels: new Map([
          ["app", "web"],
          ["io.kubernetes.pod.name", "web-0"],
          ["io.kubernetes.pod.namespace", "shop"],
          ["io.kubernetes.pod.uid", "uid-of-shop-web-0"],
        ]),
        annotations: new Map([["kubernetes.io/config.source", "api"]]),
      },
    });
  });

  it("has the image as an id and as the user wrote it, once a container is made", () => {
    const { message } = giveCall({ method: "CreateContainer", pod, container: "main", image: "nginx:1" });
    expect(readRequest("CreateContainer", message)).toMatchObject({
      pod_sandbox_id: "given-sandbox",
      config: { metadata: { name: "main" }, image: { user_specified_image: "nginx:1" } },
      sandbox_config: { metadata: { namespace: "shop" } },
    });
  });

  it("says who an id is", () => {
    const call = giveCall({ method: "Exec", pod: { ...pod, isStatic: true }, container: "main" });
    expect(idIn("Exec", call.message)).toEqual({ kind: "container", id: "given-container" });
    expect(call.container).toMatchObject({ name: "main", pod: { namespace: "shop", isStatic: true } });
  });

  it("takes what the request says before all else; null takes away", () => {
    const request = {
      config: {
        labels: { app: null, tier: "x" },
        metadata: { name: "other" },
        linux: { cgroup_parent: "/a" },
      },
      runtime_handler: null,
    };
    const made = readRequest("RunPodSandbox", giveCall({ method: "RunPodSandbox", pod, request }).message);
    expect(made).toMatchObject({ config: { metadata: { name: "other", namespace: "shop" } } });
    expect(made).not.toHaveProperty("runtime_handler");
    const { labels } = made.config as { labels: Map<string, string> };
    expect([...labels.keys()]).not.toContain("app");
    expect(labels.get("tier")).toBe("x");
  });

  it("of a method that only its name is known of has no request", () => {
    expect(giveCall({ method: "CheckpointPod" }).message).toHaveLength(0);
    expect(() => giveCall({ method: "CheckpointPod", request: {} })).toThrow(/leave the request out/);
  });

  it.each([
    [{ method: "Creatcontainer" }, /CRI has no method Creatcontainer, did you mean CreateContainer\?/],
    [{ method: "Exec", request: [] }, /must be a mapping/],
    [
      { method: "Exec", request: { containerid: "x" } },
      /ExecRequest has no field containerid, did you mean container_id\?/,
    ],
    [{ method: "Exec", request: { tty: "secret" } }, /^(?!.*secret).*Exec\.tty: must be true or false/],
  ])("%j is refused", (description, why) => {
    expect(() => giveCall(description)).toThrow(why);
  });
});
