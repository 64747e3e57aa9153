/** The journal: what it records, restores, refuses, and what is left when it is killed at any step. */
import { describe, expect, test } from "vitest";
import { createFakeFiles, type FakeFiles, type Survival } from "../../test/fakes/files.ts";
import { TrivetError } from "../errors.ts";
import { errnoError } from "../host/errno.ts";
import { createJournal, type Journal } from "./journal.ts";
import { removeLock, whileLocked } from "./lock.ts";
import { clearMark, readMark, setMark } from "./marks.ts";

const stateDir = "/var/lib/trivet";
const text = (content: string) => Buffer.from(content);
const edited = "/etc/kubelet.env";
const added = "/opt/trivet/bypass";
const swapped = "/opt/trivet/current";
const removed = "/etc/old.service";

async function node(): Promise<FakeFiles> {
  const files = createFakeFiles({ directories: ["/etc", "/opt", "/var/lib"] });
  await files.create(edited, text("before\n"), 0o640);
  await files.setOwner(edited, 7, 8);
  await files.create(removed, text("old unit\n"), 0o644);
  files.settle();
  return files;
}

const journalOf = (files: FakeFiles): Journal => createJournal({ files, stateDir });

/** All that an installation does: new file, edited file, link, swapped link, second version, tree, removal. */
async function install(files: FakeFiles): Promise<void> {
  await whileLocked(files, stateDir, async () => {
    const journal = journalOf(files);
    await journal.replace({ path: added, content: text("sh\n"), mode: 0o755, owner: "runtime" });
    for (const version of ["/opt/trivet/1", "/opt/trivet/2"]) {
      await journal.claimTree({ path: version, owner: "runtime" });
      if (!files.peek(version)) await files.mkdir(version, 0o755);
      await files.sync("/opt/trivet");
      await journal.link({ path: swapped, target: version, owner: "runtime" });
      const content = text(`endpoint ${version}\n`);
      await journal.replace({ path: edited, content, mode: 0o644, owner: "kubelet" });
    }
    await journal.remove({ path: removed, owner: "units" });
  });
}

async function uninstall(files: FakeFiles): Promise<void> {
  await whileLocked(files, stateDir, async () => {
    const journal = journalOf(files);
    for (const owner of ["kubelet", "units", "cni", "runtime"] as const) await journal.restore({ owner });
    await removeLock(files, stateDir);
  });
}

async function picture(files: FakeFiles): Promise<Record<string, string>> {
  const shown: Record<string, string> = {};
  for (const line of files.paths("/")) {
    const [path = "", kind] = line.split(" ");
    const { uid, gid } = await files.stat(path);
    const content =
      kind === "file"
        ? (await files.read(path)).toString()
        : kind === "symlink"
          ? await files.readLink(path)
          : "";
    shown[path] = `${line} ${uid}:${gid} ${content}`;
  }
  return shown;
}

const withoutState = (shown: Record<string, string>) =>
  Object.fromEntries(Object.entries(shown).filter(([path]) => !path.startsWith(stateDir)));

test("what was there comes back with content, mode and owner, and nothing else is left", async () => {
  const files = await node();
  const before = await picture(files);
  await install(files);
  const installed = await picture(files);
  expect(installed[edited]).toContain("endpoint /opt/trivet/2");
  expect(installed[edited], "its user and group stay").toContain("7:8");
  expect(installed[swapped]).toContain("/opt/trivet/2");
  expect(installed[removed]).toBeUndefined();
  await uninstall(files);
  expect(await picture(files)).toEqual(before);
});

test("a second run changes nothing", async () => {
  const files = await node();
  await install(files);
  const before = await picture(files);
  const journal = journalOf(files);
  const file = { path: added, content: text("sh\n"), mode: 0o755, owner: "runtime" } as const;
  const wrong = { ...file, mode: 0o700 };
  expect([await journal.look(file), await journal.look(wrong)]).toEqual(["unchanged", "replaced"]);
  expect([
    await journal.replace(file),
    await journal.link({ path: swapped, target: "/opt/trivet/2", owner: "runtime" }),
    await journal.remove({ path: removed, owner: "units" }),
  ]).toEqual(["unchanged", "unchanged", "unchanged"]);
  expect(await picture(files)).toEqual(before);
});

test("what has the right bytes by somebody else's hand is left alone, also afterwards", async () => {
  const files = await node();
  const journal = journalOf(files);
  const file = { path: edited, content: text("before\n"), mode: 0o640, owner: "kubelet" } as const;
  expect(await journal.replace(file)).toBe("unchanged");
  expect(await journal.entries()).toEqual([]);
});

test("a state directory that is not absolute is refused", async () => {
  const files = await node();
  expect(() => createJournal({ files, stateDir: "here" })).toThrow(/must be an absolute path/);
});

