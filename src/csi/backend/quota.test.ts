import { describe, expect, test } from "vitest";
import { createFakeCopier, type FakeCopier } from "../../../test/fakes/copier.ts";
import { createFakeFiles, type FakeFiles, type Survival } from "../../../test/fakes/files.ts";
import {
  emptyTrash,
  layout,
  makeVolume,
  poolDirectories,
  recordOf,
} from "../../../test/fakes/placed-volume.ts";
import { createFakeProjectQuota, type FakeProjectQuota } from "../../../test/fakes/quota.ts";
import { errnoError } from "../../host/errno.ts";
import type { Backend, PlacedVolume } from "./backend.ts";
import { createQuotaBackend } from "./quota.ts";
import { createProjectIds, defaultProjectIds } from "./quota-ids.ts";

const MIB = 1_048_576;

interface World {
  readonly files: FakeFiles;
  readonly quota: FakeProjectQuota;
  readonly backend: Backend;
  readonly copier: FakeCopier;
}

function worldOn(files: FakeFiles, quota: FakeProjectQuota): World {
  const ids = createProjectIds(quota);
  const copier = createFakeCopier(files);
  const backend = createQuotaBackend(
    { files, quota, ids, copier },
    { root: layout.root, how: "project quota" },
  );
  return { files, quota, backend, copier };
}

function createWorld(): World {
  const files = createFakeFiles({ directories: poolDirectories });
  return worldOn(files, createFakeProjectQuota(files));
}

/** What a new process finds, on the same disk. */
function restart({ files, quota }: World, survival: Survival): World {
  const next = files.crash(survival);
  return worldOn(next, quota.restart(next, survival !== "everything"));
}

const dataOf = ({ wrapper }: PlacedVolume) => `${wrapper}/data`;

