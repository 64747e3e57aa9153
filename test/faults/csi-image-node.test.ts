/**
 * Fault sweep of the node service on a pool of images, for mounted and for block volumes: staging, publishing and their
 * ends are stopped at each effect on files, mounts and devices; the retry then finds everything as it should be, and in
 * the end no mount and no device is left.
 */
import { describe, expect, test } from "vitest";
import { createDriver, type Driver } from "../../src/csi/driver.ts";
import { parsePoolFlag } from "../../src/csi/pool/config.ts";
import { errnoError } from "../../src/host/errno.ts";
import { silentLog } from "../../src/observe/log.ts";
import { createFakeCsiEffects } from "../fakes/csi-effects.ts";
import { createFakeFiles, type FakeFiles } from "../fakes/files.ts";
import { createFakeLoops, type FakeLoops } from "../fakes/loop.ts";
import { createFakeImages } from "../fakes/mkfs.ts";
import { createFakeMounts, type FakeMounts } from "../fakes/mount.ts";

const STAGING = "/kubelet/staging";
const TARGET = "/kubelet/pods/a/target";
const SIZE = 16 * 2 ** 20;

interface Machine {
  readonly files: FakeFiles;
  readonly mounts: FakeMounts;
  readonly loops: FakeLoops;
  readonly driver: Driver;
  watch(hook: ((effect: string) => void) | undefined): void;
  halt(): void;
}

async function boot(): Promise<Machine> {
  const directories = ["/disk", "/state", "/dev", "/kubelet/pods/a", STAGING];
  const files = createFakeFiles({ directories });
  for (let n = 0; n < 4; n++) await files.create(`/dev/loop${n}`, Buffer.alloc(0), 0o600);
  files.settle();
  const mounts = createFakeMounts({ files, busy: files });
  mounts.add({ mountPoint: "/dev", device: "0:5", root: "/", fsType: "devtmpfs", source: "udev" });
  return start(files, mounts, createFakeLoops(files));
}

async function start(files: FakeFiles, mounts: FakeMounts, loops: FakeLoops): Promise<Machine> {
  const images = createFakeImages(files, loops);
  const driver = createDriver({
    ...{ nodeId: "node-1", driverVersion: "0", kubeletRoot: "/kubelet", stateDir: "/state" },
    pools: [parsePoolFlag("default=/disk/pool,backend=image")],
    deps: { ...createFakeCsiEffects(files), mounts, loops, ...images },
    log: silentLog,
  });
  const watched = [files, mounts, loops, images];
  const machine: Machine = {
    ...{ files, mounts, loops, driver },
    watch(hook) {
      const effect = (op: string, path: string, when: string) => hook?.(`${when} ${op} ${path}`);
      for (const one of watched) one.onEffect = hook && effect;
    },
    halt() {
      for (const one of watched) one.halt();
    },
  };
  await driver.scan();
  return machine;
}

/** The process died, and another one takes its place on the same machine. */
function replace(machine: Machine): Promise<Machine> {
  machine.halt();
  const files = machine.files.crash("everything");
  return start(
    files,
    machine.mounts.restart({ files, busy: files }, false),
    machine.loops.restart(files, false),
  );
}

async function call<T = object>({ driver }: Machine, method: string, request: object): Promise<T> {
  const [service = "", name = ""] = method.split(".");
  const handler = driver.handlers[service]?.[name];
  if (!handler) throw new Error(`no method ${method}`);
  return (await handler(request, { signal: new AbortController().signal })) as T;
}

const accesses = {
  mount: { mount: { fs_type: "", mount_flags: [], volume_mount_group: "" }, block: null },
  block: { mount: null, block: {} },
} as const;
type Access = keyof typeof accesses;

const capabilityOf = (access: Access) => ({
  ...accesses[access],
  access_mode: { mode: "SINGLE_NODE_WRITER" },
});

async function create(machine: Machine, access: Access): Promise<string> {
  const { volume } = await call<{ volume: { volume_id: string } }>(machine, "Controller.CreateVolume", {
    ...{ name: "one", parameters: {}, mutable_parameters: {}, volume_capabilities: [capabilityOf(access)] },
    capacity_range: { required_bytes: String(SIZE), limit_bytes: "0" },
    ...{ volume_content_source: null, accessibility_requirements: null },
  });
  machine.files.settle();
  return volume.volume_id;
}

const requestOf = (volume_id: string, access: Access) => ({
  ...{ volume_id, staging_target_path: STAGING, target_path: TARGET, readonly: false, volume_context: {} },
  volume_capability: capabilityOf(access),
});