test("what a full disk cut off is not left beside the file", async () => {
  const files = await node();
  files.onEffect = (op, path) => {
    if (op === "file.chmod" && path.includes(".trivet-new")) throw errnoError("ENOSPC", op, path);
  };
  const work = journalOf(files).replace({ path: edited, content: text("x"), mode: 0o644, owner: "kubelet" });
  await expect(work).rejects.toThrow("ENOSPC");
  expect(files.paths("/etc").filter((line) => line.includes("trivet-new"))).toEqual([]);
});

test("an empty directory stays as long as the part that it was made for does", async () => {
  const files = await node();
  const journal = journalOf(files);
  await journal.makeDirectory("/etc/trivet/policies");
  await journal.replace({ path: "/etc/units/a", content: text("a"), mode: 0o644, owner: "units" });
  await journal.replace({ path: "/opt/trivet/bypass", content: text("b"), mode: 0o755, owner: "runtime" });
  await journal.restore({ paths: ["/opt/trivet/bypass"] });
  expect(files.peek("/opt/trivet")).toBeUndefined();
  expect(files.peek("/etc/trivet/policies")).toBeDefined();
  await journal.restore();
  expect(files.peek("/etc/trivet")).toBeUndefined();
});

describe("a file that somebody changed since", () => {
  const change = async (files: FakeFiles) => {
    await files.unlink(edited);
    await files.create(edited, text("somebody's\n"), 0o600);
  };
  const again = { path: edited, content: text("next\n"), mode: 0o644, owner: "kubelet" } as const;

  test("is not overwritten, and the message says what to do", async () => {
    const files = await node();
    await install(files);
    await change(files);
    const refused = journalOf(files).replace(again);
    await expect(refused).rejects.toMatchObject({ kind: "conflict", subject: edited });
    await expect(refused).rejects.toThrow("--force");
    expect((await files.read(edited)).toString()).toBe("somebody's\n");
  });

  test("is not restored, but all the others are", async () => {
    const files = await node();
    await install(files);
    await change(files);
    const outcomes = (await journalOf(files).restore()).map(({ path, outcome }) => [path, outcome]);
    expect(outcomes).toEqual([
      [removed, "restored"],
      ["/opt/trivet/2", "removed"],
      [edited, "changed"],
      [swapped, "removed"],
      ["/opt/trivet/1", "removed"],
      [added, "removed"],
    ]);
    expect((await files.read(edited)).toString()).toBe("somebody's\n");
    expect((await journalOf(files).entries()).map(({ path }) => path)).toEqual([edited]);
  });

  test("is overwritten with force, and what was there before us is still what comes back", async () => {
    const files = await node();
    await install(files);
    await change(files);
    await journalOf(files).replace({ ...again, force: true });
    expect((await files.read(edited)).toString()).toBe("next\n");
    await change(files);
    await journalOf(files).restore({ owner: "kubelet", force: true });
    expect((await files.read(edited)).toString()).toBe("before\n");
    expect(await files.stat(edited)).toMatchObject({ mode: 0o640, uid: 7, gid: 8 });
  });

  test("only by its mode is restored, mode and all", async () => {
    const files = await node();
    await install(files);
    await files.setMode(edited, 0o777);
    await journalOf(files).restore({ owner: "kubelet" });
    expect(await files.stat(edited)).toMatchObject({ mode: 0o640 });
  });

  test("that another has removed does not come back", async () => {
    const files = await node();
    await install(files);
    await files.unlink(edited);
    expect(await journalOf(files).restore({ owner: "kubelet" })).toMatchObject([{ outcome: "changed" }]);
    expect(files.peek(edited)).toBeUndefined();
  });
});

test("a file that another writer puts in place and takes away is restored as well", async () => {
  const files = await node();
  const journal = journalOf(files);
  const mine = { path: edited, content: text("plugin\n"), mode: 0o644, owner: "cni" } as const;
  await journal.keep(mine);
  await files.unlink(edited);
  expect(await journal.restore({ owner: "cni" })).toMatchObject([
    { outcome: "restored", now: { kind: "file" } },
  ]);
  expect((await files.read(edited)).toString()).toBe("before\n");
});

test("a directory that we made stays for as long as others use it", async () => {
  const files = await node();
  await install(files);
  await files.create("/opt/trivet/notes", text("mine"), 0o600);
  await journalOf(files).restore();
  expect(files.peek("/opt/trivet/notes")).toBeDefined();
  await files.unlink("/opt/trivet/notes");
  await journalOf(files).restore();
  expect(files.peek("/opt/trivet")).toBeUndefined();
});

