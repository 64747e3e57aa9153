/** The example policies on a real containerd, one by one, by what containers and callers see of them. */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type FakeRegistry, startRegistry } from "./support/fake-registry.ts";
import { makeBusyboxImage } from "./support/oci-archive.ts";
import {
  createPolicyWorld,
  type PolicyWorld,
  type RunningContainer,
  readExample,
} from "./support/policy-world.ts";

const PERMISSION_DENIED = 7;
const NET_RAW = 13;

let world: PolicyWorld;
let registry: FakeRegistry;
const shown = new Set<string>();

/** Puts one example in force, with what must be another on this machine. */
async function useExample(name: string, replaced: Readonly<Record<string, string>> = {}): Promise<void> {
  let text = await readExample(name);
  for (const [from, to] of Object.entries(replaced)) {
    expect(text, name).toContain(from);
    text = text.replaceAll(from, to);
  }
  await world.use({ [`${name}.yaml`]: text });
  shown.add(name);
}

function refusal(message: string) {
  return { code: PERMISSION_DENIED, details: expect.stringContaining(message) };
}

/** The bit of a capability in the bounding set of the container's process. */
async function mayHave(container: RunningContainer, capability: number): Promise<boolean> {
  const status = await container.exec("cat", "/proc/1/status");
  const [, bounding = "0"] = /^CapBnd:\s*(\w+)$/m.exec(status) ?? [];
  return ((BigInt(`0x${bounding}`) >> BigInt(capability)) & 1n) === 1n;
}

async function environmentOf(container: RunningContainer): Promise<string[]> {
  return (await container.exec("cat", "/proc/1/environ")).split("\0");
}

beforeAll(async () => {
  world = await createPolicyWorld();
  const archive = join(world.paths.root, "image.tar");
  await makeBusyboxImage(archive);
  registry = await startRegistry(archive, {
    directory: join(world.paths.root, "registry"),
    repositories: ["hub/library/tool"],
  });
});
afterAll(async () => {
  await registry?.close();
  await world?.stop();
});
afterEach(async () => {
  const { items } = await world.cri.call("ListPodSandbox");
  for (const { id } of items) {
    await world.cri.call("StopPodSandbox", { pod_sandbox_id: id });
    await world.cri.call("RemovePodSandbox", { pod_sandbox_id: id });
  }
});

