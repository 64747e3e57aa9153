/** The plugin is put in place on a node, tried, used and taken away again, as `trivet install cni` and its neighbours do it. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AgentProcess, startAgentIn } from "./support/cni-agent.ts";
import { World } from "./support/cni-world.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const program = join(repository, "bin/trivet");
let world: World;
let agent: AgentProcess;
let paths: Record<"bin" | "conf" | "record" | "conflist", string>;

beforeAll(async () => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  execFileSync(join(repository, "hack/build-cni-client"), { stdio: ["ignore", "ignore", "inherit"] });
  world = new World();
  const at = (name: string) => join(world.directory, name);
  paths = { bin: at("bin"), conf: at("net.d"), record: at("var"), conflist: at("net.d/10-trivet.conflist") };
  agent = await startAgentIn(world.name("node"), world.socket, world.stateDir);
});
afterAll(async () => {
  await agent.stop();
  await world.destroy();
});

/** In the node's network, and in nothing else of it: namespaces that it makes must be the agent's too. */
function trivet(...args: string[]) {
  const argv = [`--net=${world.netns("node")}`, program, ...args];
  const { status, stdout, stderr } = spawnSync("nsenter", argv, { encoding: "utf8" });
  return { status, stdout, stderr };
}

function install(...more: string[]) {
  return trivet(
    ...["install", "cni", "--subnet", "10.88.0.0/16", "--bin-dir", paths.bin, "--conf-dir", paths.conf],
    ...[
      "--state-dir",
      paths.record,
      "--socket",
      world.socket,
      "--lease-dir",
      world.stateDir,
      "--runtime",
      program,
    ],
    ...more,
  );
}

const outcomes = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(/\s{2,}/)[1]);

test("a dry run changes nothing", () => {
  const { status, stdout } = install("--dry-run");
  expect([status, outcomes(stdout)]).toEqual([
    0,
    ["would be run", "would be written", "would be written", "would be written"],
  ]);
  for (const path of [paths.bin, paths.conf, paths.record]) expect(existsSync(path)).toBe(false);
});

test("a wrong setting is named, and nothing is written", () => {
  const { status, stderr } = install("--subnet", "10.0.0.0/99", "--mtu", "9");
  expect(status).toBe(2);
  for (const said of ["10.0.0.0/99", "mtu"]) expect(stderr).toContain(said);
  expect(existsSync(paths.bin)).toBe(false);
});

test("where the network does not work nothing is put in place", () => {
  const { status, stderr } = install("--client", "/bin/false");
  expect(status).toBe(1);
  expect(stderr).toContain("ADD by");
  expect(existsSync(paths.conflist)).toBe(false);
  expect(readdirSync(paths.bin)).toEqual([]);
});

test("programs and conflist are put in place after the network was tried, and that leaves nothing behind", () => {
  const before = world.picture();
  const { status, stdout, stderr } = install("--loopback");
  expect([status, stderr]).toEqual([0, ""]);
  expect(outcomes(stdout)).toEqual([
    "ADD, CHECK and DEL went well",
    ...["written", "written", "written", "written"],
  ]);
  expect(readdirSync(paths.bin).sort()).toEqual([".trivet-standalone", "loopback", "trivet"]);
  expect(statSync(join(paths.bin, "trivet")).mode & 0o777).toBe(0o700);
  expect(readdirSync(paths.conf)).toEqual(["10-trivet.conflist"]);
  expect(world.picture()).toEqual(before);
});

test("a second run leaves every file alone", () => {
  const written = statSync(paths.conflist, { bigint: true });
  const { status, stdout } = install("--loopback");
  expect([status, outcomes(stdout)]).toEqual([0, ["not run", ...Array(4).fill("unchanged")]]);
  expect(statSync(paths.conflist, { bigint: true })).toMatchObject({
    ino: written.ino,
    mtimeNs: written.mtimeNs,
  });
});

test("a path that is not absolute is taken from here, since the client is started elsewhere", () => {
  const { status, stdout } = install("--loopback", "--runtime", relative(process.cwd(), program));
  expect([status, outcomes(stdout)]).toEqual([0, ["not run", ...Array(4).fill("unchanged")]]);
});

test("what is installed works, and the loopback plugin too", () => {
  const tried = trivet(
    "network",
    "test",
    "--conflist",
    paths.conflist,
    "--plugin-dir",
    paths.bin,
    "-o",
    "json",
  );
  expect(tried.status, tried.stdout + tried.stderr).toBe(0);
  const { steps, left } = JSON.parse(tried.stdout);
  expect(steps.map(({ step }: { step: string }) => step)).toEqual(["ADD", "CHECK", "DEL"]);
  expect(left).toEqual([]);
  const added = steps[0].changes.map(
    ({ sign, part, line }: Record<string, string>) => `${sign} ${part}: ${line}`,
  );
  expect(added).toContainEqual(expect.stringMatching(/^\+ pod address: eth0 inet 10\.88\.\d+\.\d+\/32/));
  const loopback = join(world.directory, "loopback.conf");
  writeFileSync(
    loopback,
    JSON.stringify({ cniVersion: "1.0.0", name: "cni-loopback", type: "loopback", socket: world.socket }),
  );
  const { status, stdout } = trivet("network", "test", "--conflist", loopback, "--plugin-dir", paths.bin);
  expect(stdout).toContain("+ pod address: lo inet 127.0.0.1/8");
  expect(status).toBe(0);
});

test("a network test that fails says why, and leaves nothing", () => {
  const before = world.picture();
  const wrong = join(world.directory, "wrong.conflist");
  const conflist = JSON.parse(readFileSync(paths.conflist, "utf8"));
  writeFileSync(wrong, JSON.stringify({ ...conflist, plugins: [...conflist.plugins, { type: "none" }] }));
  const { status, stdout } = trivet("network", "test", "--conflist", wrong, "--plugin-dir", paths.bin);
  expect(status).toBe(1);
  expect(stdout).toContain("failed: none is not in");
  expect(world.picture()).toEqual(before);
});

test("a conflist that was edited stays until somebody says what to do with it", () => {
  const written = readFileSync(paths.conflist, "utf8");
  const edited = written.replace('"ipMasq": true', '"ipMasq": false');
  writeFileSync(paths.conflist, edited);
  const { status, stderr } = install();
  expect([status, stderr]).toEqual([1, expect.stringContaining("--edited keep")]);
  expect(install("--edited", "keep").status).toBe(0);
  expect(readFileSync(paths.conflist, "utf8")).toBe(edited);
  expect(outcomes(install("--edited", "replace").stdout)[0]).toBe("ADD, CHECK and DEL went well");
  expect(readFileSync(paths.conflist, "utf8")).toBe(written);
});

test("neighbours that would get in the way are warned of", () => {
  writeFileSync(join(paths.conf, "05-broken.conflist"), "{");
  const { status, stderr } = install("--loopback");
  expect(status).toBe(0);
  expect(stderr).toContain("05-broken.conflist is no JSON");
});

test("uninstalling takes away what was installed, and nothing else", () => {
  mkdirSync(join(paths.bin, "kept"));
  writeFileSync(join(paths.bin, "loopback"), "another's now");
  const { status, stdout } = trivet("uninstall", "cni", "--state-dir", paths.record);
  expect([status, stdout]).toEqual([1, expect.stringContaining("kept: it was changed since")]);
  expect(readdirSync(paths.bin).sort()).toEqual(["kept", "loopback"]);
  expect(readdirSync(paths.conf)).toEqual(["05-broken.conflist"]);
});