test("a dry run says what would be done, and changes nothing", async () => {
  const files = await node();
  await install(files);
  const before = await picture(files);
  const planned = await journalOf(files).restore({ dryRun: true });
  expect(planned.map(({ outcome }) => outcome)).toContain("restored");
  expect(await picture(files)).toEqual(before);
});

test.each([
  ["a path of another part", { path: edited, owner: "units" }, "conflict"],
  ["a relative path", { path: "etc/x", owner: "units" }, "invalid"],
  ["a path with ..", { path: "/etc/../x", owner: "units" }, "invalid"],
  ["a path with a newline", { path: "/etc/a\nb", owner: "units" }, "invalid"],
  ["a directory", { path: "/etc", owner: "units" }, "conflict"],
] as const)("%s is refused, and nothing is changed", async (_title, file, kind) => {
  const files = await node();
  await install(files);
  const before = await picture(files);
  const refused = journalOf(files).replace({ ...file, content: text("x"), mode: 0o644 });
  await expect(refused).rejects.toMatchObject({ kind });
  expect(await picture(files)).toEqual(before);
});

test("a directory that is there and not ours is not claimed", async () => {
  const files = await node();
  await files.mkdir("/opt/trivet", 0o755);
  await files.mkdir("/opt/trivet/1", 0o755);
  const claimed = journalOf(files).claimTree({ path: "/opt/trivet/1", owner: "runtime" });
  await expect(claimed).rejects.toMatchObject({ kind: "conflict" });
});

test("an entry that was edited by hand is named, and nothing is restored by guessing", async () => {
  const files = await node();
  await install(files);
  const entry = `${stateDir}/install/journal/000001-runtime/before`;
  await files.unlink(entry);
  await files.create(entry, text("file rw-r--r--\n"), 0o600);
  await expect(journalOf(files).restore()).rejects.toThrow("000001-runtime cannot be read");
});

test("a mark is one line, and goes without a trace", async () => {
  const files = await node();
  const at = { files, stateDir };
  await setMark(at, "kubelet-restart", "systemctl restart kubelet");
  expect(await readMark(at, "kubelet-restart")).toBe("systemctl restart kubelet");
  await expect(setMark(at, "kubelet-restart", "a\nb")).rejects.toMatchObject({ kind: "invalid" });
  await clearMark(at, "kubelet-restart");
  expect(await readMark(at, "kubelet-restart")).toBeUndefined();
  expect(files.peek(`${stateDir}/install/marks`)).toBeUndefined();
});

describe("killed at any step", () => {
  type Way = "error" | "kill" | Extract<Survival, string>;
  const ways: readonly Way[] = ["error", "kill", "synced", "names"];
  /** Each way begins somewhere else, so that together they meet every step. */
  const every = ways.length;

  /** Runs `act` until effect `step`, then lets it fail that way. Gives what a new process finds, or undefined if it came to its end. */
  async function cut(files: FakeFiles, act: (files: FakeFiles) => Promise<void>, step: number, way: Way) {
    let seen = 0;
    let cutOff = false;
    files.onEffect = (op, path, when) => {
      if (when !== (way === "error" ? "before" : "after") || seen++ !== step) return;
      cutOff = true;
      if (way === "error") {
        throw new TrivetError({ kind: "io", op, subject: path, message: "the disk is broken" });
      }
      files.halt();
    };
    await act(files).catch(() => undefined);
    files.onEffect = undefined;
    if (!cutOff) return undefined;
    return way === "error" ? files : files.crash(way === "kill" ? "everything" : (way as Survival));
  }

  const prepared = async (act?: (files: FakeFiles) => Promise<void>) => {
    const files = await node();
    await act?.(files);
    files.settle();
    return files;
  };

  test.each(ways)("an installation that is run again is complete, and can be taken back: %s", async (way) => {
    const before = await picture(await prepared());
    const whole = withoutState(await picture(await prepared(install)));
    for (let step = ways.indexOf(way); ; step += every) {
      const found = await cut(await prepared(), install, step, way);
      if (!found) return expect(step).toBeGreaterThan(100);
      if (Math.floor(step / every) % 2 === 0) {
        await install(found);
        expect(withoutState(await picture(found)), `${way} at step ${step}, then again`).toEqual(whole);
      }
      await uninstall(found);
      expect(await picture(found), `${way} at step ${step}, then removed`).toEqual(before);
    }
  });

  test.each(ways)("a removal that is run again is complete: %s", async (way) => {
    const before = await picture(await prepared());
    for (let step = ways.indexOf(way) + 1; ; step += every - 1) {
      const found = await cut(await prepared(install), uninstall, step, way);
      if (!found) return expect(step).toBeGreaterThan(100);
      await uninstall(found);
      expect(await picture(found), `${way} at step ${step}`).toEqual(before);
    }
  });
});
