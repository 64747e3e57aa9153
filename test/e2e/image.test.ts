/**
 * The image of `make image` in a real containerd, its containers made as the DaemonSet has them. What a node would have is
 * below a scratch directory; containerd is in a network namespace of its own.
 */
import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BuiltImage, buildImage } from "../../hack/image/make-image.ts";
import { goalBytes, layers } from "../../hack/image/settings.ts";
import packageFile from "../../package.json" with { type: "json" };
import { defaultCacheDir } from "../../src/cni/libcni-cache.ts";
import { createMounts } from "../../src/host/mount.ts";
import { createSyscalls } from "../../src/host/syscall.ts";
import { type CriClient, connectCri } from "../fakes/kubelet/cri-client.ts";
import { type CsiClient, createCsiClient } from "../fakes/kubelet/csi-client.ts";
import { volumePaths } from "../fakes/kubelet/csi-paths.ts";
import { startPod, stopPod } from "../fakes/kubelet/pod.ts";
import { createVolume, deleteVolume, mountVolume, unmountVolume } from "../fakes/kubelet/volumes.ts";
import { World } from "./support/cni-world.ts";
import { type PrivateContainerd, startContainerd } from "./support/containerd.ts";
import { type DaemonSetPod, type StartedContainer, startDaemonSetPod } from "./support/daemonset-pod.ts";
import { loopsBelow } from "./support/image-world.ts";
import { type ProxiedCri, startProxiedCri } from "./support/proxied-cri.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const driver = "local.csi.trivet.dev";
const network = `trivet-image-${process.pid}`;
const MIB = 1 << 20;
const mounts = createMounts(createSyscalls());

let world: World;
let containerd: PrivateContainerd;
let proxy: ProxiedCri;
let cri: CriClient;
let image: BuiltImage;
let pod: DaemonSetPod;
/** Its layers, unpacked. */
let root: string;
let agent: StartedContainer;
let csi: CsiClient;

const at = (...parts: string[]) => join(world.directory, ...parts);
/** As an administrator of the node sees it. */
const onNode = (...parts: string[]) => at("node", ...parts);
const run = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: "utf8" });

beforeAll(async () => {
  expect(process.getuid?.(), "this test starts a containerd: it needs root").toBe(0);
  for (const script of ["hack/build-cni-client", "hack/bundle.ts"]) {
    const argv = script.endsWith(".ts") ? [process.execPath, script] : [script];
    execFileSync(argv[0] ?? "", argv.slice(1), { cwd: repository, stdio: ["ignore", "ignore", "inherit"] });
  }
  world = new World();
  root = at("root");
  mkdirSync(onNode(), { recursive: true });
  // As the node's own file system is, so that mounts made in a pod can come out of it.
  run("mount", "--bind", onNode(), onNode());
  run("mount", "--make-shared", onNode());
  image = await buildImage(at("image.tar"));
  mkdirSync(root);
  for (const { blob } of image.layers) execFileSync("tar", ["-xzC", root], { input: blob.content });
  // As the runtime is on a node: what the plugin falls back on.
  mkdirSync(onNode("opt/trivet"), { recursive: true });
  run("cp", "-r", join(root, "usr/lib/trivet"), onNode("opt/trivet/current"));
  mkdirSync(onNode("var/lib/trivet/images"), { recursive: true });
  containerd = await startContainerd({
    ...{ root: onNode("c"), cniBinDir: onNode("opt/cni/bin"), cniConfDir: onNode("etc/cni/net.d") },
    netns: world.netns("node"),
  });
  // The kubelet's side goes through a proxy of this checkout; the one in the image has a test of its own.
  proxy = await startProxiedCri(containerd.socket, world.directory);
  cri = connectCri({ path: proxy.path });
  run("ctr", "--address", containerd.socket, "--namespace", "k8s.io", "images", "import", image.path);
  // With this containerd's socket, and the namespaces of its pods, which are not in /run/netns.
  const alike = [onNode("run"), onNode("opt"), containerd.paths.root];
  for (const path of alike) mkdirSync(path, { recursive: true });
  pod = await startDaemonSetPod({ cri, image: image.name, node: onNode(), alike });
});

afterAll(async () => {
  cri?.close();
  await proxy?.stop();
  await containerd?.stop();
  if (!world) return; // there was nothing to build an image of
  for (const { mountPoint } of [...(await mounts.list())].reverse()) {
    if (mountPoint.startsWith(onNode())) await mounts.unmount(mountPoint);
  }
  await world.destroy();
  const results = join(defaultCacheDir, "results");
  for (const name of existsSync(results) ? readdirSync(results) : []) {
    if (name.startsWith(network)) rmSync(join(results, name));
  }
});

