/** Volumes with project quotas on real XFS and ext4: what a tenant meets, what survives, what is found out. */
import assert from "node:assert/strict";
import { link, mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import type { Backend, PlacedVolume } from "../../../src/csi/backend/backend.ts";
import { type ProbeFinding, probeBackend } from "../../../src/csi/backend/probe.ts";
import { createQuotaBackend } from "../../../src/csi/backend/quota.ts";
import { createProjectIds } from "../../../src/csi/backend/quota-ids.ts";
import type { BackendSetting } from "../../../src/csi/pool/config.ts";
import { poolLayout } from "../../../src/csi/pool/layout.ts";
import { createBtrfs } from "../../../src/host/btrfs.ts";
import { createCopier } from "../../../src/host/copy-tree.ts";
import { createFiles } from "../../../src/host/files.ts";
import { createMounts } from "../../../src/host/mount.ts";
import { createProjectQuota } from "../../../src/host/quota.ts";
import { writeAsNobody } from "../../e2e/support/writer.ts";
import { recordOf } from "../../fakes/placed-volume.ts";
import { type DiskName, mountDisk, syscalls, unmountDisk, withDisk } from "./disks.ts";
import { type GuestCase, runCases } from "./run-cases.ts";

const MIB = 1_048_576;
const refusedWith = { xfs: 28, ext4: 122 } as const; // ENOSPC, EDQUOT
const [files, quota, mounts] = [createFiles(syscalls), createProjectQuota(syscalls), createMounts(syscalls)];
const copier = createCopier(syscalls);
const options = { signal: new AbortController().signal, onProgress: () => undefined };
const dataOf = ({ wrapper }: PlacedVolume) => `${wrapper}/data`;

/** A backend as a new process has it. */
function backendOn(path: string): Backend {
  return createQuotaBackend({ files, quota, copier, ids: createProjectIds(quota) }, { root: path, how: "" });
}

let counter = 0;
/** A volume in a wrapper that others may walk through, for the sake of the writer. */
async function build(path: string, mebibytes: number, from?: PlacedVolume): Promise<PlacedVolume> {
  const record = recordOf(`volume-${++counter}`, { sizeBytes: mebibytes * MIB });
  const wrapper = `${path}/${record.id}`;
  await mkdir(wrapper, { mode: 0o755 });
  const backend = backendOn(path);
  const volume = { wrapper, record };
  const chosen = from ? await backend.copy(volume, from, options) : await backend.build(volume);
  return { wrapper, record: { ...record, ...chosen } };
}

async function probe(path: string, wanted: BackendSetting): Promise<ProbeFinding> {
  const layout = poolLayout(path);
  for (const each of [layout.own, layout.staging, layout.trash, layout.volumes]) {
    await mkdir(each, { recursive: true, mode: 0o700 });
  }
  const ids = createProjectIds(quota);
  const deps = {
    files,
    mounts,
    quota,
    btrfs: createBtrfs(syscalls),
    ids,
    randomUuid: () => crypto.randomUUID(),
  };
  return probeBackend(deps, { name: "guest", layout, wanted });
}

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => assert.fail("it succeeded"),
    ({ kind, message }: { kind: string; message: string }) => ({ kind, message }),
  );

