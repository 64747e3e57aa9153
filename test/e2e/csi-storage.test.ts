/** `trivet storage` as people run it: a process of its own beside a `trivet node` that holds the pools, and without one. */
import { execFile, execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import type { VolumeView } from "../../src/csi/inventory/facts.ts";
import type { OrphansReport } from "../../src/csi/storage-admin.ts";
import { type CsiNode, type CsiScratch, createCsiScratch, startCsiNode } from "./support/csi-node.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
const MIB = 2 ** 20;
const capability = { mount: { fs_type: "" }, access_mode: { mode: "SINGLE_NODE_WRITER" } };

let scratch: CsiScratch;
let disk: LoopDisk;
let node: CsiNode;
let pools: string[];

beforeAll(async () => {
  scratch = await createCsiScratch("storage");
  disk = createLoopDisk("btrfs", 256);
  execFileSync("btrfs", ["quota", "enable", disk.path]);
  pools = [`default=${scratch.root}/pool,backend=directory,budget=1Gi`, `btrfs=${disk.path},backend=quota`];
  node = await startCsiNode(scratch, pools);
});

afterAll(async () => {
  await node?.stop();
  disk?.remove();
  await scratch?.remove();
});

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function storage(...args: string[]): Promise<Run> {
  const argv = [
    "--disable-warning=ExperimentalWarning",
    "src/main.ts",
    "storage",
    ...args,
    "--state-dir",
    scratch.stateDir,
  ];
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { cwd: project }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await storage(...args, "-o", "json");
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as T;
}

async function create(name: string, parameters: Record<string, string> = {}): Promise<string> {
  const { volume } = await node.client.call<{ volume: { volume_id: string } }>("Controller", "CreateVolume", {
    ...{ name, capacity_range: { required_bytes: 16 * MIB }, volume_capabilities: [capability] },
    parameters: {
      ...{ "csi.storage.k8s.io/pvc/name": name, "csi.storage.k8s.io/pvc/namespace": "shop" },
      ...parameters,
    },
  });
  return volume.volume_id;
}

const placeOf = (name: string) => ({
  staging_target_path: join(scratch.kubeletRoot, "plugins", name),
  target_path: join(scratch.kubeletRoot, "pods", `uid-${name}`, "volumes/kubernetes.io~csi/pv/mount"),
});

async function publish(volume_id: string, name: string): Promise<string> {
  const { staging_target_path, target_path } = placeOf(name);
  await mkdir(staging_target_path, { recursive: true });
  await mkdir(join(target_path, ".."), { recursive: true });
  const shared = { volume_id, staging_target_path, volume_capability: capability };
  await node.client.call("Node", "NodeStageVolume", shared);
  await node.client.call("Node", "NodePublishVolume", { ...shared, target_path });
  return target_path;
}

async function hide(volume_id: string, name: string): Promise<void> {
  const { staging_target_path, target_path } = placeOf(name);
  await node.client.call("Node", "NodeUnpublishVolume", { volume_id, target_path });
  await node.client.call("Node", "NodeUnstageVolume", { volume_id, staging_target_path });
}

const remove = (volume_id: string) => node.client.call("Controller", "DeleteVolume", { volume_id });
const volumesById = async () =>
  new Map((await json<VolumeView[]>("volumes", "--deleted")).map((view) => [view.id, view]));

/** As `kubectl get pv -o json` prints them. */
async function writePersistentVolumes(handles: readonly string[], name = "node-1"): Promise<string> {
  const key = "topology.local.csi.trivet.dev/node";
  const expression = { key, operator: "In", values: [name] };
  const items = handles.map((volumeHandle) => ({
    ...{ kind: "PersistentVolume", metadata: { name: `pv-${volumeHandle}` } },
    spec: {
      csi: { driver: "local.csi.trivet.dev", volumeHandle },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [expression] }] } },
    },
    status: { phase: "Bound" },
  }));
  const path = join(scratch.root, "pvs.json");
  await writeFile(path, JSON.stringify({ kind: "List", items }));
  return path;
}

test("volumes are shown with their claim, their use and their pod while the daemon holds the pools", async () => {
  const [plain, limited] = [await create("plain"), await create("limited", { pool: "btrfs" })];
  const target = await publish(limited, "limited");
  await writeFile(join(target, "file"), Buffer.alloc(2 * MIB, 1));
  execFileSync("sync", ["-f", target]);
  const shown = await volumesById();
  expect(shown.get(plain)).toMatchObject({
    claim: "shop/plain",
    pool: "default",
    backend: "directory",
    state: "idle",
  });
  expect(shown.get(plain)?.usedBytes).toBeUndefined();
  expect(shown.get(limited)).toMatchObject({
    backend: "btrfs",
    sizeBytes: 16 * MIB,
    state: "published",
    published: [target],
  });
  expect(shown.get(limited)?.usedBytes).toBeGreaterThanOrEqual(2 * MIB);
  const { stdout } = await storage("volumes");
  expect(stdout).toMatch(
    new RegExp(`${limited}\\s+shop/limited\\s+btrfs\\s+btrfs\\s+16Mi\\s+\\S+\\s+published\\s+uid-limited`),
  );
  await hide(limited, "limited");
  for (const id of [plain, limited]) await remove(id);
});

