/** The rules of the CSI specification for publishing and unpublishing, over a real socket: one rule in each title. */
import { rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  blockCapability,
  type CreateVolumeResponse,
  capability,
  createRequest,
  oddIds,
  publishRequest,
  unusedId,
  type Volume,
} from "./csi/requests.ts";
import { type Subject, startSubject } from "./csi/subject.ts";

let subject: Subject;

beforeAll(async () => {
  subject = await startSubject({ morePools: (root) => [`second=${root}/second,requireMount=false`] });
  await subject.server.ready;
});

afterAll(async () => subject.stop());

const call = <T>(service: string, method: string, request?: object) =>
  subject.client.call<T>(service, method, request);
const refused = async (service: string, method: string, request?: object) =>
  (await subject.client.refused(service, method, request)).code;

async function create(name: string, changes: object = {}): Promise<Volume> {
  return (await call<CreateVolumeResponse>("Controller", "CreateVolume", createRequest(name, changes)))
    .volume;
}

describe("NodePublishVolume: what is missing or wrong", () => {
  test.each<[string, object]>([
    ["the volume id", { target_path: "/x", volume_capability: capability() }],
    ["the target path", { volume_id: unusedId, volume_capability: capability() }],
    ["the capability", { volume_id: unusedId, target_path: "/x" }],
  ])("a request without %s is INVALID_ARGUMENT", async (_, request) => {
    expect(await refused("Node", "NodePublishVolume", request)).toBe("INVALID_ARGUMENT");
  });

  test.each([unusedId, ...oddIds, "x".repeat(100_000)])("an unknown volume is NOT_FOUND: %j", async (id) => {
    const target = await subject.target("unknown");
    expect(await refused("Node", "NodePublishVolume", publishRequest(id, target))).toBe("NOT_FOUND");
    await expect(stat(target)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test.each<[string, object, string, string]>([
    ["another access type", blockCapability, "FAILED_PRECONDITION", "was made for access type mount"],
    ["a flag that is not allowed", capability(undefined, ["remount"]), "INVALID_ARGUMENT", "mount_flags[0]"],
    [
      "another file system",
      { mount: { fs_type: "xfs" }, access_mode: { mode: "SINGLE_NODE_WRITER" } },
      "INVALID_ARGUMENT",
      'volume_capability.mount.fs_type is "xfs"',
    ],
  ])("%s than the volume has is refused, and said so", async (_, volume_capability, code, message) => {
    const { volume_id } = await create("published");
    const request = publishRequest(volume_id, await subject.target("refused"), { volume_capability });
    const failure = await subject.client.refused("Node", "NodePublishVolume", request);
    expect(failure).toEqual({ code, details: expect.stringContaining(message) });
  });

  test("a request without a staging path is FAILED_PRECONDITION", async () => {
    const { volume_id } = await create("published");
    const request = publishRequest(volume_id, await subject.target("unstaged"), { staging_target_path: "" });
    expect(await refused("Node", "NodePublishVolume", request)).toBe("FAILED_PRECONDITION");
  });

  const tooLong = [`KUBELET/${"x".repeat(256)}`, `KUBELET/${"x/".repeat(2_100)}y`];
  test.each([
    "/",
    "/etc",
    "relative/path",
    "KUBELET",
    "KUBELET/../up",
    "KUBELET/a//b",
    "KUBELETx/y",
    ...tooLong,
  ])("a target that is no plain path below the kubelet's directory is INVALID_ARGUMENT: %s", async (path) => {
    const { volume_id } = await create("published");
    const target = path.replace("KUBELET", subject.kubeletRoot);
    expect(await refused("Node", "NodePublishVolume", publishRequest(volume_id, target))).toBe(
      "INVALID_ARGUMENT",
    );
    expect(await refused("Node", "NodeUnpublishVolume", { volume_id, target_path: target })).toBe(
      "INVALID_ARGUMENT",
    );
  });

  test("a volume whose data was removed by hand is FAILED_PRECONDITION, not unknown and not made anew", async () => {
    const { volume_id } = await create("damaged");
    await rmdir(join(subject.pool, "volumes", volume_id, "data"));
    const request = publishRequest(volume_id, await subject.target("damaged"));
    expect(await refused("Node", "NodePublishVolume", request)).toBe("FAILED_PRECONDITION");
  });

  test("a target whose parent does not exist is FAILED_PRECONDITION", async () => {
    const { volume_id } = await create("published");
    const request = publishRequest(volume_id, join(subject.kubeletRoot, "no", "parent", "mount"));
    expect(await refused("Node", "NodePublishVolume", request)).toBe("FAILED_PRECONDITION");
  });
});

describe("NodePublishVolume and NodeUnpublishVolume", () => {
  const mountsAt = async (path: string) =>
    (await subject.mounts.list()).filter(({ mountPoint }) => mountPoint === path);

  test("publish and unpublish repeated ten times are OK each time, and the target is gone at the end", async () => {
    const { volume_id } = await create("repeated");
    const target = await subject.target("repeated");
    for (let count = 0; count < 10; count++) {
      await call("Node", "NodePublishVolume", publishRequest(volume_id, target));
    }
    expect(await mountsAt(target)).toHaveLength(1);
    for (let count = 0; count < 10; count++) {
      await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
    }
    expect(await mountsAt(target)).toEqual([]);
    await expect(stat(target)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a mount shows the volume's data with nosuid and nodev, and the flags that were asked", async () => {
    const { volume_id } = await create("flags");
    const target = await subject.target("flags");
    const volume_capability = capability(undefined, ["noexec", "noatime"]);
    await call("Node", "NodePublishVolume", publishRequest(volume_id, target, { volume_capability }));
    const [mount] = await mountsAt(target);
    expect(mount?.root).toBe(join(await subject.files.realPath(subject.pool), "volumes", volume_id, "data"));
    expect(mount?.options).toEqual(["rw", "nosuid", "nodev", "noexec", "noatime"]);
    await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
  });

  test.each<[string, object]>([
    ["readonly", { readonly: true }],
    ["a reader-only access mode", { volume_capability: capability("SINGLE_NODE_READER_ONLY") }],
    ["the flag ro", { volume_capability: capability(undefined, ["ro"]) }],
  ])("%s gives a read-only mount", async (title, changes) => {
    const { volume_id } = await create(title);
    const target = await subject.target(title.replaceAll(" ", "-"));
    await call("Node", "NodePublishVolume", publishRequest(volume_id, target, changes));
    expect((await mountsAt(target))[0]?.options).toContain("ro");
    await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
  });

  test.each<[string, object]>([
    ["read-only", { readonly: true }],
    ["with other flags", { volume_capability: capability(undefined, ["noexec"]) }],
  ])(
    "publishing again at the same target, %s, is ALREADY_EXISTS and changes nothing",
    async (title, changes) => {
      const { volume_id } = await create(`again ${title}`);
      const target = await subject.target("again");
      await call("Node", "NodePublishVolume", publishRequest(volume_id, target));
      const before = await mountsAt(target);
      const request = publishRequest(volume_id, target, changes);
      expect(await refused("Node", "NodePublishVolume", request)).toBe("ALREADY_EXISTS");
      expect(await mountsAt(target)).toEqual(before);
      await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
    },
  );

  test("another volume at a target that is taken is ALREADY_EXISTS, and its unpublish does not touch the first", async () => {
    const [first, second] = [await create("first"), await create("second")];
    const target = await subject.target("taken");
    await call("Node", "NodePublishVolume", publishRequest(first.volume_id, target));
    const request = publishRequest(second.volume_id, target);
    expect(await refused("Node", "NodePublishVolume", request)).toBe("ALREADY_EXISTS");
    const wrong = { volume_id: second.volume_id, target_path: target };
    expect(await refused("Node", "NodeUnpublishVolume", wrong)).toBe("FAILED_PRECONDITION");
    expect(await mountsAt(target)).toHaveLength(1);
    await call("Node", "NodeUnpublishVolume", { volume_id: first.volume_id, target_path: target });
  });

  test.each([
    ["SINGLE_NODE_MULTI_WRITER", "OK"],
    ["SINGLE_NODE_WRITER", "OK"],
    ["SINGLE_NODE_SINGLE_WRITER", "FAILED_PRECONDITION"],
  ])("a second target with %s is %s", async (mode, expected) => {
    const { volume_id } = await create(`second target ${mode}`);
    const targets = [await subject.target("one"), await subject.target("two")] as const;
    const changes = { volume_capability: capability(mode) };
    await call("Node", "NodePublishVolume", publishRequest(volume_id, targets[0], changes));
    const second = publishRequest(volume_id, targets[1], changes);
    const outcome =
      expected === "OK"
        ? call("Node", "NodePublishVolume", second)
        : refused("Node", "NodePublishVolume", second);
    expect(await outcome).toEqual(expected === "OK" ? {} : expected);
    for (const target_path of targets) await call("Node", "NodeUnpublishVolume", { volume_id, target_path });
  });

  test("of publish calls for one volume at once each is OK or ABORTED, and one mount results", async () => {
    const { volume_id } = await create("published at once");
    const target = await subject.target("at-once");
    const attempts = Array.from({ length: 6 }, () =>
      call("Node", "NodePublishVolume", publishRequest(volume_id, target)).catch(
        ({ code }: { code: number }) => code,
      ),
    );
    for (const outcome of await Promise.all(attempts))
      expect([10, "object"]).toContain(typeof outcome === "object" ? "object" : outcome);
    expect(await mountsAt(target)).toHaveLength(1);
    await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
  });
});

describe("NodeUnpublishVolume", () => {
  test.each<[string, object]>([
    ["the volume id", { target_path: "/x" }],
    ["the target path", { volume_id: unusedId }],
  ])("a request without %s is INVALID_ARGUMENT", async (_, request) => {
    expect(await refused("Node", "NodeUnpublishVolume", request)).toBe("INVALID_ARGUMENT");
  });

  test.each([unusedId, ...oddIds])("what was never published is OK: %j", async (volume_id) => {
    const target_path = await subject.target("never");
    expect(await call("Node", "NodeUnpublishVolume", { volume_id, target_path })).toEqual({});
  });

  test("a target whose parents are gone is OK", async () => {
    const request = { volume_id: unusedId, target_path: join(subject.kubeletRoot, "gone", "a", "mount") };
    expect(await call("Node", "NodeUnpublishVolume", request)).toEqual({});
  });
});
