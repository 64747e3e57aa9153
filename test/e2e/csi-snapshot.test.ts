/** Snapshots, restores and clones on real disks, also when the process is killed in the middle. Needs root. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createFreezer } from "../../src/host/freeze.ts";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { type CsiClient, createCsiClient } from "../conformance/csi/client.ts";
import {
  type CreateVolumeResponse,
  createRequest,
  MIB,
  publishRequest,
  stagingFor,
} from "../conformance/csi/requests.ts";
import { type Subject, startSubject } from "../conformance/csi/subject.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";
import { fillTree } from "./support/rich-tree.ts";
import { treeManifest } from "./support/tree-manifest.ts";

interface SnapshotResponse {
  readonly snapshot: { readonly snapshot_id: string };
}

const syscalls = createSyscalls();
const mounts = createMounts(syscalls);

/** What both tests with a server and tests with a process need. */
function callsOf(client: CsiClient) {
  const call = <T>(service: string, method: string, request?: object) =>
    client.call<T>(service, method, request);
  return {
    call,
    async create(name: string, changes: object = {}): Promise<string> {
      const request = createRequest(name, { capacity_range: { required_bytes: 50 * MIB }, ...changes });
      return (await call<CreateVolumeResponse>("Controller", "CreateVolume", request)).volume.volume_id;
    },
    async cut(source_volume_id: string, name = "cut", parameters: object = {}): Promise<string> {
      const request = { name, source_volume_id, parameters };
      const { snapshot } = await call<SnapshotResponse>("Controller", "CreateSnapshot", request);
      return snapshot.snapshot_id;
    },
  };
}

describe.each([
  ["a directory pool on ext4", "ext4", "directory"],
  ["a directory pool on btrfs, which shares content", "btrfs", "directory"],
])("%s", (_, fsType, backend) => {
  let disk: LoopDisk;
  let subject: Subject;
  let calls: ReturnType<typeof callsOf>;
  const dataOf = (directory: string, id: string) => join(subject.pool, directory, id, "data");

  beforeAll(async () => {
    disk = createLoopDisk(fsType, 512, ["-q"]);
    const root = join(disk.path, "root");
    mkdirSync(root);
    subject = await startSubject({ root, mounts: () => mounts, settings: `,backend=${backend}` });
    calls = callsOf(subject.client);
  });
  afterAll(async () => {
    for (const { mountPoint } of [...(await mounts.list())].reverse()) {
      if (mountPoint.startsWith(`${disk.path}/`)) await mounts.unmount(mountPoint);
    }
    await subject.stop();
    disk.remove();
  });

  test("a restore of a snapshot and a clone have all that the volume had, but for its devices", async () => {
    const id = await calls.create("source");
    await fillTree(syscalls, dataOf("volumes", id));
    const { "./null": device, ...expected } = await treeManifest(syscalls, dataOf("volumes", id));
    expect(device).toBeDefined();
    const snapshot_id = await calls.cut(id);
    writeFileSync(join(dataOf("volumes", id), "plain"), "changed since");
    const restored = await calls.create("restored", { volume_content_source: { snapshot: { snapshot_id } } });
    expect(await treeManifest(syscalls, dataOf("snapshots", snapshot_id))).toEqual(expected);
    expect(await treeManifest(syscalls, dataOf("volumes", restored))).toEqual(expected);
    const cloned = await calls.create("cloned", {
      volume_content_source: { volume: { volume_id: restored } },
    });
    expect(await treeManifest(syscalls, dataOf("volumes", cloned))).toEqual(expected);
    for (const volume_id of [id, restored]) await calls.call("Controller", "DeleteVolume", { volume_id });
    await calls.call("Controller", "DeleteSnapshot", { snapshot_id });
    expect(await treeManifest(syscalls, dataOf("volumes", cloned))).toEqual(expected);
    await calls.call("Controller", "DeleteVolume", { volume_id: cloned });
    expect(readdirSync(join(subject.pool, "volumes"))).toEqual([]);
  });

  test("a volume in a pod is copied file by file only, and the pod goes on meanwhile", async () => {
    const id = await calls.create("shown");
    const target = await subject.target("pod");
    await calls.call("Node", "NodePublishVolume", publishRequest(id, target));
    writeFileSync(join(target, "file"), "from the pod");
    const request = { name: "of a pod", source_volume_id: id };
    const refused = await subject.client.refused("Controller", "CreateSnapshot", request);
    expect(refused.code).toBe("FAILED_PRECONDITION");
    const snapshot_id = await calls.cut(id, "of a pod", { consistency: "per-file" });
    expect(readFileSync(join(dataOf("snapshots", snapshot_id), "file"), "utf8")).toBe("from the pod");
    await calls.call("Node", "NodeUnpublishVolume", { volume_id: id, target_path: target });
    const staging_target_path = stagingFor(id, target);
    await calls.call("Node", "NodeUnstageVolume", { volume_id: id, staging_target_path });
    await calls.cut(id, "not in use any more");
  });

  test("links that a tenant planted are copied as links, and lead nobody anywhere", async () => {
    const id = await calls.create("planted");
    writeFileSync(join(subject.root, "secret"), "SECRET");
    symlinkSync(join(subject.root, "secret"), join(dataOf("volumes", id), "file"));
    symlinkSync(subject.root, join(dataOf("volumes", id), "directory"));
    symlinkSync("../../../../..", join(dataOf("volumes", id), "up"));
    const before = await treeManifest(syscalls, dataOf("volumes", id));
    const snapshot_id = await calls.cut(id, "planted");
    expect(await treeManifest(syscalls, dataOf("snapshots", snapshot_id))).toEqual(before);
    await calls.call("Controller", "DeleteSnapshot", { snapshot_id });
    await subject.restart().then((again) => {
      subject = again;
      calls = callsOf(subject.client);
    });
    expect(readFileSync(join(subject.root, "secret"), "utf8")).toBe("SECRET");
  });
});