describe("the example", () => {
  it("proxy-environment is seen by the process, but for what it set itself", async () => {
    await useExample("proxy-environment");
    const env = await environmentOf(
      await world.start({ namespace: "web", env: { HTTPS_PROXY: "http://own:1" } }),
    );
    expect(env).toContain("HTTP_PROXY=http://proxy.example.org:3128");
    expect(env).toContain("no_proxy=localhost,127.0.0.1,10.0.0.0/8,.svc,.cluster.local");
    expect(env.filter((line) => line.startsWith("HTTPS_PROXY="))).toEqual(["HTTPS_PROXY=http://own:1"]);
    const other = await environmentOf(await world.start({ namespace: "shop" }));
    expect(other.join(" ")).not.toMatch(/proxy/i);
  });

  it("drop-net-raw takes the capability from the process, asked for or not, outside of one namespace", async () => {
    await useExample("drop-net-raw");
    const asking = { capabilities: { add_capabilities: ["NET_RAW", "NET_ADMIN"] } };
    const without = await world.start({ namespace: "web", security: asking });
    expect(await mayHave(without, NET_RAW)).toBe(false);
    expect(await mayHave(without, 12)).toBe(true); // NET_ADMIN
    expect(await mayHave(await world.start({ namespace: "network-tools" }), NET_RAW)).toBe(true);
  });

  it("no-privileged refuses the container where storage may have it", async () => {
    await useExample("no-privileged");
    const privileged = { privileged: true };
    await expect(world.start({ namespace: "web", security: privileged })).rejects.toMatchObject(
      refusal("denied by policy no-privileged: the container main is privileged"),
    );
    const { containers } = await world.cri.call("ListContainers");
    expect(containers).toEqual([]);
  });

  it("no-exec refuses the ways in, and lets probes and other pods be", async () => {
    await useExample("no-exec");
    const inside = await world.start({ namespace: "payments" });
    const container_id = inside.containerId;
    const ways: [string, object][] = [
      ["Exec", { container_id, cmd: ["sh"], stdout: true }],
      ["Attach", { container_id, stdout: true }],
      ["PortForward", { pod_sandbox_id: inside.sandboxId, port: [80] }],
    ];
    for (const [method, request] of ways) {
      await expect(world.cri.call(method, request), method).rejects.toMatchObject(
        refusal("denied by policy no-exec: nobody enters the pods of payments; use its logs and metrics"),
      );
    }
    expect(await inside.exec("echo", "probe")).toBe("probe\n");
    const other = await world.start({ namespace: "web" });
    const { url } = await world.cri.call("Exec", {
      container_id: other.containerId,
      cmd: ["sh"],
      stdout: true,
    });
    expect(url).toMatch(/^http/);
  });

  it("memory-limits is what the kernel holds the container to, at its start and when it is resized", async () => {
    await useExample("memory-limits");
    const read = async (container: RunningContainer) => {
      const files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
      return Number(
        await container.exec("sh", "-c", files.map((file) => `cat ${file} 2>/dev/null`).join(" || ")),
      );
    };
    const bare = await world.start({ namespace: "web" });
    expect(await read(bare)).toBe(512 * 2 ** 20);
    const own = await world.start({
      namespace: "web",
      resources: { memory_limit_in_bytes: String(2 ** 30) },
    });
    expect(await read(own)).toBe(2 ** 30);
    const update = { container_id: own.containerId, linux: { memory_limit_in_bytes: String(2 ** 36) } };
    await world.cri.call("UpdateContainerResources", update);
    expect(await read(own)).toBe(2 ** 32);
  });

  it("node-ca is a file that the container can read and not write, and variables that name it", async () => {
    const bundle = join(world.paths.root, "ca.pem");
    await writeFile(bundle, "the certificates of the node\n");
    await useExample("node-ca", { "host_path: /etc/ssl/certs/ca-certificates.crt": `host_path: ${bundle}` });
    const container = await world.start({ namespace: "web" });
    const path = "/etc/node-certificates/ca-bundle.pem";
    expect(await container.exec("cat", path)).toBe("the certificates of the node\n");
    await expect(container.exec("sh", "-c", `echo x >> ${path}`)).rejects.toThrow(/Read-only file system/);
    expect(await environmentOf(container)).toEqual(
      expect.arrayContaining([`SSL_CERT_FILE=${path}`, `NODE_EXTRA_CA_CERTS=${path}`]),
    );
    const labels = { "example.org/own-certificates": "" };
    const without = await world.start({ namespace: "web", labels });
    await expect(without.exec("cat", path)).rejects.toThrow(/No such file/);
  });

  it("runtime-handler gives pods of one namespace the handler that nobody asked for", async () => {
    await useExample("runtime-handler");
    // The runtime has no such handler: that it was asked for it is seen by what it says.
    await expect(world.start({ namespace: "untrusted" })).rejects.toThrow(
      /no runtime for "kata" is configured/,
    );
    await useExample("runtime-handler", { "value: kata": "value: runc" });
    const handlerOf = async (namespace: string) => {
      const { sandboxId } = await world.start({ namespace });
      const status = await world.cri.call("PodSandboxStatus", { pod_sandbox_id: sandboxId });
      return status.status;
    };
    expect(await handlerOf("untrusted")).toMatchObject({ runtime_handler: "runc" });
    expect(await handlerOf("web")).toMatchObject({ runtime_handler: "" });
  });

  it("no-host-paths refuses files of the node, and lets those of the kubelet be", async () => {
    const pods = join(world.paths.kubelet, "pods");
    await useExample("no-host-paths", { "/var/lib/kubelet/pods/": `${pods}/` });
    const mount = (host_path: string) => [{ container_path: "/x", host_path, readonly: true }];
    await expect(world.start({ namespace: "web", mounts: mount("/etc") })).rejects.toMatchObject(
      refusal("the container main must not mount /etc of the node"),
    );
    const allowed = await world.start({ namespace: "web", mounts: mount(join(pods, "uid/volumes/x")) });
    expect(await allowed.exec("ls", "/x")).toBe("");
    const agent = await world.start({ namespace: "monitoring", mounts: mount("/etc") });
    expect(await agent.exec("ls", "/x")).toContain("hostname");
  });

  it("require-digests refuses a tag in production", async () => {
    await useExample("require-digests");
    await expect(world.start({ namespace: "production" })).rejects.toMatchObject(
      refusal(`the image ${world.containerd.image} must be named by its digest, as in NAME@sha256:...`),
    );
    const image = `${world.containerd.image}@sha256:${"a1".repeat(32)}`;
    const imageId = world.containerd.image;
    expect(await (await world.start({ namespace: "production", image, imageId })).exec("true")).toBe("");
  });

  it("no-host-network refuses the sandbox", async () => {
    await useExample("no-host-network");
    await expect(world.start({ namespace: "web" })).rejects.toMatchObject(
      refusal("the pod must not use the network of the node"),
    );
    expect(await (await world.start({ namespace: "ingress" })).exec("true")).toBe("");
  });

  it("default-seccomp filters the process", async () => {
    await useExample("default-seccomp");
    const mode = async (security: object) => {
      const container = await world.start({ namespace: "web", security });
      return /^Seccomp:\s*(\d)$/m.exec(await container.exec("cat", "/proc/1/status"))?.[1];
    };
    const unconfined = { profile_type: "Unconfined" };
    expect(await mode({ seccomp: unconfined })).toBe("2");
    await world.use({});
    expect(await mode({ seccomp: unconfined })).toBe("0");
  });

  it("tell-what-is-missing tells, and changes nothing", async () => {
    await useExample("tell-what-is-missing");
    const container = await world.start({ namespace: "web", name: "told-0" });
    expect(await container.exec("true")).toBe("");
    const told = async () =>
      (await world.records()).filter(({ method, pod }) => method === "CreateContainer" && pod === "told-0");
    await expect.poll(told, { timeout: 5_000 }).not.toEqual([]);
    const [record] = await told();
    expect(record).toMatchObject({ status: "OK" });
    expect(record?.policies?.map(({ action, message }) => `${action}: ${message}`)).toEqual([
      "warned: has no memory limit",
      "warned: has no CPU limit",
      "warned: can write to its image",
      "warned: runs as root, or as whom its image says",
    ]);
  });

  it("registry-mirror gives an image one name from its pull to its removal", async () => {
    await useExample("registry-mirror", { "registry.example.org/hub": `${registry.host}/hub` });
    const image = { image: "tool:1" };
    const { cri } = world;
    expect((await cri.call("ImageStatus", { image })).image).toBeNull();
    const auth = { username: "hub-user", password: "hub-password" };
    registry.locked = true;
    await expect(cri.call("PullImage", { image, auth })).rejects.toThrow(/401|authorization/i);
    expect(registry.credentials, "credentials for Docker Hub are shown to nobody else").toEqual([]);
    registry.locked = false;
    const { image_ref } = await cri.call("PullImage", { image, auth });
    expect(registry.asked).toContain("HEAD /v2/hub/library/tool/manifests/1");
    const { image: found } = await cri.call("ImageStatus", { image });
    expect(found).toMatchObject({ id: image_ref, repo_tags: [`${registry.host}/hub/library/tool:1`] });
    // What kubelets and people write for the same image means the same.
    for (const name of [
      "docker.io/library/tool:1",
      "index.docker.io/tool:1",
      `${registry.host}/hub/library/tool:1`,
    ]) {
      expect((await cri.call("ImageStatus", { image: { image: name } })).image?.id, name).toBe(image_ref);
    }
    const container = await world.start({ namespace: "web", image: "tool:1", imageId: image_ref });
    expect(await container.exec("echo", "from the mirror")).toBe("from the mirror\n");
    await cri.call("StopPodSandbox", { pod_sandbox_id: container.sandboxId });
    await cri.call("RemovePodSandbox", { pod_sandbox_id: container.sandboxId });
    await cri.call("RemoveImage", { image });
    expect((await cri.call("ImageStatus", { image })).image).toBeNull();
  });
});

describe("the examples", () => {
  it("were all looked at here", async () => {
    const directory = fileURLToPath(new URL("../../daemonset/policies", import.meta.url));
    const names = (await readdir(directory)).filter((name) => !name.includes(".test."));
    expect([...shown].map((name) => `${name}.yaml`).sort()).toEqual(names.sort());
  });
});
