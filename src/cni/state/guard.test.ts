/** The race of a delayed release with a new claim of the same name, and what else the guard keeps apart. */
import { expect, test } from "vitest";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { errnoError } from "../../host/errno.ts";
import { unlinkGuarded, withGuard } from "./guard.ts";

const PATH = "/leases/10.0.0.2";
const holds = (owner: string) => (content: Buffer) => content.toString() === owner;

async function filesWith(owner: string) {
  const files = createFakeFiles({ directories: ["/leases"] });
  await files.create(PATH, Buffer.from(owner), 0o600);
  return files;
}

test("what is not there, or another's, is left alone", async () => {
  const files = await filesWith("b");
  expect(await unlinkGuarded(files, { path: "/leases/10.0.0.3", holds: holds("a") })).toBe(false);
  expect(await unlinkGuarded(files, { path: PATH, holds: holds("a") })).toBe(false);
  expect((await files.read(PATH)).toString()).toBe("b");
});

test("a sweeper that paused before its lock cannot free the address's next owner", async () => {
  const files = await filesWith("a");
  let paused = false;
  files.onEffect = (op, path, when) => {
    // Between the sweeper's open and its lock, DEL frees the address and a new ADD claims it.
    if (op !== "file.lock" || path !== PATH || when !== "before" || paused) return;
    paused = true;
    files.onEffect = undefined;
    void files.unlink(PATH);
    void files.create(PATH, Buffer.from("b"), 0o600);
  };
  expect(await unlinkGuarded(files, { path: PATH, holds: holds("a") })).toBe(false);
  expect(paused).toBe(true);
  expect((await files.read(PATH)).toString()).toBe("b");
});

test("a successor with the same content but another inode is looked at again, under its own lock", async () => {
  const files = await filesWith("a");
  const locked: string[] = [];
  files.onEffect = (op, path, when) => {
    if (op !== "file.lock" || when !== "before") return;
    locked.push(path);
    if (locked.length > 1) return;
    void files.unlink(PATH);
    void files.create(PATH, Buffer.from("a"), 0o600);
  };
  expect(await unlinkGuarded(files, { path: PATH, holds: holds("a") })).toBe(true);
  expect(locked).toHaveLength(2);
});

test("two releases at once act once", async () => {
  const files = await filesWith("a");
  const release = () => unlinkGuarded(files, { path: PATH, holds: holds("a") });
  const freed = await Promise.all([release(), release(), release()]);
  expect(freed.filter(Boolean)).toHaveLength(1);
});

test("the lock is given back when the action fails", async () => {
  const files = await filesWith("a");
  const fail = () => Promise.reject(errnoError("EIO", "test", PATH));
  await expect(withGuard(files, { path: PATH, holds: holds("a"), act: fail })).rejects.toMatchObject({
    kind: "io",
  });
  expect(await unlinkGuarded(files, { path: PATH, holds: holds("a") })).toBe(true);
});
