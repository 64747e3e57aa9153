/** What `make bundle` makes, in a directory where nothing else of the repository is. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import packageFile from "../../package.json" with { type: "json" };
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";
import { createCsiClient } from "../fakes/kubelet/csi-client.ts";
import { createVolume, deleteVolume } from "../fakes/kubelet/volumes.ts";

const run = promisify(execFile);
const repository = join(import.meta.dirname, "../..");

let directory: string;
let bundle: string;
let program: string;
let environment: Readonly<Record<string, string>>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-bundle-"));
  execFileSync(process.execPath, ["hack/bundle.ts"], {
    cwd: repository,
    stdio: ["ignore", "ignore", "inherit"],
  });
  bundle = join(directory, "trivet");
  program = join(bundle, "bin/trivet");
  await cp(join(repository, "dist/trivet"), bundle, { recursive: true });
  await mkdir(join(directory, "tmp"));
  environment = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, TMPDIR: join(directory, "tmp") };
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const trivet = async (args: readonly string[], env: Readonly<Record<string, string>> = {}, stdin = "") => {
  const ended = run(program, args, { env: { ...environment, ...env }, cwd: directory });
  ended.child.stdin?.end(stdin);
  return (await ended).stdout;
};

const filesBelow = async (path: string) =>
  (await readdir(path, { recursive: true })).sort().map((name) => join(path, name));

describe("the bundle", () => {
  test("says its version, which is the package's, and shows the help of each of its verbs", async () => {
    expect(await trivet(["version"])).toContain(`trivet ${packageFile.version} (Node.js `);
    const { version } = JSON.parse(await readFile(join(bundle, "package.json"), "utf8")) as {
      version: string;
    };
    expect(version).toBe(packageFile.version);
    const help = await trivet(["--help"]);
    const verbs = [...help.matchAll(/^ {2}([a-z]+) (?:\[options\] )?.*? {2,}\S/gm)].map(
      ([, verb = ""]) => verb,
    );
    expect(verbs).toEqual(expect.arrayContaining(["node", "cri", "cni", "install", "storage"]));
    for (const verb of verbs.filter((name) => name !== "help")) {
      expect(await trivet([verb, "--help"])).toContain(`Usage: trivet ${verb}`);
    }
  });

  test("is the CNI plugin when it is called as one, by any name", async () => {
    const link = join(directory, "plugin");
    await symlink(program, link);
    const call = run(link, [], { env: { ...environment, CNI_COMMAND: "VERSION" } });
    call.child.stdin?.end('{"cniVersion":"1.0.0"}');
    expect(JSON.parse((await call).stdout)).toMatchObject({
      supportedVersions: expect.arrayContaining(["1.1.0"]),
    });
  });

  test("brings the licences of all whose code it carries", async () => {
    const text = await readFile(join(bundle, "THIRD-PARTY.txt"), "utf8");
    for (const name of ["koffi", "@grpc/grpc-js", "protobufjs", "commander", "pino", "yaml"]) {
      expect(text).toMatch(new RegExp(`^${name} [\\d.]+, \\S+$`, "m"));
    }
  });
});

describe("its start script", () => {
  /** A Node.js that only tells what it is given. */
  const echo = async (path: string) => {
    await writeFile(path, '#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n');
    await chmod(path, 0o755);
  };

  test.each(["cri", "node", "cni", "version"])(
    "gives %s the flags that the checkout's gives it",
    async (verb) => {
      const node = join(directory, "told");
      await echo(node);
      const own = (await trivet([verb, "--flag"], { TRIVET_NODE: node })).trim().split("\n");
      // The checkout's takes the Node.js of its packages.
      const checkout = join(directory, "checkout");
      await mkdir(join(checkout, "bin"), { recursive: true });
      const arch = process.arch === "arm64" ? "arm64" : "x64";
      const pinned = join(checkout, `node_modules/node-linux-${arch}/bin`);
      await mkdir(pinned, { recursive: true });
      await cp(join(repository, "bin/trivet"), join(checkout, "bin/trivet"));
      await echo(join(pinned, "node"));
      const { stdout } = await run(join(checkout, "bin/trivet"), [verb, "--flag"], { env: environment });
      const flags = (words: readonly string[]) =>
        words.filter((word) => word.startsWith("--") && word !== "--disable-warning=ExperimentalWarning");
      expect(flags(own)).toEqual(flags(stdout.trim().split("\n")));
      expect(own).toContain(join(bundle, "main.js"));
      if (verb === "cri" || verb === "node") expect(own).toContain("--max-semi-space-size=1");
    },
  );

  test("takes the Node.js beside it before that of the system", async () => {
    const copy = join(directory, "with-node");
    await cp(bundle, copy, { recursive: true });
    await echo(join(copy, "bin/node"));
    const { stdout } = await run(join(copy, "bin/trivet"), ["version"], { env: environment });
    expect(stdout).toBe(`${copy}/main.js\nversion\n`);
  });
});