describe("a volume with a project quota", () => {
  test("counts for a project of its own, which its wrapper does not have", async () => {
    const { files, quota, backend } = createWorld();
    const a = await makeVolume(files, backend, recordOf("a"));
    const b = await makeVolume(files, backend, recordOf("b"));
    expect(a.record.projectId).not.toBe(b.record.projectId);
    expect(a.record.projectId).toBeGreaterThanOrEqual(defaultProjectIds.first);
    expect(await quota.project(dataOf(a))).toEqual({ id: a.record.projectId, inherit: true });
    expect(await quota.project(a.wrapper)).toEqual({ id: 0, inherit: false });
    expect(quota.limits().get(a.record.projectId ?? 0)).toEqual({ bytes: 64 * MIB, inodes: 0 });
  });

  test("has the owner, the mode and the limit of inodes that its class says", async () => {
    const { files, backend } = createWorld();
    const owner = { mode: 0o2770, uid: 1000, gid: 2000 };
    const volume = await makeVolume(files, backend, recordOf("a", { owner, inodes: 50 }));
    expect(await files.stat(dataOf(volume))).toMatchObject(owner);
    expect((await backend.usage(volume, undefined)).inodes).toMatchObject({ total: 50, used: 1 });
  });

  test("is refused where limits are taken and not kept, and leaves no limit behind", async () => {
    const { files, quota, backend } = createWorld();
    quota.mode = { accounting: true, enforced: false };
    await expect(makeVolume(files, backend, recordOf("a"))).rejects.toMatchObject({
      kind: "precondition",
      message: expect.stringContaining("prjquota"),
    });
    expect(quota.limits()).toEqual(new Map());
  });

  test("grows by one call, and reports the new size at once", async () => {
    const { files, backend } = createWorld();
    const { wrapper, record } = await makeVolume(files, backend, recordOf("a"));
    const grown = { wrapper, record: { ...record, sizeBytes: 128 * MIB } };
    await backend.grow(grown, undefined);
    expect((await backend.usage(grown, undefined)).bytes.total).toBe(128 * MIB);
    expect(await backend.problem(grown)).toBeUndefined();
  });

  test("larger than the disk is no error: the pool's budget may say so", async () => {
    const { files, backend } = createWorld();
    const record = recordOf("a", { sizeBytes: 2 ** 45 });
    expect(await backend.problem(await makeVolume(files, backend, record))).toBeUndefined();
  });

  test("gets its limit back when the pool is opened after the quota tables were lost", async () => {
    const world = createWorld();
    const volume = await makeVolume(world.files, world.backend, recordOf("a", { inodes: 9 }));
    world.quota.loseLimits();
    expect(await world.backend.problem(volume)).toContain("limit is 0 bytes");
    const { backend, quota } = restart(world, "everything");
    await backend.reinstate(volume);
    expect(quota.limits().get(volume.record.projectId ?? 0)).toEqual({ bytes: 64 * MIB, inodes: 9 });
    expect(await backend.problem(volume)).toBeUndefined();
  });

  test("whose top directory was taken out of the project is told, and repaired when the pool is opened", async () => {
    const { files, quota, backend } = createWorld();
    const volume = await makeVolume(files, backend, recordOf("a"));
    await quota.setProject(dataOf(volume), { id: 0, inherit: false });
    expect(await backend.problem(volume)).toContain("counts for project 0");
    await backend.reinstate(volume);
    expect(await backend.problem(volume)).toBeUndefined();
  });

  test("is limited, with some slack, while it is copied: its source may be changed for ever", async () => {
    const { files, quota, backend, copier } = createWorld();
    const old = await makeVolume(files, backend, recordOf("old", { inodes: 80 }));
    const before = new Set(quota.limits().keys());
    const seen: unknown[] = [];
    copier.onEntry = async () => {
      for (const [id, limits] of quota.limits()) if (!before.has(id)) seen.push(limits);
    };
    const copy = await makeVolume(files, backend, recordOf("new", { inodes: 80 }), old);
    expect(seen).toEqual([{ bytes: 88 * MIB, inodes: 106 }]);
    expect(quota.limits().get(copy.record.projectId ?? 0)).toEqual({ bytes: 64 * MIB, inodes: 80 });
  });

  test("in which a tenant changed the project of a directory is told", async () => {
    const { files, quota, backend } = createWorld();
    const volume = await makeVolume(files, backend, recordOf("a"));
    await files.mkdir(`${dataOf(volume)}/escaped`, 0o755);
    await quota.setProject(`${dataOf(volume)}/escaped`, { id: 0, inherit: true });
    expect(await backend.problem(volume)).toMatch(/count for project 0.*escape the limit/);
  });

  test("with the id of another volume is refused when the pool is opened", async () => {
    const { files, backend } = createWorld();
    const a = await makeVolume(files, backend, recordOf("a"));
    const b = await makeVolume(files, backend, recordOf("b"));
    const same = { ...b, record: { ...b.record, projectId: a.record.projectId ?? 0 } };
    await expect(backend.reinstate(same)).rejects.toMatchObject({ kind: "precondition" });
  });

  test("is copied whole into a project of its own", async () => {
    const { files, quota, backend } = createWorld();
    const source = await makeVolume(files, backend, recordOf("a"));
    await files.mkdir(`${dataOf(source)}/deep`, 0o755);
    await files.create(`${dataOf(source)}/deep/file`, Buffer.from("content"), 0o640);
    const copy = await makeVolume(files, backend, recordOf("b"), source);
    expect(String(await files.read(`${dataOf(copy)}/deep/file`))).toBe("content");
    const own = { id: copy.record.projectId, inherit: true };
    expect(await quota.project(dataOf(copy))).toEqual(own);
    expect(await quota.project(`${dataOf(copy)}/deep`)).toEqual(own);
    expect(await quota.project(copy.wrapper)).toEqual({ id: 0, inherit: false });
    expect(await backend.problem(copy)).toBeUndefined();
  });
});