describe("the archive", () => {
  test("is the same when it is built again, and within its size", async () => {
    const again = await buildImage(at("again.tar"));
    expect(again.digest).toBe(image.digest);
    expect(readFileSync(again.path).equals(readFileSync(image.path))).toBe(true);
    rmSync(again.path);
    const unpacked = image.layers.reduce((sum, { unpackedBytes }) => sum + unpackedBytes, 0);
    expect(unpacked).toBeGreaterThan(50e6);
    expect(unpacked).toBeLessThan(goalBytes);
  });

  test("has every library that a program in it needs, and nothing that gives rights to who runs it", () => {
    const files = run("find", root, "-type", "f").trim().split("\n");
    const elf = files.filter((path) => readFileSync(path).subarray(0, 4).toString("latin1") === "\x7fELF");
    const inside = elf.map((path) => path.slice(root.length));
    const dynamic = inside.filter(
      (path) => !path.startsWith("/usr/lib/trivet/cni/") && !path.includes("/ld-"),
    );
    // Node.js, its addon, and about fifty of Debian.
    expect(dynamic.length).toBeGreaterThan(40);
    // By their own loader, where nothing of this machine can be found.
    const loader = `/${run("find", root, "-name", "ld-linux-*", "-type", "f")
      .trim()
      .slice(root.length + 1)}`;
    const listed = dynamic.map((path) => `${path}:\n${run("chroot", root, loader, "--list", path)}`);
    expect(listed.filter((text) => text.includes("not found"))).toEqual([]);
    expect(listed.join()).toContain("libstdc++.so.6 => ");
    expect(files.filter((path) => (statSync(path).mode & 0o6000) !== 0)).toEqual([]);
  });

  test("says which packages it is made of, and under which licences", async () => {
    const names = "$(ls /var/lib/dpkg/status.d)";
    const script = `for name in ${names}; do cat /usr/share/doc/$name/copyright >/dev/null || exit 1; echo $name; done`;
    const { exitCode, output } = await pod.run(["-c", script], ["/bin/sh"]);
    expect(output).toMatch(/^e2fsprogs$/m);
    expect(output).toMatch(/^libc6$/m);
    expect(exitCode).toBe(0);
  });
});

