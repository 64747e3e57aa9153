/**
 * The driver under test on a real socket, with real files in a scratch directory and a fake mount table: no root
 * needed. The rules ask for nothing but a client and the directories, so that another driver can stand here.
 */
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parsePoolFlag } from "../../../src/csi/pool/config.ts";
import { type CsiServer, startCsi } from "../../../src/csi/server.ts";
import { createBtrfs } from "../../../src/host/btrfs.ts";
import { createClock } from "../../../src/host/clock.ts";
import { createCopier } from "../../../src/host/copy-tree.ts";
import { holdName } from "../../../src/host/exclusive.ts";
import { createExec } from "../../../src/host/exec.ts";
import { createFiles, type Files } from "../../../src/host/files.ts";
import { createFreezer } from "../../../src/host/freeze.ts";
import { serveGrpc } from "../../../src/host/grpc.ts";
import { createImageFiles } from "../../../src/host/image-file.ts";
import { createLoops } from "../../../src/host/loop.ts";
import { createImageFileSystems } from "../../../src/host/mkfs.ts";
import type { Mounts } from "../../../src/host/mount.ts";
import { findPathUsers } from "../../../src/host/path-users.ts";
import { createProjectQuota } from "../../../src/host/quota.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { type Log, silentLog } from "../../../src/observe/log.ts";
import { createFakeMounts } from "../../fakes/mount.ts";
import { type CsiClient, createCsiClient } from "./client.ts";

export interface Subject {
  readonly client: CsiClient;
  readonly server: CsiServer;
  readonly files: Files;
  readonly mounts: Mounts;
  readonly root: string;
  /** Where the volumes of a pool lie: `volumes/<id>/data`. */
  readonly pool: string;
  readonly kubeletRoot: string;
  /** A target whose parent exists, as the kubelet leaves it. */
  target(pod: string): Promise<string>;
  /** Stops the server and starts it again on the same state. */
  restart(): Promise<Subject>;
  stop(): Promise<void>;
}

export interface SubjectOptions {
  readonly root?: string;
  readonly mounts?: (files: Files) => Mounts;
  readonly files?: Files;
  readonly log?: Log;
  /** Settings after the path of the pool `default`, such as `,budget=10Gi`. */
  readonly settings?: string;
  /** Absent: no inline volumes. */
  readonly inlineMaxBytes?: number;
  readonly morePools?: (root: string) => readonly string[];
  readonly onCall?: (call: { method: string; code: string; durationMs: number }) => void;
}

export async function startSubject(options: SubjectOptions = {}): Promise<Subject> {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), "trivet-csi-")));
  const files = options.files ?? createFiles(createSyscalls());
  const mounts = options.mounts?.(files) ?? createFakeMounts({ files });
  return start({ ...options, root, files, mounts: () => mounts }, mounts);
}

async function start(
  options: SubjectOptions & { readonly root: string; readonly files: Files },
  mounts: Mounts,
): Promise<Subject> {
  const { root, files } = options;
  const pool = join(root, "pool");
  const kubeletRoot = join(root, "kubelet");
  await mkdir(kubeletRoot, { recursive: true });
  const flags = [`default=${pool}${options.settings ?? ""}`, ...(options.morePools?.(root) ?? [])];
  const endpoint = join(root, "csi.sock");
  const syscalls = createSyscalls();
  const server = await startCsi({
    ...{ endpoint, kubeletRoot, nodeId: "node-1", driverVersion: "1.2.3", stateDir: join(root, "state") },
    pools: flags.map(parsePoolFlag),
    deps: {
      files,
      mounts,
      quota: createProjectQuota(syscalls),
      btrfs: createBtrfs(syscalls),
      loops: createLoops(syscalls),
      images: createImageFiles(syscalls),
      imageFileSystems: createImageFileSystems(
        createExec("/usr/sbin:/usr/bin:/sbin:/bin", syscalls),
        syscalls,
      ),
      copier: createCopier(syscalls),
      freezer: createFreezer(syscalls, { path: "/usr/sbin:/usr/bin" }),
      pathUsers: findPathUsers,
      clock: createClock(),
      randomUuid: randomUUID,
      hold: holdName,
      serve: serveGrpc,
    },
    log: options.log ?? silentLog,
    ...(options.onCall ? { onCall: options.onCall } : {}),
    ...(options.inlineMaxBytes === undefined ? {} : { inline: { maxBytes: options.inlineMaxBytes } }),
  });
  const client = createCsiClient(endpoint);
  const halt = async () => {
    client.close();
    await server.stop({ timeoutMs: 2_000 });
  };
  return {
    ...{ client, server, files, mounts, root, pool, kubeletRoot },
    async target(pod) {
      const parent = join(kubeletRoot, "pods", pod, "volumes", "kubernetes.io~csi", "pv");
      await mkdir(parent, { recursive: true });
      return join(parent, "mount");
    },
    async restart() {
      await halt();
      return start(options, mounts);
    },
    async stop() {
      await halt();
      await rm(root, { recursive: true });
    },
  };
}