function enforced(name: "xfs" | "ext4", path: string): readonly GuestCase[] {
  return [
    {
      title: "probing finds project quotas that are in force, and leaves nothing behind",
      async run() {
        for (const wanted of ["auto", "quota"] as const) {
          const { backend, how, advice } = await probe(path, wanted);
          assert.deepEqual(
            [backend, how, advice],
            ["quota", `${name === "xfs" ? "XFS" : name} project quota`, undefined],
          );
        }
        assert.deepEqual(await readdir(poolLayout(path).staging), []);
      },
    },
    {
      title: "a writer is stopped at the size, goes on when the volume grows, and no mount changes",
      async run() {
        const volume = await build(path, 16);
        const before = (await mounts.list()).length;
        const first = await writeAsNobody(`${dataOf(volume)}/file`, 64 * MIB);
        assert.equal(first.errno, refusedWith[name]);
        assert.ok(first.bytes > 15 * MIB && first.bytes <= 16 * MIB, `${first.bytes} bytes at first`);
        await backendOn(path).grow(
          { ...volume, record: { ...volume.record, sizeBytes: 24 * MIB } },
          undefined,
        );
        const second = await writeAsNobody(`${dataOf(volume)}/file`, 64 * MIB);
        assert.equal(second.errno, refusedWith[name]);
        const size = (await stat(`${dataOf(volume)}/file`)).size;
        assert.ok(size > 23 * MIB && size <= 24 * MIB, `${size} bytes in the end`);
        assert.equal((await mounts.list()).length, before);
      },
    },
    {
      title: "the record beside a full volume can still be written",
      async run() {
        const volume = await build(path, 4);
        assert.equal((await writeAsNobody(`${dataOf(volume)}/file`, 64 * MIB)).errno, refusedWith[name]);
        await writeFile(`${volume.wrapper}/.meta.json.tmp`, "x".repeat(8_192), { flush: true });
        await rename(`${volume.wrapper}/.meta.json.tmp`, `${volume.wrapper}/meta.json`);
        assert.equal((await readFile(`${volume.wrapper}/meta.json`)).length, 8_192);
      },
    },
    {
      title: "df in the volume shows its size, through a bind mount too, and so do the statistics",
      async run() {
        const volume = await build(path, 16);
        await writeAsNobody(`${dataOf(volume)}/file`, 4 * MIB);
        await mkdir("/tmp/pod", { recursive: true });
        await mounts.bind(dataOf(volume), "/tmp/pod", { readOnly: false, flags: ["nosuid", "nodev"] });
        try {
          for (const shown of [dataOf(volume), "/tmp/pod"]) {
            const { totalBytes, freeBytes } = await files.space(shown);
            assert.equal(totalBytes, 16 * MIB);
            assert.ok(Math.abs(totalBytes - freeBytes - 4 * MIB) < MIB / 4, `${freeBytes} bytes free`);
          }
        } finally {
          await mounts.unmount("/tmp/pod");
        }
        const { bytes } = await backendOn(path).usage(volume, undefined);
        assert.equal(bytes.total, 16 * MIB);
        assert.ok(Math.abs(bytes.used - 4 * MIB) < MIB / 4, `${bytes.used} bytes used`);
      },
    },
    {
      title: "a limit of inodes stops the writer of many small files",
      async run() {
        const record = recordOf("many-files", { sizeBytes: 16 * MIB, inodes: 10 });
        const wrapper = `${path}/${record.id}`;
        await mkdir(wrapper, { mode: 0o755 });
        await backendOn(path).build({ wrapper, record });
        assert.equal((await files.space(`${wrapper}/data`)).totalInodes, 10);
        const outcomes: number[] = [];
        for (let index = 0; index < 11; index++) {
          outcomes.push((await writeAsNobody(`${wrapper}/data/${index}`, 1)).errno);
        }
        // The top directory is one of the ten.
        assert.deepEqual(outcomes.slice(0, 9), Array(9).fill(0));
        assert.deepEqual(outcomes.slice(9), Array(2).fill(refusedWith[name]));
      },
    },
    {
      title: "a copy counts for itself, hard links included, and its source for itself",
      async run() {
        const source = await build(path, 16);
        await writeFile(`${dataOf(source)}/a`, Buffer.alloc(3 * MIB, 7));
        await link(`${dataOf(source)}/a`, `${dataOf(source)}/b`);
        await mkdir(`${dataOf(source)}/d`);
        await link(`${dataOf(source)}/a`, `${dataOf(source)}/d/c`);
        const copy = await build(path, 16, source);
        assert.notEqual(copy.record.projectId, source.record.projectId);
        assert.equal((await stat(`${dataOf(copy)}/d/c`)).nlink, 3);
        const { projects } = await quota.sample(dataOf(copy), 50);
        assert.deepEqual(projects, new Set([copy.record.projectId]));
        const read = await quota.read(path, copy.record.projectId ?? 0);
        assert.equal(read.usedInodes, 3);
        assert.ok(read.usedBytes >= 3 * MIB && read.usedBytes < 4 * MIB, `${read.usedBytes} bytes`);
        assert.deepEqual(await quota.project(copy.wrapper), { id: 0, inherit: false });
        assert.equal(await backendOn(path).problem(copy), undefined);
      },
    },
    {
      title: "a tenant that changes the project of its files is found out",
      async run() {
        const volume = await build(path, 16);
        await mkdir(`${dataOf(volume)}/escaped`);
        assert.equal(await backendOn(path).problem(volume), undefined);
        await quota.setProject(`${dataOf(volume)}/escaped`, { id: 0, inherit: false });
        assert.match((await backendOn(path).problem(volume)) ?? "", /escape the limit/);
        await quota.setProject(dataOf(volume), { id: 0, inherit: false });
        assert.match((await backendOn(path).problem(volume)) ?? "", /counts for project 0/);
      },
    },
    {
      title: "an id is free again only when both the limit and the files are gone",
      async run() {
        const volume = await build(path, 16);
        const id = volume.record.projectId ?? 0;
        await writeFile(`${dataOf(volume)}/file`, "x");
        await backendOn(path).dismantle(volume.wrapper);
        const read = await quota.read(path, id);
        assert.deepEqual([read.bytes, read.usedInodes], [0, 2]);
        await files.removeTree(volume.wrapper);
        for (let turn = 0; (await quota.read(path, id)).usedInodes > 0; turn++) {
          assert.ok(turn < 200, "its inodes are still counted");
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.deepEqual(await quota.read(path, id), { bytes: 0, inodes: 0, usedBytes: 0, usedInodes: 0 });
      },
    },
  ];
}

/** What outlives a remount, and what a lost quota table takes; the volume is made before, and looked at after. */
async function runAcrossMounts(name: "xfs" | "ext4"): Promise<void> {
  const path = await mountDisk(name);
  const volume = await build(path, 16);
  await unmountDisk(name);
  await mountDisk(name);
  await runCases(`${name} after a remount`, [
    {
      title: "project and limit are what they were, and a writer is stopped",
      async run() {
        const id = volume.record.projectId ?? 0;
        assert.deepEqual(await quota.project(dataOf(volume)), { id, inherit: true });
        assert.equal((await quota.read(path, id)).bytes, 16 * MIB);
        assert.equal((await writeAsNobody(`${dataOf(volume)}/file`, 64 * MIB)).errno, refusedWith[name]);
      },
    },
    {
      title: "a limit that was lost is back in force when the pool is opened",
      async run() {
        const id = volume.record.projectId ?? 0;
        await quota.setLimits(path, id, { bytes: 0, inodes: 0 });
        assert.equal((await writeAsNobody(`${dataOf(volume)}/file`, 2 * MIB)).errno, 0);
        assert.match((await backendOn(path).problem(volume)) ?? "", /the limit is 0 bytes/);
        await backendOn(path).reinstate(volume);
        assert.equal((await writeAsNobody(`${dataOf(volume)}/file`, 2 * MIB)).errno, refusedWith[name]);
      },
    },
    {
      title: "a pool that passes a project on to what is made in it is refused",
      async run() {
        await quota.setProject(path, { id: 77, inherit: true });
        const { kind, message } = await rejection(probe(path, "quota"));
        await quota.setProject(path, { id: 0, inherit: false });
        assert.equal(kind, "unavailable");
        assert.match(message, /chattr -P/);
      },
    },
  ]);
  await unmountDisk(name);
}

/** Mounted in such a way that nothing is enforced. */
const unenforced = [
  { disk: "ext4", data: "", remedy: /tune2fs -O project,quota .*mount -o prjquota/ },
  { disk: "xfs", data: "", remedy: /mount -o prjquota/ },
  { disk: "ext4", data: "noquota", remedy: /tune2fs -O project,quota .*mount -o prjquota/ },
  { disk: "xfs", data: "noquota", remedy: /mount -o prjquota/ },
  { disk: "plain", data: "", remedy: /tune2fs -O project,quota/ },
] as const satisfies readonly { disk: DiskName; data: string; remedy: RegExp }[];

async function runUnenforced(): Promise<void> {
  for (const { disk, data, remedy } of unenforced) {
    await withDisk(disk, data, async (path) => {
      await runCases(`${disk} with "${data}"`, [
        {
          title:
            "probing says that limits are not kept, and what to do; asked for quotas, the pool is unavailable",
          async run() {
            const { backend, advice } = await probe(path, "auto");
            assert.equal(backend, "directory");
            assert.match(advice ?? "", remedy);
            const { kind, message } = await rejection(probe(path, "quota"));
            assert.equal(kind, "unavailable");
            assert.match(message, remedy);
            assert.deepEqual(await readdir(poolLayout(path).staging), []);
          },
        },
        {
          title: "a volume with a quota is not made, since nothing would keep its limit",
          async run() {
            const record = recordOf(`trap-${disk}`);
            await mkdir(`${path}/trap`);
            const { kind } = await rejection(backendOn(path).build({ wrapper: `${path}/trap`, record }));
            assert.ok(["precondition", "unsupported", "not-found"].includes(kind), kind);
            await files.removeTree(`${path}/trap`);
          },
        },
      ]);
    });
  }
}

/** All of it. */
export async function runQuotaVolumes(): Promise<void> {
  for (const name of ["xfs", "ext4"] as const) {
    const path = await mountDisk(name);
    await runCases(`volumes on ${name}`, enforced(name, path));
    await unmountDisk(name);
    await runAcrossMounts(name);
  }
  await runUnenforced();
}
