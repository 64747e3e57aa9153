/** The files of another root: its links lead within it. */
import { expect, test } from "vitest";
import { createFakeFiles } from "../../test/fakes/files.ts";
import { rootedFiles } from "./rooted-files.ts";

const text = (content: string) => Buffer.from(content);

async function node() {
  const files = createFakeFiles({ directories: ["/opt", "/image/usr/real", "/image/etc"] });
  await files.symlink("/usr/real", "/image/opt");
  await files.symlink("../../../../usr/real", "/image/etc/up");
  await files.symlink("loop", "/image/loop");
  return { files, rooted: rootedFiles(files, "/image") };
}

test.each([
  ["an absolute link", "/opt/file"],
  ["a relative link that goes up too far", "/etc/up/file"],
  ["dots that go up too far", "/../../usr/real/file"],
])("%s stays within", async (_title, path) => {
  const { files, rooted } = await node();
  await rooted.create(path, text("mine"), 0o644);
  await rooted.sync(path);
  expect((await files.read("/image/usr/real/file")).toString()).toBe("mine");
  expect((await rooted.read(path)).toString()).toBe("mine");
  expect(await rooted.realPath(path)).toBe("/usr/real/file");
  await rooted.rename(path, "/usr/moved");
  expect(files.peek("/image/usr/moved")).toBeDefined();
});

test("a link at the end is the link itself where the effect is about links", async () => {
  const { rooted } = await node();
  expect((await rooted.stat("/opt")).kind).toBe("symlink");
  expect(await rooted.readLink("/opt")).toBe("/usr/real");
  await rooted.unlink("/opt");
  expect((await rooted.list("/")).map(({ name }) => name).sort()).toEqual(["etc", "loop", "usr"]);
});

test("links in a circle are refused", async () => {
  const { rooted } = await node();
  await expect(rooted.read("/loop")).rejects.toThrow("ELOOP");
});

test("of / it is the files themselves, and a directory behind a link can be synced", async () => {
  const files = createFakeFiles({ directories: ["/var/opt"] });
  await files.symlink("var/opt", "/opt");
  const rooted = rootedFiles(files, "/");
  expect((await rooted.stat("/opt")).kind).toBe("symlink");
  expect(await rooted.realPath("/opt")).toBe("/var/opt");
  const synced: string[] = [];
  files.onEffect = (op, path) => void (op === "file.sync" && synced.push(path));
  await rooted.sync("/opt");
  expect(new Set(synced)).toEqual(new Set(["/var/opt"]));
});