test("a disk that is full in the middle of a copy leaves the account right and nothing behind", async () => {
  const disk = createLoopDisk("ext4", 128, ["-q"]);
  const root = join(disk.path, "root");
  mkdirSync(root);
  const subject = await startSubject({ root, mounts: () => mounts, settings: ",budget=10Gi" });
  try {
    const { create, cut, call } = callsOf(subject.client);
    const id = await create("large", { capacity_range: { required_bytes: 1 * MIB } });
    // More than was asked for: nothing stops a writer in a directory.
    writeFileSync(join(subject.pool, "volumes", id, "data", "a"), "small");
    writeFileSync(join(subject.pool, "volumes", id, "data", "huge"), Buffer.alloc(70 * MIB, "x"));
    const before = (await subject.server.pools())[0]?.reservedBytes;
    const refused = await subject.client.refused("Controller", "CreateSnapshot", {
      name: "cut",
      source_volume_id: id,
    });
    expect(refused.code).toBe("RESOURCE_EXHAUSTED");
    while ((await subject.server.pools())[0]?.trashed !== 0) await sleep(10);
    expect((await subject.server.pools())[0]?.reservedBytes).toBe(before);
    for (const directory of ["snapshots", ".pool/staging", ".pool/trash"]) {
      expect(readdirSync(join(subject.pool, directory))).toEqual([]);
    }
    writeFileSync(join(subject.pool, "volumes", id, "data", "huge"), "");
    await call("Controller", "DeleteSnapshot", { snapshot_id: await cut(id) });
  } finally {
    await subject.stop();
    disk.remove();
  }
});

describe("a process that is killed", () => {
  let root: string;
  let running: ChildProcess | undefined;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "trivet-snapshot-"));
  });
  afterAll(async () => {
    running?.kill("SIGKILL");
    await rm(root, { recursive: true });
  });

  async function start(): Promise<{ readonly client: CsiClient; kill(): Promise<void> }> {
    const script = fileURLToPath(new URL("support/csi-process.ts", import.meta.url));
    const child = spawn(process.execPath, [script, root], { stdio: ["ignore", "pipe", "inherit"] });
    running = child;
    await once(child.stdout, "data");
    const client = createCsiClient(join(root, "csi.sock"));
    return {
      client,
      async kill() {
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
        client.close();
        running = undefined;
      },
    };
  }

  test("in the middle of a snapshot or of a restore leaves no half of it, and the next one makes it", async () => {
    let { client, kill } = await start();
    const pool = join(root, "pool");
    const id = await callsOf(client).create("source");
    const data = join(pool, "volumes", id, "data");
    for (let n = 0; n < 20; n++) {
      mkdirSync(join(data, `d${n}`));
      for (let m = 0; m < 20; m++) writeFileSync(join(data, `d${n}`, `f${m}`), `${n} ${m}`);
    }
    const expected = await treeManifest(syscalls, data);
    const staging = join(pool, ".pool", "staging");
    const killWhile = async (call: (client: CsiClient) => Promise<unknown>) => {
      const cutShort = call(client).catch(() => undefined);
      const isUnderWay = () => {
        const [name = ""] = readdirSync(staging);
        const copied = join(staging, name, "data");
        return name !== "" && existsSync(copied) && readdirSync(copied).length >= 5;
      };
      while (!isUnderWay()) await sleep(2);
      await kill();
      await cutShort;
      ({ client, kill } = await start());
    };
    await killWhile((victim) => callsOf(victim).cut(id));
    expect(readdirSync(join(pool, "snapshots"))).toEqual([]);
    const snapshot_id = await callsOf(client).cut(id);
    expect(await treeManifest(syscalls, join(pool, "snapshots", snapshot_id, "data"))).toEqual(expected);
    const source = { volume_content_source: { snapshot: { snapshot_id } } };
    await killWhile((victim) => callsOf(victim).create("restored", source));
    expect(readdirSync(join(pool, "volumes"))).toEqual([id]);
    const restored = await callsOf(client).create("restored", source);
    expect(await treeManifest(syscalls, join(pool, "volumes", restored, "data"))).toEqual(expected);
    while (readdirSync(join(pool, ".pool", "trash")).length > 0) await sleep(10);
    expect(readdirSync(staging)).toEqual([]);
    await kill();
  });
});

