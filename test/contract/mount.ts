/** What `Mounts` promises, as cases for the fake (unit) and for the kernel (end to end, as root). */
import { expect } from "vitest";
import type { BindOptions, Mounts } from "../../src/host/mount.ts";
import type { ContractCase } from "./files.ts";

/** Existing directories `source`, `target` and `second` with nothing mounted, and `none`, which does not exist. */
export interface MountsUnderTest {
  readonly mounts: Mounts;
  readonly source: string;
  readonly target: string;
  readonly second: string;
  readonly none: string;
  /** Two existing files with nothing mounted. */
  readonly file: string;
  readonly otherFile: string;
}

const plain: BindOptions = { readOnly: false, flags: [] };
const watched = ["ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];

async function at(mounts: Mounts, path: string): Promise<string[][]> {
  const found = (await mounts.list()).filter(({ mountPoint }) => mountPoint === path);
  return found.map(({ options }) => options.filter((option) => watched.includes(option)).sort());
}

async function inherited({ mounts, source, second }: MountsUnderTest): Promise<string[]> {
  await mounts.bind(source, second, plain);
  const [options = []] = await at(mounts, second);
  await mounts.unmount(second);
  return options.filter((option) => option !== "rw");
}

const flagRows: readonly (readonly [BindOptions, string[]])[] = [
  [plain, ["rw"]],
  [{ readOnly: true, flags: [] }, ["ro"]],
  [{ readOnly: false, flags: ["nosuid", "nodev"] }, ["rw", "nosuid", "nodev"]],
  [{ readOnly: true, flags: ["noexec", "noatime"] }, ["ro", "noexec", "noatime"]],
  [
    { readOnly: true, flags: ["nosuid", "nodev", "noexec", "noatime", "nodiratime"] },
    ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"],
  ],
];

const flagCases = flagRows.map(
  ([options, expected]): ContractCase<MountsUnderTest> => ({
    title: `a bind mount with ${JSON.stringify(options)} shows ${expected.join(",")}`,
    async run(under) {
      const extra = await inherited(under);
      await under.mounts.bind(under.source, under.target, options);
      expect(await at(under.mounts, under.target)).toEqual([[...new Set([...expected, ...extra])].sort()]);
      await under.mounts.unmount(under.target);
    },
  }),
);

/** The kind of the failure of `promise`. */
function kindOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (error: { kind?: string }) => error.kind ?? "foreign",
  );
}

export const mountsContract: readonly ContractCase<MountsUnderTest>[] = [
  ...flagCases,
  {
    title: "the root and device of a bind mount are those of its source, wherever it is seen from",
    async run({ mounts, source, target, second }) {
      await mounts.bind(source, target, plain);
      await mounts.bind(target, second, plain);
      const lines = (await mounts.list()).filter(({ mountPoint }) => [target, second].includes(mountPoint));
      expect(lines).toHaveLength(2);
      expect(lines[0]?.root).toBe(lines[1]?.root);
      expect(lines[0]?.device).toBe(lines[1]?.device);
      expect(source.endsWith(lines[0]?.root.slice(-6) ?? "?")).toBe(true);
      await mounts.unmount(second);
      await mounts.unmount(target);
    },
  },
  {
    title: "mounts stack on one target, and each unmount takes the topmost",
    async run({ mounts, source, target }) {
      await mounts.bind(source, target, plain);
      await mounts.bind(source, target, { readOnly: true, flags: [] });
      const both = await at(mounts, target);
      expect(both.map((options) => options.includes("ro"))).toEqual([false, true]);
      await mounts.unmount(target);
      expect((await at(mounts, target)).map((options) => options.includes("ro"))).toEqual([false]);
      await mounts.unmount(target);
      expect(await at(mounts, target)).toEqual([]);
    },
  },
  {
    title: "an unmount where nothing is mounted is io (EINVAL)",
    run: async ({ mounts, target }) => expect(await kindOf(mounts.unmount(target))).toBe("io"),
  },
  {
    title: "a file is shown at a file, and neither at a directory nor a directory at it",
    async run({ mounts, source, target, file, otherFile }) {
      await mounts.bind(file, otherFile, { readOnly: true, flags: ["noexec"] });
      expect(await at(mounts, otherFile)).toEqual([expect.arrayContaining(["noexec", "ro"])]);
      await mounts.unmount(otherFile);
      expect(await at(mounts, otherFile)).toEqual([]);
      expect(await kindOf(mounts.bind(file, target, plain))).toBe("io");
      expect(await kindOf(mounts.bind(source, file, plain))).toBe("io");
    },
  },
  {
    title: "a device that does not exist is not-found and mounts nothing",
    async run({ mounts, target, none }) {
      const wanted = { ...plain, fsType: "ext4" };
      expect(await kindOf(mounts.mountDevice(none, target, wanted))).toBe("not-found");
      expect(await at(mounts, target)).toEqual([]);
    },
  },
  {
    title: "a bind mount of nothing, or over nothing, is not-found and mounts nothing",
    async run({ mounts, source, target, none }) {
      expect(await kindOf(mounts.bind(none, target, plain))).toBe("not-found");
      expect(await kindOf(mounts.bind(source, none, plain))).toBe("not-found");
      expect(await at(mounts, target)).toEqual([]);
    },
  },
];
