/** What an installation decides: the conflist, what neighbours mean, what is written and removed, and how a chain is run. */
import { describe, expect, test } from "vitest";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { parseConfig } from "../protocol/netconf.ts";
import { type ChainDeps, parseNetwork } from "./chain.ts";
import { encodeConflist } from "./conflist.ts";
import { isForeign, putFile, readRecord, recordFiles, removeRecorded, type WantedFile } from "./files.ts";
import { judgeNeighbours } from "./neighbours.ts";
import { changesBetween } from "./picture.ts";
import { tryNetwork } from "./self-test.ts";

const choices = { name: "pods", subnets: ["10.1.0.0/24", "fd00::/64", "10.2.0.0/24"], masquerade: true };

describe("the conflist", () => {
  test("is one that the plugin takes, and that old and new runtimes read", () => {
    const { cniVersion, cniVersions, name, plugins } = JSON.parse(encodeConflist(choices));
    expect([cniVersion, cniVersions]).toEqual(["1.0.0", ["0.4.0", "1.0.0", "1.1.0"]]);
    expect(() => parseConfig({ ...plugins[0], name, cniVersion })).not.toThrow();
    expect(plugins[0].ipam.ranges).toEqual([
      [{ subnet: "10.1.0.0/24" }, { subnet: "10.2.0.0/24" }],
      [{ subnet: "fd00::/64" }],
    ]);
  });

  test("without subnets takes the node's podCIDRs", () => {
    const { plugins } = JSON.parse(encodeConflist({ ...choices, subnets: [] }));
    expect(plugins[0].ipam).toEqual({ source: "podCIDRs" });
  });
});

describe("of its neighbours", () => {
  const good = JSON.stringify({ cniVersion: "1.0.0", name: "x", plugins: [{ type: "bridge" }] });
  test.each([
    ["05-other.conflist", good, "sorts before"],
    ["05-broken.conflist", "{", "loads no network at all"],
    ["05-empty.conflist", '{"name":"x","plugins":[]}', "has no plugins"],
    ["05-old.conf", '{"name":"x"}', "has no type"],
    ["99-broken.json", "", "does no harm"],
  ])("%s is warned of", (name, text, said) => {
    expect(judgeNeighbours([{ name, text }], "10-trivet.conflist")).toEqual([expect.stringContaining(said)]);
  });

  test.each([
    ["99-other.conflist", good],
    ["05-notes.txt", "hello"],
    [".10-trivet.conflist.tmp", "{"],
    ["10-trivet.conflist", "{"],
  ])("%s is left unmentioned", (name, text) => {
    expect(judgeNeighbours([{ name, text }], "10-trivet.conflist")).toEqual([]);
  });
});

describe("files", () => {
  const wanted: WantedFile = {
    path: "/etc/cni/net.d/10-trivet.conflist",
    bytes: Buffer.from("new"),
    mode: 0o644,
  };
  const program: WantedFile = { path: "/opt/cni/bin/trivet", bytes: Buffer.from("elf"), mode: 0o755 };
  const world = () => createFakeFiles({ directories: ["/etc", "/opt", "/var/lib"] });
  const install = async (files: ReturnType<typeof world>) => {
    await recordFiles(files, "/var/lib/trivet", [program, wanted]);
    return [await putFile(files, program), await putFile(files, wanted)];
  };

  test("are written once, and then left alone", async () => {
    const files = world();
    expect(await install(files)).toEqual(["written", "written"]);
    expect(await install(files)).toEqual(["unchanged", "unchanged"]);
    expect((await files.stat(program.path)).mode & 0o777).toBe(0o755);
  });

  test("are replaced where they differ, by content or by mode", async () => {
    const files = world();
    await install(files);
    await files.setMode(program.path, 0o600);
    expect(await putFile(files, program)).toBe("replaced");
    expect(await putFile(files, { ...wanted, bytes: Buffer.from("newer") })).toBe("replaced");
  });

  test("are taken away again, the conflist first, and nothing else goes", async () => {
    const files = world();
    await install(files);
    const outcomes = await removeRecorded(files, "/var/lib/trivet");
    expect([...outcomes]).toEqual([
      [wanted.path, "removed"],
      [program.path, "removed"],
    ]);
    expect(files.paths().filter((line) => line.includes(" file "))).toEqual([]);
    expect([...(await removeRecorded(files, "/var/lib/trivet"))]).toEqual([]);
  });

  test("that were changed since are kept, also the second time", async () => {
    const files = world();
    await install(files);
    await files.unlink(wanted.path);
    const mine = '{"plugins": [{"type": "trivet"}]}';
    await files.create(wanted.path, Buffer.from(mine), 0o644);
    for (let time = 0; time < 2; time += 1) {
      expect([...(await removeRecorded(files, "/var/lib/trivet"))]).toEqual([
        [wanted.path, "foreign"],
        [program.path, "needed"],
      ]);
    }
    expect(Buffer.from(await files.read(wanted.path)).toString()).toBe(mine);
    // The runtime goes on starting what that conflist names.
    expect(Buffer.from(await files.read(program.path)).toString()).toBe("elf");
  });

  test("are not kept for a conflist that names another plugin by now", async () => {
    const files = world();
    await install(files);
    await files.unlink(wanted.path);
    await files.create(wanted.path, Buffer.from('{"plugins": [{"type": "bridge"}]}'), 0o644);
    expect([...(await removeRecorded(files, "/var/lib/trivet"))]).toEqual([
      [wanted.path, "foreign"],
      [program.path, "removed"],
    ]);
  });

  test("are ours also when an upgrade was killed before it replaced them", async () => {
    const files = world();
    await install(files);
    const newer = { ...program, bytes: Buffer.from("newer") };
    await recordFiles(files, "/var/lib/trivet", [newer, wanted]);
    expect((await removeRecorded(files, "/var/lib/trivet")).get(program.path)).toBe("removed");
  });

  test("are foreign where we did not write them, or where they were changed since", async () => {
    const files = world();
    const newer = { ...wanted, bytes: Buffer.from("newer") };
    const foreign = async () => isForeign(files, await readRecord(files, "/var/lib/trivet"), newer);
    expect(await foreign()).toBe(false);
    await putFile(files, wanted);
    expect(await foreign()).toBe(true);
    await files.unlink(wanted.path);
    await install(files);
    expect(await foreign()).toBe(false);
    await putFile(files, { ...wanted, bytes: Buffer.from("edited") });
    expect(await foreign()).toBe(true);
    await putFile(files, newer);
    expect(await foreign()).toBe(false);
  });

  test("that somebody else put there with the same bytes are not ours to remove", async () => {
    const files = world();
    await putFile(files, program);
    await install(files);
    await removeRecorded(files, "/var/lib/trivet");
    expect(Buffer.from(await files.read(program.path)).toString()).toBe("elf");
  });
});

