/** All effects of the CSI leg over fake files, but for those that only a real disk has: to use one of these is an error. */
import type { BackendDeps } from "../../src/csi/backend/open.ts";
import { createFakeBtrfs } from "./btrfs.ts";
import { createFakeClock } from "./clock.ts";
import { createFakeCopier } from "./copier.ts";
import { createFakeHold } from "./exclusive.ts";
import type { FakeFiles } from "./files.ts";
import { createFakeFreezer } from "./freezer.ts";
import { createFakeMounts } from "./mount.ts";
import { createFakeProjectQuota } from "./quota.ts";

/** Stands for an effect that a test does not expect: whatever is called of it rejects. */
export function unexpected<T extends object>(name: string): T {
  const refuse = (method: string | symbol) => () =>
    Promise.reject(new Error(`${name}.${String(method)} was not expected here`));
  return new Proxy({}, { get: (_, method) => refuse(method) }) as T;
}

let uuids = 0;

/** Directory pools need no more than these. */
export function createFakeCsiEffects(files: FakeFiles): BackendDeps {
  return {
    files,
    mounts: createFakeMounts({ files, busy: files }),
    quota: createFakeProjectQuota(files),
    btrfs: createFakeBtrfs(files),
    copier: createFakeCopier(files),
    freezer: createFakeFreezer(),
    pathUsers: async () => [],
    loops: unexpected("loops"),
    images: unexpected("images"),
    imageFileSystems: unexpected("imageFileSystems"),
    clock: createFakeClock(),
    randomUuid: () => `00000000-0000-4000-8000-${String(++uuids).padStart(12, "0")}`,
    hold: createFakeHold(),
  };
}