describe("what a verb loads", () => {
  /** The files that are read for certain when this one is: static imports, and theirs. */
  async function loadedWith(name: string, seen = new Set<string>()): Promise<Set<string>> {
    if (seen.has(name)) return seen;
    seen.add(name);
    const text = await readFile(join(bundle, "lib", name), "utf8");
    for (const [, next = ""] of text.matchAll(/^(?:import|export)\b[^;"]*"\.\/([\w-]+\.js)";$/gm)) {
      await loadedWith(next, seen);
    }
    return seen;
  }

  /** The npm packages in these files: esbuild says before each part where it is from. */
  async function packagesIn(names: Iterable<string>): Promise<string[]> {
    const texts = await Promise.all([...names].map((name) => readFile(join(bundle, "lib", name), "utf8")));
    const found = texts.flatMap((text) => [
      ...text.matchAll(/^\/\/ (?:node_modules\/((?:@[\w-]+\/)?[\w.-]+)|replaced:(koffi)$)/gm),
    ]);
    return [...new Set(found.map(([, name, replaced]) => name ?? replaced ?? ""))].sort();
  }

  const partOf = async (name: string) => {
    const parts = (await readdir(join(bundle, "lib"))).filter((file) =>
      new RegExp(`^${name}-[A-Z0-9]{8}\\.js$`).test(file),
    );
    expect(parts).toHaveLength(1);
    return parts[0] ?? "";
  };

  test("the proxy has nothing of the rest in its memory", async () => {
    const main = await packagesIn(await loadedWith("main.js"));
    expect(main).toEqual(["commander"]);
    const proxy = await packagesIn([
      ...(await loadedWith(await partOf("cri"))),
      ...(await loadedWith(await partOf("cri-process"))),
    ]);
    expect(proxy).toContain("valibot");
    for (const name of [
      "@grpc/grpc-js",
      "protobufjs",
      "koffi",
      "prom-client",
      "systeminformation",
      "re2js",
    ]) {
      expect(proxy).not.toContain(name);
    }
  });

  test("the plugin loads no gRPC", async () => {
    const plugin = await packagesIn([
      ...(await loadedWith(await partOf("cni"))),
      ...(await loadedWith(await partOf("host"))),
    ]);
    expect(plugin).toContain("koffi");
    for (const name of ["@grpc/grpc-js", "protobufjs", "prom-client", "yaml"])
      expect(plugin).not.toContain(name);
  });
});

describe("its daemons", () => {
  async function serving(args: readonly string[], ready: () => Promise<unknown>, work: () => Promise<void>) {
    const child = spawn(program, args, {
      env: environment,
      cwd: directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => {
      log += chunk.toString();
    });
    const exited = once(child, "exit");
    try {
      await expect
        .poll(
          () =>
            ready().then(
              () => "ready",
              () => `${child.exitCode} ${log}`,
            ),
          { timeout: 20_000 },
        )
        .toBe("ready");
      await work();
    } finally {
      child.kill();
      expect(await exited).toEqual([0, null]);
    }
  }

  test("cri passes calls on, and node makes a volume; neither writes a file beside it or into the temporary directory", async () => {
    const before = await filesBelow(bundle);
    const containerd: FakeContainerd = await startFakeContainerd({
      path: join(directory, "containerd.sock"),
    });
    const at = (name: string) => join(directory, name);
    const cri = connectCri({ path: at("cri.sock") });
    await serving(
      ["cri", "--listen", `unix://${at("cri.sock")}`, "--upstream", `unix://${containerd.path}`],
      () => cri.call("Version"),
      async () => {
        expect((await cri.call("Version")).runtime_name).toBe("containerd");
      },
    );
    cri.close();
    await containerd.stop();
    const csi = createCsiClient(at("csi.sock"));
    await serving(
      [
        ...["node", "--node-id", "node-1", "--no-cni", "--no-kubernetes", "--health-address", "127.0.0.1:0"],
        ...[
          "--csi-endpoint",
          `unix://${at("csi.sock")}`,
          "--kubelet-root",
          at("kubelet"),
          "--state-dir",
          at("state"),
        ],
        ...["--storage-socket", `unix://${at("storage.sock")}`],
      ],
      async () => {
        const { ready } = (await csi.call("Probe")) as { ready: { value: boolean } | null };
        if (!ready?.value) throw new Error("not ready");
      },
      async () => {
        const volume = await createVolume(csi, { name: "pvc-1", sizeBytes: 1 << 20 });
        await deleteVolume(csi, volume.volume_id);
      },
    );
    expect(await filesBelow(bundle)).toEqual(before);
    expect(await readdir(join(directory, "tmp"))).toEqual([]);
  });
});