test("pools are shown with their disks and with what would give them quotas", async () => {
  const { stdout, code } = await storage("pools");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^default\s.*\sdirectory\s+1Gi\s/m);
  expect(stdout).toMatch(new RegExp(`^btrfs\\s+${disk.path}\\s+btrfs\\s.*/dev/loop\\d+\\s+btrfs 256Mi`, "m"));
  expect(stdout).toContain("default: directories without a limit: nothing stops a volume");
});

test("a deleted volume comes back with its content, and one that is unknown does not", async () => {
  const id = await create("kept", { onDelete: "trash", trashRetention: "1h" });
  await writeFile(join(scratch.root, "pool/volumes", id, "data/file"), "precious");
  await remove(id);
  expect((await volumesById()).get(id)).toMatchObject({ state: "trash", claim: "shop/kept" });
  expect(await storage("undelete", id)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("of claim shop/kept"),
  });
  expect(await readFile(join(await publish(id, "kept"), "file"), "utf8")).toBe("precious");
  const again = await storage("undelete", id);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining(id) });
  expect(await storage("undelete", "../../etc")).toMatchObject({ code: 2 });
  await hide(id, "kept");
  await storage("undelete", id);
  await remove(id);
});

test("orphans are told and stay, until --delete takes those that may go", async () => {
  const [lost, used, fine] = [await create("lost"), await create("used"), await create("fine")];
  await publish(used, "used");
  const [staging, quarantined] = [
    join(scratch.root, "pool/.pool/staging"),
    join(scratch.root, "pool/volumes/not-ours"),
  ];
  await mkdir(join(staging, "half"));
  await mkdir(quarantined);
  const ask = async (...more: string[]) =>
    (await json<OrphansReport>("orphans", "--min-age", "0", ...more)).orphans
      .filter(({ kind }) => kind !== "retained")
      .map(({ kind, subject, outcome }) => [kind, subject, outcome]);
  const quiet = [
    ["left in staging", "default/half", "found"],
    ["quarantined", "not-ours", "found"],
  ];
  expect(await ask()).toEqual(quiet); // without PersistentVolumes no volume lacks one
  const pvs = await writePersistentVolumes([fine, "tv-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa"]);
  const gone = ["PersistentVolume without volume", "pv-tv-aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa", "found"];
  const without = (id: string, outcome: string) => ["volume without PersistentVolume", id, outcome];
  const sorted = [lost, used].sort();
  const all = [...sorted.map((id) => without(id, "found")), gone, ...quiet];
  expect(await ask("--pv-file", pvs)).toEqual(all);
  expect((await volumesById()).get(lost)?.state).toBe("idle");
  const removed = all.map(([kind, subject, outcome]) => [
    ...[kind, subject, [lost, "default/half"].includes(String(subject)) ? "removed" : outcome],
  ]);
  expect(await ask("--pv-file", pvs, "--delete")).toEqual(removed);
  expect((await volumesById()).get(used)?.state).toBe("published");
  expect(await readdir(staging)).toEqual([]);
  expect((await stat(quarantined)).isDirectory()).toBe(true);
  await rm(quarantined, { recursive: true });
  await hide(used, "used");
  for (const id of [used, fine]) await remove(id);
});

test("PersistentVolumes of another cluster delete nothing, and a file that is none is refused", async () => {
  const id = await create("only");
  const pvs = await writePersistentVolumes(["tv-bbbbbbbb-bbbbbbbbbbbbbbbbbbbbbbbbbb"]);
  const refused = await storage("orphans", "--min-age", "0", "--pv-file", pvs, "--delete");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("right cluster") });
  expect((await volumesById()).get(id)?.state).toBe("idle");
  await writeFile(pvs, '{"kind":"PodList","items":[]}');
  expect(await storage("orphans", "--pv-file", pvs)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--pv-file"),
  });
  expect(await storage("orphans", "--delete", "tv-x")).toMatchObject({ code: 2 });
  await remove(id);
});

test("a mount of a volume that was removed by hand is found and taken away", async () => {
  const id = await create("by-hand");
  const target = await publish(id, "by-hand");
  await rm(join(scratch.root, "pool/volumes", id), { recursive: true });
  const report = await json<OrphansReport>("orphans", "--delete");
  const found = report.orphans.filter(({ kind }) => kind === "mount of a deleted volume");
  expect(found).toContainEqual(expect.objectContaining({ subject: target, outcome: "removed" }));
  expect(execFileSync("cat", ["/proc/self/mountinfo"], { encoding: "utf8" })).not.toContain(id);
});

