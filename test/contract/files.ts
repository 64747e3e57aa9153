/**
 * What `Files` promises, as cases that run on the fake and on the real file system alike: whoever trusts the fake in
 * a test trusts these. Durability is not here: only the fake can lose what was not synced.
 */
import { expect } from "vitest";
import { ensureDirectory, type Files, replaceFile } from "../../src/host/files.ts";

/** The group of this process, whom it may always give a directory to. */
const GROUP = process.getgid?.() ?? 0;

/** An empty directory to work in, and the one thing that `Files` itself cannot make. */
export interface FilesUnderTest {
  readonly files: Files;
  readonly root: string;
  symlink(target: string, path: string): Promise<void>;
}

export interface ContractCase<T> {
  readonly title: string;
  run(subject: T): Promise<void>;
}

const text = (content: string) => Buffer.from(content);

async function failure(promise: Promise<unknown>): Promise<{ kind: string; op: string; subject: string }> {
  const error = await promise.then(
    () => {
      throw new Error("the effect succeeded where it had to fail");
    },
    (reason: unknown) => reason,
  );
  const { kind, op, subject } = error as { kind: string; op: string; subject: string };
  return { kind, op, subject };
}

type Act = (files: Files, root: string) => Promise<unknown>;

/** Prepared for every row: `file` with content, `full/child`, `empty/`, `link` to `file`, `away` to `full`. */
const refusals: readonly (readonly [title: string, kind: string, op: string, subject: string, act: Act])[] = [
  ["read of nothing", "not-found", "file.read", "none", (f, r) => f.read(`${r}/none`)],
  ["read of a directory", "io", "file.read", "full", (f, r) => f.read(`${r}/full`)],
  ["a path through a file", "io", "file.read", "file/x", (f, r) => f.read(`${r}/file/x`)],
  ["create over a file", "conflict", "file.create", "file", (f, r) => f.create(`${r}/file`, text(""), 0o600)],
  ["create over a link", "conflict", "file.create", "link", (f, r) => f.create(`${r}/link`, text(""), 0o600)],
  ["create in nothing", "not-found", "file.create", "no/x", (f, r) => f.create(`${r}/no/x`, text(""), 0o600)],
  ["symlink over a file", "conflict", "file.symlink", "file", (f, r) => f.symlink("x", `${r}/file`)],
  ["readLink of a file", "io", "file.readlink", "file", (f, r) => f.readLink(`${r}/file`)],
  ["setGroup of a file", "io", "file.setgroup", "file", (f, r) => f.setGroup(`${r}/file`, GROUP)],
  ["setGroup through a final link", "io", "file.setgroup", "away", (f, r) => f.setGroup(`${r}/away`, GROUP)],
  ["open of nothing", "not-found", "file.open", "none", (f, r) => f.open(`${r}/none`)],
  ["open of a directory", "io", "file.open", "full", (f, r) => f.open(`${r}/full`)],
  ["open through a final link", "io", "file.open", "link", (f, r) => f.open(`${r}/link`)],
  ["sync of nothing", "not-found", "file.sync", "none", (f, r) => f.sync(`${r}/none`)],
  ["sync through a final link", "io", "file.sync", "link", (f, r) => f.sync(`${r}/link`)],
  ["mkdir over a directory", "conflict", "file.mkdir", "full", (f, r) => f.mkdir(`${r}/full`, 0o700)],
  ["mkdir over a file", "conflict", "file.mkdir", "file", (f, r) => f.mkdir(`${r}/file`, 0o700)],
  ["mkdir in nothing", "not-found", "file.mkdir", "no/x", (f, r) => f.mkdir(`${r}/no/x`, 0o700)],
  ["rename of nothing", "not-found", "file.rename", "to", (f, r) => f.rename(`${r}/none`, `${r}/to`)],
  [
    "rename over a full directory",
    "conflict",
    "file.rename",
    "full",
    (f, r) => f.rename(`${r}/empty`, `${r}/full`),
  ],
  [
    "rename of a file over a directory",
    "io",
    "file.rename",
    "empty",
    (f, r) => f.rename(`${r}/file`, `${r}/empty`),
  ],
  [
    "rename of a directory over a file",
    "io",
    "file.rename",
    "file",
    (f, r) => f.rename(`${r}/empty`, `${r}/file`),
  ],
  ["rename into itself", "io", "file.rename", "full/in", (f, r) => f.rename(`${r}/full`, `${r}/full/in`)],
  ["link over a name", "conflict", "file.link", "link", (f, r) => f.link(`${r}/file`, `${r}/link`)],
  ["link of nothing", "not-found", "file.link", "new", (f, r) => f.link(`${r}/none`, `${r}/new`)],
  ["link of a directory", "io", "file.link", "new", (f, r) => f.link(`${r}/full`, `${r}/new`)],
  ["unlink of nothing", "not-found", "file.unlink", "none", (f, r) => f.unlink(`${r}/none`)],
  ["unlink of a directory", "io", "file.unlink", "empty", (f, r) => f.unlink(`${r}/empty`)],
  ["rmdir of nothing", "not-found", "file.rmdir", "none", (f, r) => f.rmdir(`${r}/none`)],
  ["rmdir of a full directory", "conflict", "file.rmdir", "full", (f, r) => f.rmdir(`${r}/full`)],
  ["rmdir of a file", "io", "file.rmdir", "file", (f, r) => f.rmdir(`${r}/file`)],
  ["rmdir of a link to a directory", "io", "file.rmdir", "away", (f, r) => f.rmdir(`${r}/away`)],
  ["list of nothing", "not-found", "file.list", "none", (f, r) => f.list(`${r}/none`)],
  ["list of a file", "io", "file.list", "file", (f, r) => f.list(`${r}/file`)],
  ["stat of nothing", "not-found", "file.stat", "none", (f, r) => f.stat(`${r}/none`)],
  ["realPath of nothing", "not-found", "file.realpath", "none", (f, r) => f.realPath(`${r}/none`)],
  ["chmod of nothing", "not-found", "file.chmod", "none", (f, r) => f.setMode(`${r}/none`, 0o600)],
  ["chown of nothing", "not-found", "file.chown", "none", (f, r) => f.setOwner(`${r}/none`, 0, 0)],
  ["removal of nothing", "not-found", "file.remove", "none", (f, r) => f.removeTree(`${r}/none`)],
  ["space of nothing", "not-found", "file.space", "none", (f, r) => f.space(`${r}/none`)],
  [
    "a name of 256 bytes",
    "io",
    "file.mkdir",
    "x".repeat(256),
    (f, r) => f.mkdir(`${r}/${"x".repeat(256)}`, 0o700),
  ],
];

