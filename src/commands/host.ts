/** Builds the real effects. The verbs are the only ones who do. */
import { randomBytes, randomUUID } from "node:crypto";
import { type CniDeps, readBootId } from "../cni/deps.ts";
import type { CsiDeps } from "../csi/deps.ts";
import { createBtrfs } from "../host/btrfs.ts";
import { createClock } from "../host/clock.ts";
import { createConntrack } from "../host/conntrack.ts";
import { createCopier } from "../host/copy-tree.ts";
import { holdName } from "../host/exclusive.ts";
import { createFiles } from "../host/files.ts";
import { createFreezer } from "../host/freeze.ts";
import { createImageFiles } from "../host/image-file.ts";
import { createLoops } from "../host/loop.ts";
import { createImageFileSystems } from "../host/mkfs.ts";
import { createMounts } from "../host/mount.ts";
import { createNetlink } from "../host/netlink.ts";
import { createNetns } from "../host/netns.ts";
import { createNft } from "../host/nft.ts";
import { findPathUsers } from "../host/path-users.ts";
import { createProjectQuota } from "../host/quota.ts";
import { createSyscalls, type Syscalls } from "../host/syscall.ts";
import { createSysctl } from "../host/sysctl.ts";

/** Where other IPAM plugins find the programs that they run, if nobody says it. */
const defaultPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/** Where a daemon without an environment finds programs. */
const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

export async function createCniDeps(syscalls: Syscalls = createSyscalls()): Promise<CniDeps> {
  const netns = createNetns(syscalls);
  const sysctl = createSysctl(netns);
  return {
    files: createFiles(syscalls),
    netns,
    netlink: createNetlink(syscalls, netns),
    nft: createNft(syscalls),
    conntrack: createConntrack(syscalls),
    sysctl,
    clock: createClock(),
    bootId: await readBootId(sysctl),
    nonce: () => randomBytes(8).toString("hex"),
    // Loaded with the first program that is run: most calls run none.
    exec: async (argv, options) => {
      const { createExec } = await import("../host/exec.ts");
      return createExec(process.env.PATH ?? defaultPath, syscalls)(argv, options);
    },
  };
}

/** gRPC is loaded here and not at the top: the CNI plugin builds its effects without it. */
export async function createCsiDeps(syscalls: Syscalls): Promise<CsiDeps> {
  const { serveGrpc } = await import("../host/grpc.ts");
  const { createExec } = await import("../host/exec.ts");
  return {
    files: createFiles(syscalls),
    mounts: createMounts(syscalls),
    quota: createProjectQuota(syscalls),
    btrfs: createBtrfs(syscalls),
    loops: createLoops(syscalls),
    images: createImageFiles(syscalls),
    imageFileSystems: createImageFileSystems(createExec(process.env.PATH ?? SYSTEM_PATH, syscalls), syscalls),
    copier: createCopier(syscalls),
    freezer: createFreezer(syscalls, { path: process.env.PATH ?? SYSTEM_PATH }),
    pathUsers: findPathUsers,
    clock: createClock(),
    randomUuid: () => randomUUID(),
    hold: holdName,
    serve: serveGrpc,
  };
}