test("a directory of local-path-provisioner becomes a volume, with its inode, and twice the same one", async () => {
  const path = join(scratch.root, "lpp/pvc-0b0e1111-2222-3333-4444-555566667777_shop_data-db-0");
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "file"), "old data");
  const { ino } = await stat(join(path, "file"));
  const adopted = await storage("adopt", path, "--size", "32Mi", "--into", "default");
  expect(adopted.code).toBe(0);
  const manifest = parse(adopted.stdout);
  expect(manifest.spec).toMatchObject({
    capacity: { storage: String(32 * MIB) },
    claimRef: { namespace: "shop", name: "data-db-0" },
    persistentVolumeReclaimPolicy: "Retain",
  });
  const id: string = manifest.spec.csi.volumeHandle;
  const target = await publish(id, "adopted");
  expect(await readFile(join(target, "file"), "utf8")).toBe("old data");
  expect((await stat(join(target, "file"))).ino).toBe(ino);
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
  expect(parse((await storage("adopt", path, "--size", "32Mi", "--into", "default")).stdout)).toEqual(
    manifest,
  );
  await hide(id, "adopted");
  await remove(id);
});

test("a pool with limits takes a directory by copying alone, within the limit, and leaves it as it is", async () => {
  const path = join(scratch.root, "elsewhere");
  await mkdir(join(path, "sub"), { recursive: true });
  await writeFile(join(path, "sub/file"), Buffer.alloc(2 * MIB, 7));
  const refused = await storage("adopt", path, "--into", "btrfs");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("--copy") });
  expect(await storage("adopt", path, "--into", "btrfs", "--copy", "--size", "1Mi")).toMatchObject({
    code: 2,
  });
  const { stdout, code } = await storage("adopt", path, "--into", "btrfs", "--copy", "--size", "24Mi");
  expect(code).toBe(0);
  const id: string = parse(stdout).spec.csi.volumeHandle;
  const target = await publish(id, "copied");
  expect(await readFile(join(target, "sub/file"))).toEqual(Buffer.alloc(2 * MIB, 7));
  expect(await readdir(target)).toEqual(["sub"]);
  expect((await stat(join(path, "sub/file"))).size).toBe(2 * MIB);
  await hide(id, "copied");
  await remove(id);
});

test("what is in use, mounted, linked or part of a pool is not adopted, and stays where it is", async () => {
  const path = join(scratch.root, "busy");
  await mkdir(path);
  await writeFile(join(path, "file"), "x");
  await symlink(path, join(scratch.root, "link"));
  const cases = [
    { path: join(scratch.root, "link"), says: "is no directory" },
    { path: join(scratch.root, "missing"), says: "does not exist" },
    { path: join(path, "file"), says: "is no directory" },
    { path: join(scratch.root, "pool/volumes"), says: "lie in one another" },
    { path: disk.path, says: "mount point" },
    { path: "/etc/ssl", says: "belongs to the host" },
  ];
  for (const { path: given, says } of cases) {
    const refused = await storage("adopt", given, "--into", "default");
    expect(refused.stderr).toContain(says);
    expect(refused.code).not.toBe(0);
  }
  const user = execFile("sleep", ["60"], { cwd: path });
  await sleep(50);
  const refused = await storage("adopt", path, "--into", "default");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("is in use by process") });
  user.kill();
  expect(await readFile(join(path, "file"), "utf8")).toBe("x");
});

test("without the daemon the command opens the pools itself, and beside another it does not", async () => {
  const id = await create("alone");
  const own = pools.flatMap((pool) => ["--pool", pool]);
  const elsewhere = [
    "--storage-socket",
    `unix://${scratch.root}/none.sock`,
    "--kubelet-root",
    scratch.kubeletRoot,
    ...own,
  ];
  const beside = await storage("undelete", id, ...elsewhere);
  expect(beside).toMatchObject({ code: 1, stderr: expect.stringContaining("no trivet node answers") });
  const pool = JSON.parse((await storage("pools", ...elsewhere, "-o", "json")).stdout)[0];
  expect(pool).toMatchObject({
    state: "unavailable",
    reason: expect.stringContaining("another process on this node"),
  });
  await node.stop();
  const alone = await storage("volumes", "-o", "json", "--kubelet-root", scratch.kubeletRoot, ...own);
  expect(JSON.parse(alone.stdout)).toMatchObject([{ id, claim: "shop/alone" }]);
  expect(alone.stderr).toContain("no trivet node answers");
  node = await startCsiNode(scratch, pools);
  await remove(id);
});