describe("a chain", () => {
  const text = JSON.stringify({
    ...{ cniVersion: "0.4.0", cniVersions: ["1.0.0", "9.0.0"], name: "pods" },
    plugins: [{ type: "first" }, { type: "second", key: 1 }],
  });
  interface Ran {
    readonly what: string;
    readonly conf: Record<string, unknown>;
  }

  function trial(fails?: string) {
    const ran: Ran[] = [];
    let removed = 0;
    const exec: ChainDeps["exec"] = async ([program], { env, stdin }) => {
      const what = `${env?.CNI_COMMAND} ${program}`;
      ran.push({ what, conf: JSON.parse(String(stdin)) as Ran["conf"] });
      if (what === fails) return { exitCode: 1, stdout: '{"code":7,"msg":"no"}', stderr: "" };
      return { exitCode: 0, stdout: JSON.stringify({ by: program }), stderr: "" };
    };
    const deps = {
      exec,
      isProgram: async (path: string) => path.startsWith("/b/"),
      makeNamespace: async () => ({ path: "/run/netns/x", remove: async () => void removed++ }),
      nonce: () => "n",
    };
    const run = () => tryNetwork(deps, parseNetwork(text, "net.conflist"), ["/a", "/b"]);
    return { ran, run, removed: () => removed };
  }

  test("goes forward for ADD and CHECK and back for DEL, and hands on name, version and result", async () => {
    const { ran, run, removed } = trial();
    await run();
    expect(ran.map(({ what }) => what)).toEqual([
      ...["ADD /b/first", "ADD /b/second", "CHECK /b/first", "CHECK /b/second"],
      ...["DEL /b/second", "DEL /b/first"],
    ]);
    expect(ran[0]?.conf).toEqual({ type: "first", name: "pods", cniVersion: "1.0.0" });
    expect(ran[1]?.conf).toMatchObject({ key: 1, prevResult: { by: "/b/first" } });
    for (const { conf } of ran.slice(2)) expect(conf.prevResult).toEqual({ by: "/b/second" });
    expect(removed()).toBe(1);
  });

  test.each(["ADD /b/second", "CHECK /b/first", "DEL /b/first"])(
    "ends with DEL when %s fails, and says why",
    async (fails) => {
      const { ran, run, removed } = trial(fails);
      await expect(run()).rejects.toMatchObject({
        kind: "precondition",
        message: expect.stringContaining("no (code 7)"),
      });
      expect(ran.at(-1)?.what).toBe("DEL /b/first");
      expect(removed()).toBe(1);
    },
  );

  test.each([
    ["{", "is no JSON"],
    ["[]", "holds no object"],
    ['{"plugins":[{"type":"x"}]}', "has no name"],
    ['{"name":"n","cniVersion":"1.0.0","plugins":[]}', "names no plugins"],
    ['{"name":"n","cniVersion":"1.0.0","plugins":[{"type":"../x"}]}', "plain file name"],
    ['{"name":"n","plugins":[{"type":"x"}]}', "has no cniVersion"],
  ])("%s is refused", (wrong, said) => {
    expect(() => parseNetwork(wrong, "f")).toThrow(said);
  });
});

test("between two looks only what really changed counts", () => {
  const before = {
    "host link": ["2: a@if3: <UP,LOWER_UP> mtu 1500 state UP", "3: b: <UP> mtu 1500 state DOWN"],
  };
  const after = { "host link": ["7: a@if9: <UP> mtu 1500 state UNKNOWN", "4: c: <UP> mtu 9000 state UP"] };
  expect(changesBetween(before, after)).toEqual([
    { sign: "-", part: "host link", line: "b: <UP> mtu 1500" },
    { sign: "+", part: "host link", line: "c: <UP> mtu 9000" },
  ]);
  expect(changesBetween(before, before)).toEqual([]);
});
