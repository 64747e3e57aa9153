import { expect, test } from "vitest";
import { createFakeBtrfs } from "../../../test/fakes/btrfs.ts";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { createFakeMounts } from "../../../test/fakes/mount.ts";
import { layout, poolDirectories } from "../../../test/fakes/placed-volume.ts";
import { createFakeProjectQuota } from "../../../test/fakes/quota.ts";
import type { MountInfo } from "../../host/mount.ts";
import type { BackendSetting } from "../pool/config.ts";
import { probeBackend } from "./probe.ts";
import { mountOf, remedyFor, remedyOf } from "./probe-remedy.ts";
import { createProjectIds } from "./quota-ids.ts";

const types = { ext4: 0xef53, xfs: 0x58465342, btrfs: 0x9123683e, tmpfs: 0x01021994 };

function worldOf(fsType: keyof typeof types) {
  const files = createFakeFiles({ directories: poolDirectories });
  files.fileSystem = { ...files.fileSystem, type: types[fsType] };
  const [quota, btrfs] = [createFakeProjectQuota(files), createFakeBtrfs(files)];
  if (fsType !== "btrfs") btrfs.state = "none";
  if (fsType === "btrfs" || fsType === "tmpfs") quota.mode = "none";
  const mounts = createFakeMounts({ files });
  mounts.add({ device: "8:1", root: "/", mountPoint: "/pool", fsType, source: "/dev/sdb1" });
  const deps = { files, mounts, quota, btrfs, ids: createProjectIds(quota), randomUuid: () => "u" };
  const probe = (wanted: BackendSetting) => probeBackend(deps, { name: "p", layout, wanted });
  return { files, quota, btrfs, probe };
}

test.each([
  ["xfs", "quota", "XFS project quota"],
  ["ext4", "quota", "ext4 project quota"],
  ["btrfs", "btrfs", "btrfs subvolumes with quota groups"],
] as const)("%s that keeps limits gets the backend %s, asked for or not", async (fsType, backend, how) => {
  const { files, quota, probe } = worldOf(fsType);
  expect(await probe("auto")).toEqual({ backend, how });
  expect(await probe("quota")).toEqual({ backend, how });
  expect(await files.list(layout.staging)).toEqual([]);
  expect(quota.limits()).toEqual(new Map());
});

test.each([
  ["xfs", "ENOSYS", "mount -o prjquota /dev/sdb1 /pool"],
  ["ext4", "ENOSYS", "tune2fs -O project,quota -Q prjquota /dev/sdb1"],
  ["btrfs", "quotas of the file system are off", 'run "btrfs quota enable /pool"'],
  ["tmpfs", "XFS, ext4 and btrfs have", ""],
] as const)(
  "%s without quotas falls back to directories, with the reason and the remedy, unless quotas are asked for",
  async (fsType, reason, remedy) => {
    const { quota, btrfs, files, probe } = worldOf(fsType);
    quota.mode = "none";
    if (fsType === "btrfs") btrfs.state = { mode: "off", consistent: false, rescanning: false };
    const found = await probe("auto");
    expect(found.backend).toBe("directory");
    expect(found.advice).toContain(reason);
    expect(found.advice).toContain(remedy);
    await expect(probe("quota")).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining(remedy),
    });
    expect(await files.list(layout.staging)).toEqual([]);
  },
);

test("ext4 that takes limits and does not keep them is found out", async () => {
  const { quota, probe } = worldOf("ext4");
  quota.mode = { accounting: true, enforced: false };
  expect((await probe("auto")).advice).toContain("accounted for but not enforced");
});

test.each([layout.root, layout.staging, layout.volumes, layout.trash])(
  "%s that passes a project on is refused",
  async (path) => {
    const { quota, probe } = worldOf("xfs");
    await quota.setProject(path, { id: 9, inherit: true });
    await expect(probe("quota")).rejects.toMatchObject({ message: expect.stringContaining("chattr -P") });
  },
);

test.each(["directory", "image"] as const)("%s is not questioned, and no advice is given", async (wanted) => {
  const { quota, probe } = worldOf("xfs");
  quota.mode = "none";
  const { backend, advice } = await probe(wanted);
  expect([backend, advice]).toEqual([wanted, undefined]);
});

test("on the root file system the remedy is an option of the kernel", () => {
  const mount = { root: "/", mountPoint: "/", source: "/dev/sda1" } as MountInfo;
  expect(remedyFor({ mount, path: "/var/lib/trivet/pool", type: types.xfs })).toContain("rootflags=prjquota");
  expect(remedyFor({ mount, path: "/var/lib/trivet/pool", type: types.ext4 })).toContain(
    "rootflags=prjquota",
  );
});

test("where a container is shown a part of a disk, no command is made up for the place where it is shown", () => {
  const shown = {
    ...{ device: "8:1", root: "/var/lib/trivet", mountPoint: "/var/lib/trivet", source: "/dev/sda1" },
  } as MountInfo;
  const lacking = { path: "/var/lib/trivet/pool", type: types.xfs };
  expect(remedyFor({ mount: mountOf([shown], lacking.path), ...lacking })).toContain("trivet doctor");
  const whole = { ...shown, root: "/", mountPoint: "/data" };
  expect(remedyOf({ mount: mountOf([whole, shown], lacking.path), ...lacking })?.command).toBe(
    "umount /data && mount -o prjquota /dev/sda1 /data",
  );
});
