/**
 * Every rule of the CSI specification against `trivet node` itself: a process, its socket, real mounts, on each kind of
 * volume that this machine can make, as directories and as block devices. The rules see a socket and nothing else.
 */
import { execFileSync } from "node:child_process";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AccessType, Rule } from "../conformance/csi/rule.ts";
import { allRules } from "../conformance/csi/rules/all.ts";
import { runRules } from "../conformance/csi/run.ts";
import { type Connection, connect } from "../conformance/csi/world.ts";
import { type CsiNode, type CsiScratch, createCsiScratch, startCsiNode } from "./support/csi-node.ts";
import { mayGrowExt4 } from "./support/image-world.ts";
import { createLoopDisk, type LoopDisk } from "./support/loop-disk.ts";
import { mountsBelow } from "./support/processes.ts";

interface Subject {
  readonly name: string;
  readonly access: AccessType;
  readonly pool: string;
  readonly fsType?: string;
  readonly sizeBytes: number;
  /** Whether only the rules are run that the file system within an image has a part in: making one takes a while. */
  readonly brief?: true;
}

const MIB = 2 ** 20;
const subjects: readonly Subject[] = [
  { name: "directories", access: "mount", pool: "directory", sizeBytes: 8 * MIB },
  { name: "images with ext4", access: "mount", pool: "image", fsType: "ext4", sizeBytes: 16 * MIB },
  {
    name: "images with XFS",
    access: "mount",
    pool: "image",
    fsType: "xfs",
    sizeBytes: 320 * MIB,
    brief: true,
  },
  {
    name: "images with btrfs",
    access: "mount",
    pool: "image",
    fsType: "btrfs",
    sizeBytes: 256 * MIB,
    brief: true,
  },
  { name: "images as block devices", access: "block", pool: "image", sizeBytes: 16 * MIB },
  { name: "btrfs subvolumes", access: "mount", pool: "btrfs", sizeBytes: 16 * MIB },
];

let scratch: CsiScratch;
let disk: LoopDisk;
let node: CsiNode;
let connection: Connection;

beforeAll(async () => {
  scratch = await createCsiScratch("conformance");
  disk = createLoopDisk("btrfs", 512);
  execFileSync("btrfs", ["quota", "enable", disk.path]);
  node = await startCsiNode(scratch, [
    `directory=${scratch.root}/directory,backend=directory,requireMount=false`,
    `image=${scratch.root}/image,backend=image,requireMount=false,preallocate=false`,
    `btrfs=${disk.path},backend=quota`,
  ]);
  connection = await connect(scratch.socket, 60_000);
});

afterAll(async () => {
  connection?.close();
  await node?.stop();
  disk?.remove();
  await scratch?.remove();
});

/** `TRIVET_CONFORMANCE=all` runs every rule on everything. */
const runsAll = process.env.TRIVET_CONFORMANCE === "all";

function rulesFor({ brief }: Subject): readonly Rule[] {
  if (!brief || runsAll) return allRules;
  const isTouched = ({ title }: Rule) => /^(Node(?!Get(Info|Cap))|CreateVolume: from)/.test(title);
  return allRules.filter((rule) => isTouched(rule) && !/ is (INVALID_ARGUMENT|NOT_FOUND)/.test(rule.title));
}

describe.each(subjects)("on $name", (subject) => {
  const { access, pool, fsType, sizeBytes } = subject;
  const directories = () => ({
    stagingDir: join(scratch.kubeletRoot, "plugins", pool, fsType ?? access),
    targetDir: join(scratch.kubeletRoot, "pods", pool, fsType ?? access),
  });

  const check = async (rule: Rule, skip: (reason: string) => void) => {
    const world = {
      ...{ socket: scratch.socket, ...directories(), access, sizeBytes },
      ...(fsType ? { fsType } : {}),
      parameters: { pool },
    };
    for (const path of [world.stagingDir, world.targetDir]) await mkdir(path, { recursive: true });
    const [verdict] = await runRules(connection, world, { rules: [rule] });
    if (verdict?.result !== "broken") return;
    // Some sandboxes take this capability from root: what needs it has then not been run.
    if (!mayGrowExt4() && verdict.reason?.includes("CAP_SYS_RESOURCE")) skip(verdict.reason);
    expect.fail(verdict.reason);
  };
  // Not as a table: its titles would be cut, and what may be skipped is known by its whole name.
  for (const rule of rulesFor(subject)) test(rule.title, ({ skip }) => check(rule, skip));

  test("leaves no mount, no path and no volume behind", async () => {
    const { stagingDir, targetDir } = directories();
    expect(await mountsBelow(scratch.kubeletRoot)).toEqual([]);
    for (const path of [stagingDir, targetDir]) expect(await readdir(path)).toEqual([]);
    const { entries } = await node.client.call<{ entries: unknown[] }>("Controller", "ListVolumes");
    expect(entries).toEqual([]);
  });
});