describe("project ids", () => {
  const quotas = () => {
    const files = createFakeFiles({ directories: ["/pool"] });
    return { files, quota: createFakeProjectQuota(files) };
  };

  test("that have a limit or are used by anybody are not taken", async () => {
    const { files, quota } = quotas();
    const range = { first: 100, last: 102 };
    await quota.setLimits("/pool", 100, { bytes: MIB, inodes: 0 });
    await files.mkdir("/pool/foreign", 0o755);
    await quota.setProject("/pool/foreign", { id: 101, inherit: false });
    const ids = createProjectIds(quota, range);
    expect(await ids.take("/pool", "a")).toBe(102);
    await expect(ids.take("/pool", "b")).rejects.toMatchObject({ kind: "exhausted" });
    ids.release(102, "a");
    expect(await ids.take("/pool", "b")).toBe(102);
  });

  test("taken at once are different, before the file system knows of any", async () => {
    const ids = createProjectIds(quotas().quota, { first: 1, last: 40 });
    const taken = await Promise.all(Array.from({ length: 40 }, (_, index) => ids.take("/pool", `v${index}`)));
    expect(new Set(taken).size).toBe(40);
  });

  test("are given back by their owner only", async () => {
    const ids = createProjectIds(quotas().quota, { first: 7, last: 7 });
    await ids.take("/pool", "a");
    ids.release(7, "b");
    expect([ids.mayBelongTo(7, "a"), ids.mayBelongTo(7, "b"), ids.mayBelongTo(8, "a")]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("a fault sweep of a volume with a project quota", () => {
  const scenarios = {
    build: async ({ files, backend }: World) => {
      await makeVolume(files, backend, recordOf("new"));
    },
    copy: async ({ files, backend }: World, old: PlacedVolume) => {
      await makeVolume(files, backend, recordOf("new"), old);
    },
    grow: async ({ backend }: World, { wrapper, record }: PlacedVolume) => {
      await backend.grow({ wrapper, record: { ...record, sizeBytes: 128 * MIB } }, undefined);
    },
    dismantle: async ({ files, backend }: World, old: PlacedVolume) => {
      await files.rename(old.wrapper, `${layout.trash}/${old.record.id}.0.9`);
      await files.sync(layout.volumes);
      await files.sync(layout.trash);
      await emptyTrash(files, backend);
    },
  };

  /** Runs to the effect number `stopAt`, which fails or ends the process; tells whether it came so far. */
  async function runTo(world: World, stopAt: number, how: "fails" | "dies", act: () => Promise<void>) {
    let effects = 0;
    const hook = (op: string, path: string) => {
      if (++effects !== stopAt) return;
      if (how === "fails") throw errnoError("EIO", op, path);
      world.files.halt();
      world.quota.halt();
    };
    world.files.onEffect = hook;
    world.quota.onEffect = hook;
    const outcome = await act().then(
      () => "done" as const,
      () => "failed" as const,
    );
    world.files.onEffect = undefined;
    world.quota.onEffect = undefined;
    return { outcome, reached: effects >= stopAt };
  }

  /** The volumes that are there, with limits in force, and no limit for anything else. */
  async function requireSound(world: World, old: PlacedVolume): Promise<void> {
    const { files, quota, backend } = world;
    const limits = new Set<number>();
    for (const { name } of await files.list(layout.volumes)) {
      const wrapper = `${layout.volumes}/${name}`;
      const record = JSON.parse(String(await files.read(`${wrapper}/meta.json`)));
      await backend.reinstate({ wrapper, record });
      expect(await backend.problem({ wrapper, record })).toBeUndefined();
      expect(await quota.project(wrapper)).toEqual({ id: 0, inherit: false });
      limits.add(record.projectId);
    }
    await emptyTrash(files, backend);
    expect(new Set(quota.limits().keys())).toEqual(limits);
    if (await files.stat(old.wrapper).catch(() => undefined)) {
      expect(String(await files.read(`${dataOf(old)}/precious`))).toBe("precious");
    }
    const again = await makeVolume(files, backend, recordOf("another"));
    expect(limits).not.toContain(again.record.projectId);
  }

  test.each(
    Object.entries(scenarios).flatMap(([name, act]) => [
      { name, act, how: "fails" as const, survival: "everything" as const },
      { name, act, how: "dies" as const, survival: "everything" as const },
      { name, act, how: "dies" as const, survival: "synced" as const },
      { name, act, how: "dies" as const, survival: "names" as const },
    ]),
  )("$name: an effect $how, $survival survives", async ({ act, how, survival }) => {
    let stops = 0;
    for (let stopAt = 1; stopAt < 400; stopAt++) {
      const world = createWorld();
      const old = await makeVolume(world.files, world.backend, recordOf("old"));
      await world.files.create(`${dataOf(old)}/precious`, Buffer.from("precious"), 0o600);
      world.files.settle();
      const { reached } = await runTo(world, stopAt, how, () => act(world, old));
      if (!reached) break;
      stops += 1;
      await requireSound(how === "fails" ? world : restart(world, survival), old);
    }
    expect(stops).toBeGreaterThan(5);
  });
});
