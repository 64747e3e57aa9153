import { mkdir, mkdtemp, readdir, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCsiClient } from "./csi-client.ts";
import { type StubServer, serveStub } from "./stub-driver.ts";
import { createVolume, deleteVolume, mountVolume, unmountVolume } from "./volumes.ts";

const driver = "local.csi.trivet.dev";
const uid = "2a6d1b1c-0000-4000-8000-000000000002";

let root: string;
let stub: StubServer;
let path: string;

async function serve(capabilities: readonly string[] = []): Promise<void> {
  stub = await serveStub("csi", path, {
    CreateVolume: () => ({
      volume: { volume_id: "v1", capacity_bytes: "1024", volume_context: { pool: "a" } },
    }),
    DeleteVolume: () => ({}),
    NodeGetCapabilities: () => ({ capabilities: capabilities.map((type) => ({ rpc: { type } })) }),
    NodeStageVolume: () => ({}),
    NodeUnstageVolume: () => ({}),
    // As the specification wants it: the parent must be there, and the driver makes the target itself.
    NodePublishVolume: async ({ target_path }) => {
      await mkdir(String(target_path));
      return {};
    },
    NodeUnpublishVolume: async ({ target_path }) => {
      await rmdir(String(target_path)).catch(() => undefined);
      return {};
    },
  });
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-csi-"));
  path = join(root, "csi.sock");
});

afterEach(async () => {
  await stub.stop();
  await rm(root, { recursive: true });
});

const volumeOptions = () => ({
  csi: createCsiClient(path),
  kubeletRoot: join(root, "kubelet"),
  driver,
  podUid: uid,
  name: "pvc-1",
  volumeId: "v1",
});

describe("the kubelet's side of CSI", () => {
  it("publishes to the path that pods have, whose parent it makes, and cleans up behind the driver", async () => {
    await serve();
    const mounted = await mountVolume(volumeOptions());
    expect(mounted.targetPath).toBe(join(root, "kubelet/pods", uid, "volumes/kubernetes.io~csi/pvc-1/mount"));
    expect((await stat(mounted.targetPath)).isDirectory()).toBe(true);
    expect(stub.calls.at(-1)?.request).toMatchObject({
      volume_id: "v1",
      readonly: false,
      volume_capability: { access_mode: { mode: "SINGLE_NODE_WRITER" }, mount: { fs_type: "" } },
    });
    await unmountVolume(mounted);
    expect(await readdir(join(root, "kubelet/pods"))).toEqual([]);
  });

  it("stages first where the driver says that it stages, to a path made of the volume id's hash", async () => {
    await serve(["STAGE_UNSTAGE_VOLUME"]);
    const mounted = await mountVolume(volumeOptions());
    expect(mounted.stagingPath).toMatch(
      new RegExp(`/plugins/kubernetes.io/csi/${driver}/[0-9a-f]{64}/globalmount$`),
    );
    await unmountVolume(mounted);
    expect(stub.calls.map(({ method }) => method)).toEqual([
      "NodeGetCapabilities",
      "NodeStageVolume",
      "NodePublishVolume",
      "NodeUnpublishVolume",
      "NodeUnstageVolume",
    ]);
  });

  it("never removes what a driver left in the target", async () => {
    await serve();
    const mounted = await mountVolume(volumeOptions());
    await writeFile(join(mounted.targetPath, "data"), "precious");
    await expect(unmountVolume(mounted)).rejects.toThrow("ENOTEMPTY");
    expect(await readdir(mounted.targetPath)).toEqual(["data"]);
  });

  it("creates and deletes as external-provisioner does", async () => {
    await serve();
    const csi = createCsiClient(path);
    const segments = { "topology.local.csi.trivet.dev/node": "n1" };
    const volume = await createVolume(csi, { name: "pvc-1", sizeBytes: 1000, segments });
    expect(volume).toMatchObject({ volume_id: "v1", volume_context: { pool: "a" } });
    expect(stub.calls[0]?.request).toMatchObject({
      name: "pvc-1",
      capacity_range: { required_bytes: "1000", limit_bytes: "0" },
      accessibility_requirements: { requisite: [{ segments }], preferred: [{ segments }] },
    });
    await deleteVolume(csi, volume.volume_id);
    expect(stub.calls[1]?.request).toEqual({ volume_id: "v1", secrets: {} });
  });

  it("dials anew for every call: a driver that was replaced in between is found", async () => {
    await serve();
    const csi = createCsiClient(path);
    await csi.call("NodeGetCapabilities");
    await stub.stop();
    await expect(csi.call("NodeGetCapabilities", {}, 1000)).rejects.toMatchObject({ code: 14 });
    await serve(["GET_VOLUME_STATS"]);
    expect((await csi.call("NodeGetCapabilities")).capabilities).toHaveLength(1);
  });
});