describe("a file system that is frozen for a copy", () => {
  const path = process.env.PATH ?? "/usr/sbin:/usr/bin";
  const freezer = createFreezer(syscalls, { path });
  let disk: LoopDisk;
  beforeAll(() => {
    disk = createLoopDisk("ext4", 64, ["-q"]);
  });
  afterAll(async () => {
    await freezer.thaw(disk.path);
    disk.remove();
  });

  /** Hangs while nobody may write: in a process of its own, since ours could not be ended then. */
  async function canBeWritten(): Promise<boolean> {
    const child = spawn("touch", [join(disk.path, "file")], { stdio: "ignore" });
    const ended = once(child, "exit");
    const isOver = await Promise.race([ended.then(() => true), sleep(500).then(() => false)]);
    if (!isOver) child.kill("SIGKILL");
    return isOver;
  }

  test("takes no write meanwhile, and the writers go on when it is over, however it ends", async () => {
    expect(await freezer.whileFrozen(disk.path, 20_000, canBeWritten)).toBe(false);
    expect(await canBeWritten()).toBe(true);
    const failing = freezer.whileFrozen(disk.path, 20_000, () => Promise.reject(new Error("no copy")));
    await expect(failing).rejects.toThrow("no copy");
    expect(await canBeWritten()).toBe(true);
    expect(await freezer.thaw(disk.path)).toBe(false);
  });

  test("is thawed when its time is up, and the copy is told and counts for nothing", async () => {
    let wasTold = false;
    const work = async (signal: AbortSignal) => {
      await once(signal, "abort");
      wasTold = true;
      return "copy";
    };
    await expect(freezer.whileFrozen(disk.path, 50, work)).rejects.toMatchObject({ kind: "deadline" });
    expect(wasTold).toBe(true);
    expect(await canBeWritten()).toBe(true);
  });

  test("counts for nothing when somebody else thawed it", async () => {
    const work = async () => void (await freezer.thaw(disk.path));
    await expect(freezer.whileFrozen(disk.path, 20_000, work)).rejects.toMatchObject({
      kind: "precondition",
    });
  });

  test("is thawed when the process that froze it is killed, by the child that it left behind", async () => {
    const script = `
      const { createFreezer } = await import(${JSON.stringify(new URL("../../src/host/freeze.ts", import.meta.url).href)});
      const { createSyscalls } = await import(${JSON.stringify(new URL("../../src/host/syscall.ts", import.meta.url).href)});
      const freezer = createFreezer(createSyscalls(), { path: process.argv[2] });
      await freezer.whileFrozen(process.argv[1], 60_000, () => new Promise((resolve) => {
        process.stdout.write("frozen");
        setTimeout(resolve, 60_000);
      }));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, disk.path, path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    expect(await canBeWritten()).toBe(false);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    while (!(await canBeWritten())) await sleep(10);
    expect(await freezer.thaw(disk.path)).toBe(false);
  });

  test("is no file system: an error, and nothing is left frozen", async () => {
    const nowhere = freezer.whileFrozen(join(disk.path, "none"), 1_000, async () => undefined);
    await expect(nowhere).rejects.toMatchObject({ kind: "not-found" });
    const unable = freezer.whileFrozen("/proc", 1_000, async () => undefined);
    await expect(unable).rejects.toMatchObject({ op: "freeze", kind: "unsupported" });
  });
});