async function prepare({ files, root, symlink }: FilesUnderTest): Promise<void> {
  await files.create(`${root}/file`, text("content"), 0o640);
  await files.mkdir(`${root}/full`, 0o750);
  await files.create(`${root}/full/child`, text("child"), 0o600);
  await files.mkdir(`${root}/empty`, 0o700);
  await symlink("file", `${root}/link`);
  await symlink(`${root}/full`, `${root}/away`);
}

const refusalCases = refusals.map(
  ([title, kind, op, subject, act]): ContractCase<FilesUnderTest> => ({
    title: `${title} is ${kind}`,
    async run(under) {
      await prepare(under);
      const before = await under.files.list(under.root);
      const found = await failure(act(under.files, under.root));
      expect(found).toEqual({ kind, op, subject: `${under.root}/${subject}` });
      expect((await under.files.list(under.root)).length).toBe(before.length);
      expect(String(await under.files.read(`${under.root}/file`))).toBe("content");
    },
  }),
);

const behaviour: readonly ContractCase<FilesUnderTest>[] = [
  {
    title: "a created file has its content and exactly its mode, whatever the umask",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("hello"), 0o666);
      expect(String(await files.read(`${root}/a`))).toBe("hello");
      expect(await files.stat(`${root}/a`)).toMatchObject({
        kind: "file",
        mode: 0o666,
        links: 1,
        sizeBytes: 5,
      });
    },
  },
  {
    title: "a new directory has exactly its mode and is empty",
    async run({ files, root }) {
      await files.mkdir(`${root}/d`, 0o777);
      expect(await files.stat(`${root}/d`)).toMatchObject({ kind: "directory", mode: 0o777, links: 2 });
      expect(await files.list(`${root}/d`)).toEqual([]);
    },
  },
  {
    title: "list names every entry with its kind and follows a link to the directory itself",
    async run(under) {
      await prepare(under);
      const sorted = async (path: string) =>
        (await under.files.list(path)).map(({ name, kind }) => `${name} ${kind}`).sort();
      expect(await sorted(under.root)).toEqual(
        ["away symlink", "empty directory", "file file", "full directory", "link symlink"].sort(),
      );
      expect(await sorted(`${under.root}/away`)).toEqual(["child file"]);
    },
  },
  {
    title: "stat describes a link and does not follow it; read follows",
    async run(under) {
      await prepare(under);
      expect((await under.files.stat(`${under.root}/link`)).kind).toBe("symlink");
      expect(String(await under.files.read(`${under.root}/link`))).toBe("content");
      expect(String(await under.files.read(`${under.root}/away/child`))).toBe("child");
    },
  },
  {
    title: "realPath follows the links on the way and at the end",
    async run(under) {
      await prepare(under);
      const { files } = under;
      const root = await files.realPath(under.root);
      expect(await files.realPath(`${under.root}/away/../away`)).toBe(`${root}/full`);
      expect(await files.realPath(`${under.root}/empty`)).toBe(`${root}/empty`);
    },
  },
  {
    title: "a hard link is a second name of the same inode, and the last name keeps the content",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("x"), 0o600);
      await files.link(`${root}/a`, `${root}/b`);
      const [a, b] = [await files.stat(`${root}/a`), await files.stat(`${root}/b`)];
      expect([a.ino, a.dev, a.links]).toEqual([b.ino, b.dev, 2]);
      await files.unlink(`${root}/a`);
      expect((await files.stat(`${root}/b`)).links).toBe(1);
      expect(String(await files.read(`${root}/b`))).toBe("x");
    },
  },
  {
    title: "a link to a symbolic link names the link itself",
    async run(under) {
      await prepare(under);
      await under.files.link(`${under.root}/link`, `${under.root}/second`);
      expect((await under.files.stat(`${under.root}/second`)).kind).toBe("symlink");
    },
  },
  {
    title: "rename keeps the inode and replaces a file",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("new"), 0o600);
      await files.create(`${root}/b`, text("old"), 0o600);
      const { ino } = await files.stat(`${root}/a`);
      await files.rename(`${root}/a`, `${root}/b`);
      expect((await files.stat(`${root}/b`)).ino).toBe(ino);
      expect(String(await files.read(`${root}/b`))).toBe("new");
      expect((await files.list(root)).map(({ name }) => name)).toEqual(["b"]);
    },
  },
  {
    title: "rename moves a directory with all that is in it, over an empty one too",
    async run(under) {
      await prepare(under);
      const { files, root } = under;
      const { ino } = await files.stat(`${root}/full`);
      await files.rename(`${root}/full`, `${root}/empty`);
      expect((await files.stat(`${root}/empty`)).ino).toBe(ino);
      expect(String(await files.read(`${root}/empty/child`))).toBe("child");
      await expect(files.stat(`${root}/full`)).rejects.toMatchObject({ kind: "not-found" });
    },
  },
  {
    title: "rename between two names of one file leaves both",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("x"), 0o600);
      await files.link(`${root}/a`, `${root}/b`);
      await files.rename(`${root}/a`, `${root}/b`);
      expect((await files.list(root)).map(({ name }) => name).sort()).toEqual(["a", "b"]);
    },
  },
  {
    title: "setMode changes the mode, and setOwner takes the set-id bits of a file away",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("x"), 0o600);
      await files.setMode(`${root}/a`, 0o2751);
      const { uid, gid } = await files.stat(`${root}/a`);
      await files.setOwner(`${root}/a`, uid, gid);
      expect(await files.stat(`${root}/a`)).toMatchObject({ mode: 0o751, uid, gid });
    },
  },
  {
    title: "sync of a file and of a directory succeeds and changes nothing",
    async run(under) {
      await prepare(under);
      await under.files.sync(`${under.root}/file`);
      await under.files.sync(`${under.root}/full`);
      expect(String(await under.files.read(`${under.root}/full/child`))).toBe("child");
    },
  },
  {
    title: "an open file reads, and writes at a position without truncating the rest",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("0123456789"), 0o600);
      const open = await files.open(`${root}/a`);
      await open.write(text("AB"), 3);
      expect(String(await open.read())).toBe("012AB56789");
      await open.write(text("Z"), 11);
      expect(await open.stat()).toMatchObject({ sizeBytes: 12, kind: "file" });
      await open.close();
      expect(await files.read(`${root}/a`)).toEqual(text("012AB56789\0Z"));
    },
  },
  {
    title: "an open file stays the same inode when its name is taken away or given to another",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("first"), 0o600);
      const open = await files.open(`${root}/a`);
      await files.unlink(`${root}/a`);
      await files.create(`${root}/a`, text("second"), 0o600);
      expect(String(await open.read())).toBe("first");
      const stat = await open.stat();
      expect([stat.links, stat.ino === (await files.stat(`${root}/a`)).ino]).toEqual([0, false]);
      await open.close();
    },
  },
  {
    title: "a lock excludes a second opening of the same inode until it is closed",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("x"), 0o600);
      const [first, second] = [await files.open(`${root}/a`), await files.open(`${root}/a`)];
      const order: string[] = [];
      await first.lock();
      const waits = second.lock().then(() => order.push("second"));
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push("first closes");
      await first.close();
      await waits;
      await second.close();
      expect(order).toEqual(["first closes", "second"]);
    },
  },
  {
    title: "any number of waits for a lock hold up nothing else",
    async run({ files, root }) {
      await files.create(`${root}/a`, text("x"), 0o600);
      const holder = await files.open(`${root}/a`);
      await holder.lock();
      const waiting = await Promise.all(Array.from({ length: 8 }, () => files.open(`${root}/a`)));
      const turns = waiting.map(async (file) => {
        await file.lock();
        await file.close();
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(String(await files.read(`${root}/a`))).toBe("x");
      await holder.close();
      await Promise.all(turns);
    },
  },
  {
    title: "removeTree takes the tree away and leaves what its links point to",
    async run(under) {
      await prepare(under);
      const { files, root } = under;
      await files.mkdir(`${root}/tree`, 0o700);
      await files.mkdir(`${root}/tree/deep`, 0o700);
      await files.create(`${root}/tree/deep/x`, text("x"), 0o400);
      await under.symlink(`${root}/full`, `${root}/tree/out`);
      await files.removeTree(`${root}/tree`);
      await expect(files.stat(`${root}/tree`)).rejects.toMatchObject({ kind: "not-found" });
      expect(String(await files.read(`${root}/full/child`))).toBe("child");
    },
  },
  {
    title: "removeTree of a link removes the link only",
    async run(under) {
      await prepare(under);
      await under.files.removeTree(`${under.root}/away`);
      expect(String(await under.files.read(`${under.root}/full/child`))).toBe("child");
    },
  },
  {
    title: "setGroup gives a directory to a group and keeps what others may do with it",
    async run({ files, root }) {
      await files.mkdir(`${root}/shared`, 0o705);
      await files.create(`${root}/shared/old`, text(""), 0o600);
      await files.setGroup(`${root}/shared`, GROUP);
      expect(await files.stat(`${root}/shared`)).toMatchObject({ mode: 0o2775, gid: GROUP });
      expect(await files.stat(`${root}/shared/old`)).toMatchObject({ mode: 0o600 });
    },
  },
  {
    title: "a symbolic link says what it was told, and is not followed to be read",
    async run({ files, root }) {
      await files.symlink("../no/such/thing", `${root}/said`);
      expect(await files.readLink(`${root}/said`)).toBe("../no/such/thing");
      expect((await files.stat(`${root}/said`)).kind).toBe("symlink");
    },
  },
  {
    title: "space is positive and consistent",
    async run({ files, root }) {
      const space = await files.space(root);
      expect(space.totalBytes).toBeGreaterThan(0);
      expect(space.availableBytes).toBeLessThanOrEqual(space.totalBytes);
    },
  },
  {
    title: "of many that create or link one name at once, exactly one wins",
    async run({ files, root }) {
      await files.create(`${root}/source`, text("s"), 0o600);
      const attempts = Array.from({ length: 8 }, (_, n) =>
        n % 2 === 0 ? files.link(`${root}/source`, `${root}/one`) : files.mkdir(`${root}/one`, 0o700),
      );
      const settled = await Promise.allSettled(attempts);
      expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    },
  },
  {
    title: "ensureDirectory makes what is missing and keeps what is there",
    async run({ files, root }) {
      await files.mkdir(`${root}/a`, 0o711);
      await ensureDirectory(files, `${root}/a/b/c`, 0o700);
      await ensureDirectory(files, `${root}/a/b/c`, 0o755);
      expect((await files.stat(`${root}/a`)).mode).toBe(0o711);
      expect((await files.stat(`${root}/a/b/c`)).mode).toBe(0o700);
    },
  },
  {
    title: "replaceFile writes a new file, replaces an old one and leaves no temporary",
    async run({ files, root }) {
      await replaceFile(files, `${root}/f`, text("one"), 0o600);
      await replaceFile(files, `${root}/f`, text("two"), 0o644);
      expect(String(await files.read(`${root}/f`))).toBe("two");
      expect(await files.list(root)).toEqual([{ name: "f", kind: "file" }]);
    },
  },
];

/** Every case takes a fresh, empty root. */
export const filesContract: readonly ContractCase<FilesUnderTest>[] = [...behaviour, ...refusalCases];
