import { describe, expect, test } from "vitest";
import { createFakeBtrfs, type FakeBtrfs } from "../../../test/fakes/btrfs.ts";
import { createFakeCopier } from "../../../test/fakes/copier.ts";
import { createFakeFiles, type FakeFiles, type Survival } from "../../../test/fakes/files.ts";
import {
  emptyTrash,
  layout,
  makeVolume,
  poolDirectories,
  recordOf,
} from "../../../test/fakes/placed-volume.ts";
import { errnoError } from "../../host/errno.ts";
import type { Backend, PlacedVolume } from "./backend.ts";
import { createBtrfsBackend } from "./btrfs.ts";

const MIB = 1_048_576;

interface World {
  readonly files: FakeFiles;
  readonly btrfs: FakeBtrfs;
  readonly backend: Backend;
}

function worldOn(files: FakeFiles, btrfs: FakeBtrfs): World {
  const deps = { files, btrfs, copier: createFakeCopier(files), clock: { sleep: async () => undefined } };
  return { files, btrfs, backend: createBtrfsBackend(deps) };
}

function createWorld(): World {
  const files = createFakeFiles({ directories: poolDirectories });
  return worldOn(files, createFakeBtrfs(files));
}

function restart({ files, btrfs }: World, survival: Survival): World {
  const next = files.crash(survival);
  return worldOn(next, btrfs.restart(next));
}

const dataOf = ({ wrapper }: PlacedVolume) => `${wrapper}/data`;

async function idOf({ btrfs }: World, path: string): Promise<number> {
  const id = await btrfs.subvolume(path);
  if (id === undefined) throw new Error(`${path} is no subvolume`);
  return id;
}

describe("a volume as a btrfs subvolume", () => {
  test("is limited by its quota group, and has the owner and mode of its class", async () => {
    const world = createWorld();
    const owner = { mode: 0o2770, uid: 1000, gid: 2000 };
    const volume = await makeVolume(world.files, world.backend, recordOf("a", { owner }));
    expect(world.btrfs.groups().get(await idOf(world, dataOf(volume)))).toBe(64 * MIB);
    expect(await world.files.stat(dataOf(volume))).toMatchObject(owner);
    expect((await world.backend.usage(volume, undefined)).bytes).toMatchObject({ total: 64 * MIB });
    expect(await world.backend.problem(volume)).toBeUndefined();
  });

  test("cannot have a limit of inodes: the parameter is named", async () => {
    const { files, backend } = createWorld();
    await expect(makeVolume(files, backend, recordOf("a", { inodes: 10 }))).rejects.toMatchObject({
      kind: "invalid",
      subject: "parameters.inodes",
    });
  });

  test("is copied by a snapshot, which has a limit of its own", async () => {
    const world = createWorld();
    const source = await makeVolume(world.files, world.backend, recordOf("a"));
    await world.files.create(`${dataOf(source)}/file`, Buffer.from("content"), 0o640);
    const record = recordOf("b", { sizeBytes: 128 * MIB });
    const copy = await makeVolume(world.files, world.backend, record, source);
    expect(String(await world.files.read(`${dataOf(copy)}/file`))).toBe("content");
    expect(world.btrfs.groups().get(await idOf(world, dataOf(copy)))).toBe(128 * MIB);
  });

  test("is not copied while it holds subvolumes, which a snapshot would leave out", async () => {
    const world = createWorld();
    const source = await makeVolume(world.files, world.backend, recordOf("a"));
    await world.btrfs.createSubvolume(`${dataOf(source)}/inner`);
    await expect(makeVolume(world.files, world.backend, recordOf("b"), source)).rejects.toMatchObject({
      kind: "precondition",
    });
  });

  test("that holds subvolumes of its tenant is limited together with them, at every look", async () => {
    const world = createWorld();
    const { files, btrfs, backend } = world;
    const volume = await makeVolume(files, backend, recordOf("a"));
    const inner = `${dataOf(volume)}/inner`;
    await btrfs.createSubvolume(inner);
    await files.create(`${inner}/file`, Buffer.alloc(8 * MIB), 0o600);
    expect(await backend.problem(volume)).toBeUndefined();
    const [outerId, innerId] = [await idOf(world, dataOf(volume)), await idOf(world, inner)];
    const limits = [btrfs.groups().get(outerId) ?? 0, btrfs.groups().get(innerId) ?? 0];
    expect(limits[1]).toBeLessThan(9 * MIB);
    expect((limits[0] ?? 0) + (limits[1] ?? 0)).toBe(64 * MIB);
    expect((await backend.usage(volume, undefined)).bytes.used).toBeGreaterThan(8 * MIB);
    await btrfs.destroySubvolume(layout.root, innerId);
    expect(await backend.problem(volume)).toBeUndefined();
    expect(btrfs.groups().get(outerId)).toBe(64 * MIB);
  });

  test("has a problem while quotas are off, with the command that turns them on", async () => {
    const { files, btrfs, backend } = createWorld();
    const volume = await makeVolume(files, backend, recordOf("a"));
    btrfs.state = { mode: "off", consistent: false, rescanning: false };
    expect(await backend.problem(volume)).toContain("btrfs quota enable");
    await expect(backend.reinstate(volume)).rejects.toMatchObject({ kind: "precondition" });
  });

  test("has a problem while the kernel does not count, and that is put right by a rescan", async () => {
    const { files, btrfs, backend } = createWorld();
    const volume = await makeVolume(files, backend, recordOf("a"));
    btrfs.state = { mode: "full", consistent: false, rescanning: false };
    expect(await backend.problem(volume)).toContain("counts its quotas anew");
    expect(await backend.problem(volume)).toBeUndefined();
  });

  test("is taken apart with all that its tenant made in it, and no quota group stays", async () => {
    const world = createWorld();
    const { files, btrfs, backend } = world;
    const volume = await makeVolume(files, backend, recordOf("a"));
    await btrfs.createSubvolume(`${dataOf(volume)}/inner`);
    await files.mkdir(`${dataOf(volume)}/inner/d`, 0o755);
    await btrfs.createSubvolume(`${dataOf(volume)}/inner/d/deep`);
    await files.rename(volume.wrapper, `${layout.trash}/${volume.record.id}.0.1`);
    await emptyTrash(files, backend);
    expect(btrfs.groups()).toEqual(new Map());
    expect(await files.list(layout.trash)).toEqual([]);
  });
});