describe("its verbs, as the DaemonSet's pod runs them", () => {
  test("version, and help when it is given nothing", async () => {
    const version = await pod.run(["version"]);
    expect(version.output).toContain(`trivet ${packageFile.version} (Node.js 24.`);
    expect(version.exitCode).toBe(0);
    const help = await pod.run([]);
    expect(help.output).toMatch(/^Usage: trivet \[options\]/);
    expect(help.exitCode).toBe(0);
  });

  test("install cni puts the plugin onto the node, having tried it there", async () => {
    const { exitCode, output } = await pod.run([
      ...["install", "cni", "--subnet", "10.244.9.0/24", "--name", network, "--loopback"],
      ...["--runtime", onNode("opt/trivet/current/bin/trivet"), "--state-dir", onNode("run/trivet-var")],
      ...["--bin-dir", onNode("opt/cni/bin"), "--conf-dir", "/etc/cni/net.d"],
      ...["--socket", onNode("run/trivet/cni.sock"), "--lease-dir", onNode("run/trivet/cni")],
    ]);
    expect(output).toMatch(/self-test +ADD, CHECK and DEL went well/);
    expect(exitCode).toBe(0);
    expect(readFileSync(onNode("opt/cni/bin/trivet")).subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    expect(readdirSync(onNode("etc/cni/net.d"))).toEqual(["10-trivet.conflist"]);
  });

  test("node serves with the manifest's arguments on a read-only root", async () => {
    agent = await pod.start([
      ...pod.args,
      ...["--node-id", "node-1", "--no-kubernetes", "--pool", `default=/var/lib/trivet/pool`],
      ...["--pool", "images=/var/lib/trivet/images,backend=image,requireMount=false"],
      ...["--cni-socket", `unix://${onNode("run/trivet/cni.sock")}`],
      ...["--cni-state-dir", onNode("run/trivet/cni")],
    ]);
    csi = createCsiClient(volumePaths(pod.kubeletRoot).socket(driver));
    const ready = () =>
      csi.call("Probe").then(
        (answer) => (answer as { ready?: { value: boolean } }).ready?.value,
        () => agent.output(),
      );
    await expect.poll(ready, { timeout: 20_000 }).toBe(true);
    const { output } = await agent.exec("/bin/sh", "-c", "echo >/written");
    expect(output).toContain("Read-only file system");
  });

  test("storage and network tell of it, from within", async () => {
    const pools = await agent.exec("trivet", "storage", "pools");
    expect(pools.output).toMatch(/^default +/m);
    expect(pools.exitCode).toBe(0);
    const leases = await agent.exec("trivet", "network", "leases", "--state-dir", onNode("run/trivet/cni"));
    expect(leases.exitCode).toBe(0);
  });

  test("doctor finds its own daemon well, and lacks no program", async () => {
    // All that it looks for is mounted at the node's own paths: the machine's first process may be nobody's to look at.
    const { output } = await agent.exec(
      ...["trivet", "doctor", "--all", "-o", "json", "--root", "/", "--kubelet-root", pod.kubeletRoot],
      ...["--cri-socket", containerd.socket, "--cni-socket", onNode("run/trivet/cni.sock")],
      ...["--storage-socket", onNode("run/trivet/storage.sock"), "--state-dir", onNode("var/lib/trivet")],
      ...["--cni-conf-dir", onNode("etc/cni/net.d"), "--cni-bin-dir", onNode("opt/cni/bin")],
    );
    const { findings } = JSON.parse(output) as { findings: Readonly<Record<string, string>>[] };
    const errors = findings.filter(({ level }) => level === "error");
    // There is no kubelet, and all the rest is well.
    expect(errors.filter(({ area }) => area !== "kubelet")).toEqual([]);
    const seen = findings.map(({ level, area, subject }) => `${level} ${area} ${subject}`);
    // Nobody has taken the driver here, and that is told.
    expect(seen).toEqual(
      expect.arrayContaining(["ok storage pool images", "ok network plugin", "warning kubelet registration"]),
    );
  });

  test("a pod of the node gets its address and its volume through it, and both go with the pod", async () => {
    const volume = await createVolume(csi, { name: "pvc-1", sizeBytes: 16 * MIB });
    const write = "echo written >/data/file; ip -4 -o addr show eth0 >/data/address; sleep 600";
    const running = await startPod(
      { cri, csi, kubeletRoot: pod.kubeletRoot, logRoot: at("pods") },
      {
        ...{ name: "web", namespace: "shop", uid: randomUUID() },
        volumes: [{ name: "pvc-1", driver, volumeId: volume.volume_id }],
        containers: [
          {
            ...{ name: "main", image: containerd.image, command: ["sh", "-c", write] },
            volumeMounts: { "pvc-1": "/data" },
          },
        ],
      },
    );
    expect(running.ip).toMatch(/^10\.244\.9\.\d+$/);
    const target = running.volumes[0]?.targetPath ?? "";
    // Mounted in the pod of the DaemonSet, and seen on the node: that is what Bidirectional is for.
    expect((await mounts.list()).map(({ mountPoint }) => mountPoint)).toContain(target);
    const read = (name: string) =>
      existsSync(join(target, name)) ? readFileSync(join(target, name), "utf8") : "";
    await expect.poll(() => read("address"), { timeout: 10_000 }).toContain(`inet ${running.ip}/32`);
    expect(read("file")).toBe("written\n");
    await stopPod(running, 0);
    expect((await mounts.list()).map(({ mountPoint }) => mountPoint)).not.toContain(target);
    await deleteVolume(csi, volume.volume_id);
    expect(world.exec("node", "ip", "-o", "link")).not.toMatch(/: tv/);
  });

  test.each(["ext4", "xfs", "btrfs"])(
    "an image volume with %s is made, written, copied by way of a snapshot, and read, with the tools within",
    async (fsType) => {
      const class_ = { sizeBytes: 320 * MIB, parameters: { pool: "images", backend: "image", fsType } };
      const volume = await createVolume(csi, { name: `pvc-${fsType}`, ...class_ });
      const mount = (volumeId: string) =>
        mountVolume({
          ...{ csi, driver, kubeletRoot: pod.kubeletRoot, podUid: randomUUID(), name: volumeId, volumeId },
        });
      const mounted = await mount(volume.volume_id);
      expect(run("findmnt", "-no", "FSTYPE", mounted.targetPath).trim()).toBe(fsType);
      run("sh", "-c", `echo ${fsType} >${mounted.targetPath}/file && sync -f ${mounted.targetPath}`);
      // Of what is mounted: the file system is frozen meanwhile.
      const { snapshot } = (await csi.call("CreateSnapshot", {
        ...{ source_volume_id: volume.volume_id, name: `snapshot-${fsType}` },
      })) as { snapshot: { snapshot_id: string } };
      const { volume: copy } = await csi.call("CreateVolume", {
        ...{ name: `pvc-copy-${fsType}`, parameters: class_.parameters },
        capacity_range: { required_bytes: String(class_.sizeBytes) },
        volume_capabilities: [
          { mount: { fs_type: "", mount_flags: [] }, access_mode: { mode: "SINGLE_NODE_WRITER" } },
        ],
        volume_content_source: { snapshot: { snapshot_id: snapshot.snapshot_id } },
      });
      // At the same time as its original: it must have an identity of its own by then.
      const second = await mount(copy?.volume_id ?? "");
      expect(readFileSync(join(second.targetPath, "file"), "utf8")).toBe(`${fsType}\n`);
      for (const each of [second, mounted]) await unmountVolume(each);
      for (const id of [copy?.volume_id ?? "", volume.volume_id]) await deleteVolume(csi, id);
      await csi.call("DeleteSnapshot", { snapshot_id: snapshot.snapshot_id });
    },
  );

  test("node ends in order when the kubelet says so, and leaves no mount and no loop device", async () => {
    expect(await agent.stop()).toBe(0);
    const left = (await mounts.list()).filter(({ mountPoint }) =>
      mountPoint.startsWith(`${pod.kubeletRoot}/`),
    );
    expect(left).toEqual([]);
    expect(await loopsBelow(onNode())).toEqual([]);
  });

  test("install, as the init container runs it, puts the runtime, the proxy and the network onto a node that it sees, all of which works there", async () => {
    // The node of this test: this machine's files, but what is installed lies on file systems that end with it.
    const lives = `mount -t tmpfs none /opt && mount -t tmpfs none /run && mount -t tmpfs none /var/lib &&
      mkdir /run/etc /run/work && mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work none /etc &&
      rm -rf /etc/cni && mkdir /etc/cni && echo ready && exec sleep 600`;
    const inNetwork = [`--net=${world.netns("node")}`, "unshare", "--mount", "sh", "-c", lives];
    const node = spawn("nsenter", inNetwork, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(node, "exit");
    try {
      await once(node.stdout, "data");
      const there = (...argv: string[]) => run("nsenter", "-t", String(node.pid), "-m", "-n", "--", ...argv);
      const before = there("find", "/opt", "/etc/cni", "/var/lib", "-type", "f");
      expect(pod.initArgs).toHaveLength(1);
      for (const args of pod.initArgs) {
        const { exitCode, output } = await pod.run([
          ...[...args, "--host-pid", String(node.pid), "--service-manager", "none"],
          ...["--subnet", "10.244.10.0/24", "--upstream", `unix://${containerd.socket}`],
        ]);
        expect([exitCode, output]).toEqual([0, expect.stringMatching(/ installed|written/)]);
      }
      const installed = "/opt/trivet/current/bin/trivet";
      expect(there(installed, "version")).toContain(`trivet ${packageFile.version} (Node.js 24.`);
      expect(there("ls", "/opt/cni/bin", "/etc/cni/net.d")).toContain("10-trivet.conflist");
      there(installed, "uninstall", "--service-manager", "none");
      expect(there("find", "/opt", "/etc/cni", "/var/lib", "-type", "f")).toBe(before);
    } finally {
      node.kill("SIGKILL");
      await ended;
    }
  });

  test("install finds the node of its pod by itself, and the node's own copy takes it away again", async () => {
    // This machine is the node: what is there already is somebody's.
    const places = ["/opt/trivet", "/var/lib/trivet"];
    for (const path of places) expect(existsSync(path), `${path} is there: take it away first`).toBe(false);
    try {
      const { exitCode, output } = await pod.run(["install", "--from-pod", "--components=runtime"]);
      expect([exitCode, output]).toEqual([0, expect.stringContaining("/opt/trivet/current")]);
      expect(run("/opt/trivet/current/bin/trivet", "version")).toContain(`trivet ${packageFile.version}`);
    } finally {
      if (existsSync("/opt/trivet/current")) run("/opt/trivet/current/bin/trivet", "uninstall");
    }
    for (const path of places) expect(existsSync(path), path).toBe(false);
  });

  test("uninstall cni takes back what install has put there", async () => {
    const { exitCode } = await pod.run(["uninstall", "cni", "--state-dir", onNode("run/trivet-var")]);
    expect(exitCode).toBe(0);
    // The directory too, which was not there before.
    expect(existsSync(onNode("opt/cni/bin"))).toBe(false);
    expect(readdirSync(onNode("etc/cni/net.d"))).toEqual([]);
    await pod.stop();
  });
});

test("the layers are told apart, what changes least first", () => {
  expect(layers).toEqual(["debian", "node", "trivet"]);
  expect(image.layers).toHaveLength(3);
});
