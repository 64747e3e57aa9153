/** Releases on a node: whole or not there, never written to while they are used, and no more of them than needed. */
import { beforeEach, expect, test } from "vitest";
import { createFakeFiles, type FakeFiles } from "../../test/fakes/files.ts";
import { errnoError } from "../host/errno.ts";
import { createJournal, type Journal } from "./journal.ts";
import { readRelease } from "./release.ts";
import { placeRelease, readLinks, removeOldReleases, switchBack, switchTo } from "./runtime.ts";

const text = (content: string) => Buffer.from(content);
let files: FakeFiles;
let journal: Journal;

beforeEach(async () => {
  files = createFakeFiles({ directories: ["/bundle/bin", "/bundle/lib", "/opt", "/var/lib"] });
  await bundle("1.0.0", "one");
  await files.create("/bundle/bin/trivet", text("#!/bin/sh\n"), 0o700);
  await files.create("/node", text("ELF"), 0o755);
  files.settle();
  journal = createJournal({ files, stateDir: "/var/lib/trivet" });
});

async function bundle(version: string, main: string): Promise<void> {
  for (const [path, content] of [
    ["/bundle/package.json", JSON.stringify({ version })],
    ["/bundle/main.js", main],
    ["/bundle/lib/part.js", main],
  ] as const) {
    await files.unlink(path).catch(() => undefined);
    await files.create(path, text(content), 0o600);
  }
}

const read = () => readRelease({ files, bundle: "/bundle", node: "/node" });
const place = async () => placeRelease({ files, journal }, { source: files, release: await read() });
const put = async (version: string, main: string) => {
  await bundle(version, main);
  const { name } = await place();
  await switchTo({ files, journal }, name);
  return name;
};

test("a release is copied with its programs' modes, the Node.js that runs it, and its manifest", async () => {
  expect(await place()).toEqual({ name: "1.0.0", outcome: "written" });
  expect(files.paths("/opt/trivet")).toEqual([
    "/opt/trivet/1.0.0 directory 0755",
    "/opt/trivet/1.0.0/MANIFEST file 0644",
    "/opt/trivet/1.0.0/bin directory 0755",
    "/opt/trivet/1.0.0/bin/node file 0755",
    "/opt/trivet/1.0.0/bin/trivet file 0755",
    "/opt/trivet/1.0.0/lib directory 0755",
    "/opt/trivet/1.0.0/lib/part.js file 0644",
    "/opt/trivet/1.0.0/main.js file 0644",
    "/opt/trivet/1.0.0/package.json file 0644",
  ]);
  expect(await place()).toEqual({ name: "1.0.0", outcome: "unchanged" });
});

test("a release survives a power cut as soon as it has its name", async () => {
  await place();
  const found = files.crash("synced");
  expect((await found.read("/opt/trivet/1.0.0/lib/part.js")).toString()).toBe("one");
  expect((await found.read("/opt/trivet/1.0.0/bin/node")).toString()).toBe("ELF");
});

test("another build of the same version lies beside it", async () => {
  await put("1.0.0", "one");
  expect(await put("1.0.0", "two")).toMatch(/^1\.0\.0-[0-9a-f]{8}$/);
  expect((await files.read("/opt/trivet/1.0.0/main.js")).toString()).toBe("one");
});

test("a damaged release is not written to, but replaced by another copy", async () => {
  await put("1.0.0", "one");
  await files.unlink("/opt/trivet/1.0.0/lib/part.js");
  expect(await place()).toMatchObject({ name: expect.stringMatching(/^1\.0\.0-/), outcome: "written" });
});

test("what a killed installer has left is no release, and goes", async () => {
  let seen = 0;
  files.onEffect = (op, path) => {
    if (op === "file.create" && path.startsWith("/opt/trivet/.new-") && ++seen === 3) files.halt();
  };
  await expect(place()).rejects.toMatchObject({ kind: "cancelled" });
  files = files.crash("everything");
  journal = createJournal({ files, stateDir: "/var/lib/trivet" });
  expect(await place()).toEqual({ name: "1.0.0", outcome: "written" });
  expect(files.peek("/opt/trivet/.new-1.0.0")).toBeUndefined();
});