describe("a fault sweep of a volume as a btrfs subvolume", () => {
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
    dismantle: async ({ files, btrfs, backend }: World, old: PlacedVolume) => {
      await btrfs.createSubvolume(`${dataOf(old)}/inner`);
      await files.rename(old.wrapper, `${layout.trash}/${old.record.id}.0.9`);
      await files.sync(layout.volumes);
      await files.sync(layout.trash);
      await emptyTrash(files, backend);
    },
  };

  async function runTo(world: World, stopAt: number, how: "fails" | "dies", act: () => Promise<void>) {
    let effects = 0;
    const hook = (op: string, path: string) => {
      if (++effects !== stopAt) return;
      if (how === "fails") throw errnoError("EIO", op, path);
      world.files.halt();
      world.btrfs.halt();
    };
    world.files.onEffect = hook;
    world.btrfs.onEffect = hook;
    await act().catch(() => undefined);
    world.files.onEffect = undefined;
    world.btrfs.onEffect = undefined;
    return effects >= stopAt;
  }

  async function requireSound({ files, btrfs, backend }: World, old: PlacedVolume): Promise<void> {
    for (const { name } of await files.list(layout.volumes)) {
      const wrapper = `${layout.volumes}/${name}`;
      const record = JSON.parse(String(await files.read(`${wrapper}/meta.json`)));
      await backend.reinstate({ wrapper, record });
      expect(await backend.problem({ wrapper, record })).toBeUndefined();
      expect(await btrfs.subvolume(`${wrapper}/data`)).toBeDefined();
    }
    await emptyTrash(files, backend);
    expect([...(await files.list(layout.staging)), ...(await files.list(layout.trash))]).toEqual([]);
    if (await files.stat(old.wrapper).catch(() => undefined)) {
      expect(String(await files.read(`${dataOf(old)}/precious`))).toBe("precious");
    }
    await makeVolume(files, backend, recordOf("another"));
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
      if (!(await runTo(world, stopAt, how, () => act(world, old)))) break;
      stops += 1;
      await requireSound(how === "fails" ? world : restart(world, survival), old);
    }
    expect(stops).toBeGreaterThan(5);
  });
});
