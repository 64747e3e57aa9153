import { describe, expect, test } from "vitest";
import { replaceFile } from "../../src/host/files.ts";
import { createFakeFiles, type FakeFiles, type Survival } from "./files.ts";

const text = (content: string) => Buffer.from(content);
const fresh = () => createFakeFiles({ directories: ["/d", "/e"] });

async function created(): Promise<FakeFiles> {
  const files = fresh();
  await files.create("/d/f", text("content"), 0o666);
  return files;
}

describe("a power cut on the fake file system", () => {
  test("takes a name that was created and not synced", async () => {
    const files = await created();
    expect(files.crash("synced").paths("/d")).toEqual([]);
  });

  test("leaves a synced name with nothing in it when the file was not synced, and the umask's mode", async () => {
    const files = await created();
    await files.sync("/d");
    const after = files.crash("synced");
    expect(String(await after.read("/d/f"))).toBe("");
    expect((await after.stat("/d/f")).mode).toBe(0o644);
  });

  test("takes the name of a synced file when its directory was not synced", async () => {
    const files = await created();
    await files.sync("/d/f");
    expect(files.crash("synced").paths("/d")).toEqual([]);
    expect(String(await files.crash("names").read("/d/f"))).toBe("content");
  });

  test("leaves what was synced on both sides", async () => {
    const files = await created();
    await files.sync("/d/f");
    await files.sync("/d");
    const after = files.crash("synced");
    expect(String(await after.read("/d/f"))).toBe("content");
    expect((await after.stat("/d/f")).mode).toBe(0o666);
  });

  test("brings the old content back when a write was not synced", async () => {
    const files = await created();
    files.settle();
    const open = await files.open("/d/f");
    await open.write(text("CON"), 0);
    expect(String(await files.crash("synced").read("/d/f"))).toBe("content");
    expect(String(await files.crash("everything").read("/d/f"))).toBe("CONtent");
  });
});

describe("a rename on the fake file system", () => {
  test.each<[Survival, string[]]>([
    ["synced", ["/d directory 0755", "/d/f file 0666", "/e directory 0755"]],
    ["names", ["/d directory 0755", "/e directory 0755", "/e/f file 0666"]],
  ])("with %s surviving undoes or keeps an unsynced rename as a whole", async (survival, paths) => {
    const files = await created();
    files.settle();
    await files.rename("/d/f", "/e/f");
    expect(files.crash(survival).paths()).toEqual(paths);
  });

  test.each(["/d", "/e"])(
    "keeps a rename when only %s was synced: it is one step of the journal",
    async (synced) => {
      const files = await created();
      files.settle();
      await files.rename("/d/f", "/e/f");
      await files.sync(synced);
      expect(files.crash("synced").paths("/e")).toEqual(["/e/f file 0666"]);
    },
  );

  test("never leaves one directory under two names, whatever survives", async () => {
    for (let seed = 0; seed < 64; seed++) {
      const files = fresh();
      await files.mkdir("/d/a", 0o700);
      await files.rename("/d/a", "/e/b");
      await files.rename("/e/b", "/d/c");
      let bit = 0;
      const after = files.crash(() => ((seed >> bit++) & 1) === 1);
      expect(
        after.paths().filter((path) => path.includes("0700") || /[abc] /.test(path)).length,
      ).toBeLessThan(2);
    }
  });
});

describe("names and locks on the fake file system after a power cut", () => {
  test("bring back what was unlinked and not synced", async () => {
    const files = await created();
    files.settle();
    await files.unlink("/d/f");
    expect(files.crash("synced").paths("/d")).toEqual(["/d/f file 0666"]);
    await expect(files.stat("/d/f")).rejects.toMatchObject({ kind: "cancelled" });
  });

  test("keep both names of a hard link with one inode", async () => {
    const files = await created();
    await files.link("/d/f", "/e/g");
    files.settle();
    const after = files.crash("synced");
    expect((await after.stat("/d/f")).ino).toBe((await after.stat("/e/g")).ino);
    expect((await after.stat("/d/f")).links).toBe(2);
  });

  test("lose a synced file in a directory whose own name was not synced", async () => {
    const files = fresh();
    await files.mkdir("/d/new", 0o700);
    await files.create("/d/new/f", text("x"), 0o600);
    await files.sync("/d/new/f");
    await files.sync("/d/new");
    expect(files.crash("synced").paths("/d")).toEqual([]);
  });

  test("drop every lock", async () => {
    const files = await created();
    await (await files.open("/d/f")).lock();
    const after = files.crash("everything");
    await (await after.open("/d/f")).lock();
  });

  test("during replaceFile leaves the old content or the new, at every step and for every survival", async () => {
    for (const survival of ["synced", "names", "everything"] as const) {
      for (let step = 0; step < 20; step++) {
        const files = await created();
        files.settle();
        let left = step;
        files.onEffect = () => {
          if (left-- === 0) files.halt();
        };
        await replaceFile(files, "/d/f", text("replaced"), 0o600).catch(() => undefined);
        expect(["content", "replaced"]).toContain(String(await files.crash(survival).read("/d/f")));
      }
    }
  });
});

describe("the hook of the fake file system", () => {
  test("sees each effect before and after, and removeTree entry by entry", async () => {
    const files = await created();
    const seen: string[] = [];
    files.onEffect = (op, path, when, from) => seen.push([when, op, from, path].filter(Boolean).join(" "));
    await files.rename("/d/f", "/e/f");
    await files.removeTree("/e");
    expect(seen).toEqual([
      "before file.rename /d/f /e/f",
      "after file.rename /d/f /e/f",
      "before file.remove /e",
      "before file.unlink /e/f",
      "after file.unlink /e/f",
      "before file.rmdir /e",
      "after file.rmdir /e",
      "after file.remove /e",
    ]);
  });

  test.each(["before", "after"] as const)("that throws %s an effect leaves it undone or done", async (at) => {
    const files = fresh();
    files.onEffect = (_op, _path, when) => {
      if (when === at) throw new Error("injected");
    };
    await expect(files.mkdir("/d/x", 0o700)).rejects.toThrow("injected");
    expect(files.paths("/d")).toHaveLength(at === "after" ? 1 : 0);
  });
});

describe("a device of the fake file system", () => {
  test("stops removeTree, which removes nothing of what lies on it", async () => {
    const files = fresh();
    await files.mkdir("/d/mounted", 0o700);
    files.setDevice("/d/mounted", 7n);
    await files.create("/d/mounted/f", text("precious"), 0o600);
    await expect(files.removeTree("/d")).rejects.toMatchObject({ kind: "precondition" });
    expect(String(await files.read("/d/mounted/f"))).toBe("precious");
  });
});