test("only the release in use, the one before and those that processes run are kept", async () => {
  for (const version of ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]) await put(version, version);
  expect(await readLinks(files)).toEqual({ current: "1.3.0", previous: "1.2.0" });
  const drains = async (directory: string) => directory === "/opt/trivet/1.1.0";
  expect(await removeOldReleases({ files, journal }, drains)).toEqual(["1.0.0"]);
  const left = (await files.list("/opt/trivet")).map(({ name }) => name).sort();
  expect(left).toEqual(["1.1.0", "1.2.0", "1.3.0", "current", "previous"]);
});

test("back and forth between two releases", async () => {
  await put("1.0.0", "one");
  await put("1.1.0", "two");
  expect(await switchBack({ files, journal })).toEqual({ from: "1.1.0", to: "1.0.0" });
  expect(await readLinks(files)).toEqual({ current: "1.0.0", previous: "1.1.0" });
  expect(await switchBack({ files, journal })).toEqual({ from: "1.0.0", to: "1.1.0" });
});

test("killed on the way back, one is back or can go back again", async () => {
  for (let step = 0, ended = false; !ended; step++) {
    files = createFakeFiles({ directories: ["/bundle/bin", "/bundle/lib", "/opt", "/var/lib"] });
    await files.create("/bundle/bin/trivet", text("#!/bin/sh\n"), 0o700);
    await files.create("/node", text("ELF"), 0o755);
    journal = createJournal({ files, stateDir: "/var/lib/trivet" });
    await put("1.0.0", "one");
    await put("1.1.0", "two");
    files.settle();
    let seen = 0;
    files.onEffect = (_op, _path, when) => {
      if (when === "after" && seen++ === step) files.halt();
    };
    ended = await switchBack({ files, journal }).then(
      () => true,
      () => false,
    );
    const { current, previous } = await readLinks(files.crash("names"));
    const isBack = current === "1.0.0";
    expect(isBack || (current === "1.1.0" && previous === "1.0.0"), `step ${step}`).toBe(true);
  }
});

test("a full disk keeps nothing of a release that did not fit", async () => {
  files.onEffect = (op, path) => {
    if (op === "file.create" && path.endsWith("/main.js")) throw errnoError("ENOSPC", op, path);
  };
  await expect(place()).rejects.toThrow("ENOSPC");
  expect(files.paths("/opt").filter((line) => !/^\/opt\/trivet /.test(line))).toEqual([]);
});

test("there is no way back from the first release, nor to one that is gone", async () => {
  await put("1.0.0", "one");
  await expect(switchBack({ files, journal })).rejects.toThrow("nothing to go back to");
  await put("1.1.0", "two");
  await files.removeTree("/opt/trivet/1.0.0");
  await expect(switchBack({ files, journal })).rejects.toThrow("1.0.0 is not whole");
  expect(await readLinks(files)).toEqual({ current: "1.1.0", previous: "1.0.0" });
});

test("killed anywhere, also by a power cut, `current` names a whole release", async () => {
  const shelf = createFakeFiles({ directories: ["/bundle/bin"] });
  for (const [path, content] of [
    ["/bundle/package.json", JSON.stringify({ version: "1.1.0" })],
    ["/bundle/main.js", "two"],
    ["/bundle/bin/trivet", "#!/bin/sh\n"],
    ["/node", "ELF"],
  ] as const) {
    await shelf.create(path, text(content), 0o755);
  }
  const release = await readRelease({ files: shelf, bundle: "/bundle", node: "/node" });
  await put("1.0.0", "one");
  for (let step = 0, ended = false; !ended; step++) {
    files.settle();
    const node = files;
    let seen = 0;
    const halt: typeof node.onEffect = (_op, _path, when) => {
      if (when === "after" && seen++ === step) node.halt();
    };
    const deps = { files: node, journal: createJournal({ files: node, stateDir: "/var/lib/trivet" }) };
    node.onEffect = halt;
    ended = await placeRelease(deps, { source: shelf, release })
      .then(({ name }) => switchTo(deps, name))
      .then(
        () => true,
        () => false,
      );
    files = node.crash("names");
    const current = await files.readLink("/opt/trivet/current");
    const main = (await files.read(`/opt/trivet/${current}/main.js`)).toString();
    expect(`${current} ${main}`, `step ${step}`).toMatch(
      ended ? /^1\.1\.0 two$/ : /^1\.0\.0 one$|^1\.1\.0 two$/,
    );
  }
  expect((await files.list("/opt/trivet")).map(({ name }) => name).sort()).toEqual([
    ...["1.0.0", "1.1.0", "current", "previous"],
  ]);
});