const steps = ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"] as const;

/** Everything up to the step that is swept. */
async function prepare(access: Access, step: (typeof steps)[number]) {
  const machine = await boot();
  const id = await create(machine, access);
  for (const before of steps.slice(0, steps.indexOf(step))) {
    await call(machine, `Node.${before}`, requestOf(id, access));
  }
  return { machine, id };
}

/** The rest of the volume's life, after which nothing of it may be left. */
async function finish(machine: Machine, id: string, access: Access): Promise<void> {
  for (const step of steps) await call(machine, `Node.${step}`, requestOf(id, access));
  expect((await machine.mounts.list()).map(({ mountPoint }) => mountPoint)).toEqual(["/", "/dev"]);
  expect([...machine.loops.devices.keys()]).toEqual([]);
  await expect(machine.files.stat(TARGET)).rejects.toMatchObject({ kind: "not-found" });
  await call(machine, "Controller.DeleteVolume", { volume_id: id });
}

async function requireAt(machine: Machine, access: Access, path: string): Promise<void> {
  const [device] = machine.loops.devices.keys();
  const shown = (await machine.mounts.list()).filter(({ mountPoint }) => mountPoint === path);
  const seen = shown.map(({ source, root }) => (access === "block" ? `/dev${root}` : source));
  expect(seen).toEqual([device]);
}

describe.each(Object.keys(accesses) as Access[])("a %s volume of an image", (access) => {
  test.each(steps)("%s is whole whichever of its effects fails, or kills the process", async (step) => {
    const counted = await prepare(access, step);
    let events = 0;
    counted.machine.watch(() => events++);
    await call(counted.machine, `Node.${step}`, requestOf(counted.id, access));
    counted.machine.watch(undefined);
    expect(events).toBeGreaterThan(0);
    for (const isKilled of [false, true]) {
      for (let n = 0; n < events; n++) {
        const { machine, id } = await prepare(access, step);
        let count = 0;
        machine.watch(() => {
          if (count++ !== n) return;
          if (isKilled) machine.halt();
          else throw errnoError("EIO", "injected", `event ${n}`);
        });
        await call(machine, `Node.${step}`, requestOf(id, access)).catch(() => undefined);
        machine.watch(undefined);
        const next = isKilled ? await replace(machine) : machine;
        await call(next, `Node.${step}`, requestOf(id, access));
        if (step === "NodePublishVolume") await requireAt(next, access, TARGET);
        if (step === "NodeStageVolume" && access === "mount") await requireAt(next, access, STAGING);
        await finish(next, id, access);
      }
    }
  });

  test("is published after the power was cut without being staged again", async () => {
    const { machine, id } = await prepare(access, "NodeUnpublishVolume");
    machine.halt();
    const files = machine.files.crash("synced");
    const mounts = machine.mounts.restart({ files, busy: files }, true);
    mounts.add({ mountPoint: "/dev", device: "0:5", root: "/", fsType: "devtmpfs", source: "udev" });
    const next = await start(files, mounts, machine.loops.restart(files, true));
    await call(next, "Node.NodePublishVolume", requestOf(id, access));
    await requireAt(next, access, TARGET);
    await finish(next, id, access);
  });

  test.each(["NodeStageVolume", "NodePublishVolume"] as const)(
    "that %s refuses to show is attached no more: nobody would ever unstage it",
    async (step) => {
      const { machine, id } = await prepare(access, "NodeStageVolume");
      await machine.files.mkdir(TARGET, 0o750);
      for (const path of [STAGING, TARGET]) {
        await machine.files.create(`${path}/foreign`, Buffer.from("x"), 0o600);
      }
      if (step === "NodeStageVolume" && access === "block") return; // nothing is shown at its staging path
      await expect(call(machine, `Node.${step}`, requestOf(id, access))).rejects.toThrow();
      expect([...machine.loops.devices.keys()]).toEqual([]);
    },
  );
});

test("an image that is unstaged while its pool is away keeps no device, and so not the disk", async () => {
  const { machine, id } = await prepare("mount", "NodePublishVolume");
  await machine.files.rename("/disk/pool/.pool/pool.json", "/disk/pool.json");
  await call(machine, "Node.NodeUnstageVolume", requestOf(id, "mount"));
  expect([...machine.loops.devices.keys()]).toEqual([]);
  await call(machine, "Node.NodeUnstageVolume", requestOf(id, "mount"));
});
