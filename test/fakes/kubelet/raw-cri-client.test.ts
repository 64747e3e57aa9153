import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeContainerd, startFakeContainerd } from "../containerd/server.ts";
import { connectCri } from "./cri-client.ts";
import { connectRawCri, encodeTimeout } from "./raw-cri-client.ts";
import { createHeaderDecoder, encodeHeaders } from "./raw-hpack.ts";

let directory: string;
let containerd: FakeContainerd;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-raw-"));
  containerd = await startFakeContainerd({ path: join(directory, "containerd.sock") });
});

afterEach(async () => {
  await containerd.stop();
  await rm(directory, { recursive: true });
});

describe("the forms of :authority", () => {
  it("kubelet 1.31: localhost", async () => {
    const cri = connectCri({ path: containerd.path });
    await cri.call("Version");
    expect(containerd.requests.last("Version").authority).toBe("localhost");
    cri.close();
  });

  it("kubelet 1.29: the path, percent-encoded", async () => {
    const cri = connectCri({ path: containerd.path, authority: "encoded-path" });
    await cri.call("Version");
    expect(containerd.requests.last("Version").authority).toBe(encodeURIComponent(containerd.path));
    cri.close();
  });

  it("kubelet 1.28: the raw path, which Node's own HTTP/2 stack resets before anybody sees the call", async () => {
    const cri = await connectRawCri({ path: containerd.path });
    await expect(cri.call("Version")).rejects.toThrow("HTTP/2 error code 1");
    expect(containerd.requests.all).toEqual([]);
    cri.close();
  });
});

describe("the hand-framed client", () => {
  it.each([0, 64, 4096])(
    "reads answers and failures with a header table of %d bytes",
    async (headerTableSize) => {
      const cri = await connectRawCri({ path: containerd.path, authority: "localhost", headerTableSize });
      for (let round = 0; round < 3; round += 1) {
        expect(await cri.call("Version")).toMatchObject({ version: "0.1.0", runtime_name: "containerd" });
        await expect(cri.call("ContainerStatus", { container_id: "x" })).rejects.toMatchObject({
          code: 5,
          message: 'an error occurred when try to find container "x": not found',
        });
      }
      cri.close();
    },
  );

  it("sends a request of several frames, and the kubelet's deadline", async () => {
    const cri = await connectRawCri({ path: containerd.path, authority: "localhost" });
    const annotations = { note: "x".repeat(40_000) };
    const config = { metadata: { name: "a", namespace: "b", uid: "c" }, annotations };
    const { pod_sandbox_id } = await cri.call("RunPodSandbox", { config });
    expect(containerd.state.sandboxes.get(pod_sandbox_id)?.config.annotations).toEqual(annotations);
    expect(containerd.requests.last("RunPodSandbox").deadlineMs).toBeGreaterThan(239_000);
    cri.close();
  });

  it("cancels by a reset", async () => {
    containerd.inject("Version", { delayMs: 10_000 });
    const cri = await connectRawCri({ path: containerd.path, authority: "localhost" });
    const cancel = new AbortController();
    const call = cri.call("Version", {}, { signal: cancel.signal });
    await expect.poll(() => containerd.requests.of("Version").length).toBe(1);
    cancel.abort();
    await expect(call).rejects.toThrow("reset with HTTP/2 error code 8");
    await expect.poll(() => containerd.requests.last("Version").cancelled).toBe(true);
    cri.close();
  });

  it("fails the calls in flight when the server goes", async () => {
    containerd.inject("Version", { delayMs: 10_000 });
    const cri = await connectRawCri({ path: containerd.path, authority: "localhost" });
    const call = cri.call("Version");
    await expect.poll(() => containerd.requests.of("Version").length).toBe(1);
    await Promise.all([expect(call).rejects.toThrow(), containerd.stop()]);
  });
});

describe("its header blocks", () => {
  it("RFC 7541, appendix C.6.1: a response with Huffman coding fills the dynamic table, which evicts", () => {
    const decode = createHeaderDecoder(256);
    const first = decode(
      Buffer.from(
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "hex",
      ),
    );
    expect(first).toEqual([
      [":status", "302"],
      ["cache-control", "private"],
      ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ["location", "https://www.example.com"],
    ]);
    expect(decode(Buffer.from("4883640effc1c0bf", "hex"))).toEqual([
      [":status", "307"],
      ["cache-control", "private"],
      ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ["location", "https://www.example.com"],
    ]);
  });

  it("writes literals of any length that it reads back", () => {
    const headers = [126, 127, 128, 255, 5000].map((length) => ["x", "v".repeat(length)] as const);
    expect(createHeaderDecoder(4096)(encodeHeaders(headers))).toEqual(headers);
  });

  it.each([
    [50, "50000000n"],
    [1000, "1000000u"],
    [120_000, "120000m"],
    [86_520_000, "86520000m"],
    [720 * 3_600_000, "2592000S"],
  ])("writes %d ms as grpc-go does: %s", (timeoutMs, text) => expect(encodeTimeout(timeoutMs)).toBe(text));
});
