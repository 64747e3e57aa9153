/** A kubelet is put behind the proxy on a node of its own, taken back, and taken back by itself when it is not well. */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startFakeContainerd } from "../fakes/containerd/server.ts";
import { KubeletNode, proxySocket } from "./support/kubelet-node.ts";

const flagsFile = "/var/lib/kubelet/kubeadm-flags.env";
const kubeadm = (runtime: string) => ({
  "/etc/systemd/system/kubelet.service":
    "[Service]\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\nExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n",
  "/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\nhealthzPort: 10248\n",
  [flagsFile]: `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${runtime} --node-ip=10.0.0.7"\n`,
});
const bounds = ["--within", "20", "--settle", "0"];
const shortBounds = ["--within", "3", "--settle", "0"];

const marks = "/var/lib/trivet/install/marks";

describe("with kubeadm's files and systemd,", () => {
  let node: KubeletNode;
  let before: Record<string, string>;

  beforeAll(async () => {
    expect(process.getuid?.(), "these tests need root").toBe(0);
    node = new KubeletNode();
    await node.start(kubeadm);
    before = withoutLock(await node.changes());
  });
  afterAll(() => node.destroy());
  // Each of these tests leaves the kubelet on its own runtime, and the files as they were.
  afterEach(async () => {
    node.behave("");
    expect(withoutLock(await node.changes())).toEqual(before);
    expect(node.usedSocket()).toBe(node.runtime);
  });

  it("without the proxy nothing is changed, and it is said how to start it", async () => {
    const { status, stderr } = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect([status, node.starts()]).toEqual([1, 1]);
    expect(stderr).toMatch(/cri.sock does not answer Version.*start it with: trivet cri --listen/s);
  });

  it("a proxy that leads to another runtime is refused", async () => {
    const path = join(node.directory, "other.sock");
    const other = await startFakeContainerd({ path });
    await node.startProxy(path);
    const { status, stderr } = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect([status, node.starts()]).toEqual([1, 1]);
    expect(stderr).toContain(`leads to ${path}, but the kubelet's runtime is at ${node.runtime}`);
    await node.stopProxy();
    await other.stop();
  });

  it("a dry run shows the change and makes none, and so it is without --yes", async () => {
    await node.startProxy();
    const { status, stdout, stderr } = await node.trivet("install", "kubelet", "--dry-run");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(
      `+KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${proxySocket} --node-ip`,
    );
    const unasked = await node.trivet("install", "kubelet");
    expect([unasked.status, unasked.stderr]).toEqual([1, expect.stringContaining("--yes")]);
    expect(node.starts()).toBe(1);
  });

  it("a program that an ordinary user calls a kubelet is not started by root, nor taken for one", async () => {
    // In a directory of the user's, with a name of the user's choice: /proc shows both as the user wants.
    node.write("/run/theirs/kubelet", "#!/bin/sh\nid -u >/run/theirs/started\n", 0o755);
    node.write("/run/theirs/run", "#!/bin/bash\nexec -a /run/theirs/kubelet sleep 1000\n", 0o755);
    const user = "setpriv --reuid 65534 --regid 65534 --clear-groups /run/theirs/run";
    await node.run("sh", "-c", `${user} >/dev/null 2>&1 & until pgrep -u 65534 sleep; do :; done`);
    const { status, stdout, stderr } = await node.trivet("install", "kubelet", "--dry-run");
    await node.kill("/run/theirs/kubelet", "KILL");
    expect(node.isThere("/run/theirs/started")).toBe(false);
    expect([status, stderr, stdout]).toEqual([0, "", expect.stringContaining("+KUBELET_KUBEADM_ARGS=")]);
  });

  it("the kubelet comes behind the proxy, also after kubeadm wrote its file anew, and uninstalling restores every byte", async () => {
    const installed = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect(installed.status, installed.stderr).toBe(0);
    expect(installed.stdout).toContain(`asks its runtime through ${proxySocket}`);
    expect(node.usedSocket()).toBe(proxySocket);
    expect(node.read("/run/systemctl.log")).toContain("restart kubelet.service");
    const again = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect([again.status, again.stdout]).toEqual([0, expect.stringContaining("already: nothing to do")]);

    // As kubeadm does it: from now on that is what is to be restored.
    const anew = node.read(flagsFile).replace(proxySocket, node.runtime).replace("10.0.0.7", "10.0.0.8");
    node.write(flagsFile, anew);
    await node.run("/usr/local/bin/start-kubelet");
    const isBack = () => node.usedSocket() === node.runtime && node.kubeletLog().endsWith("healthy\n");
    await node.until(isBack, "the kubelet on its own runtime");
    const rewired = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect([rewired.status, rewired.stderr]).toEqual([0, expect.stringContaining("was written anew")]);
    expect(node.usedSocket()).toBe(proxySocket);

    const removed = await node.trivet("uninstall", "kubelet");
    expect(removed.status, removed.stderr).toBe(0);
    const [path, outcome, was, is] = removed.stdout.split("\n")[1]?.split(/\s{2,}/) ?? [];
    expect([path, outcome, is]).toEqual([flagsFile, "restored", was]);
    expect(node.read(flagsFile)).toBe(anew);
    node.write(flagsFile, anew.replace("10.0.0.8", "10.0.0.7"));
  });

  it("uninstalling restarts a kubelet that was bypassed and not restarted, and leaves no mark", async () => {
    expect((await node.trivet("install", "kubelet", "--yes", ...bounds)).status).toBe(0);
    expect((await node.trivet("bypass", "--no-restart")).status).toBe(0);
    expect(node.usedSocket()).toBe(proxySocket);
    node.write("/run/trivet-kubelet-guard.log", "");
    const { status, stdout, stderr } = await node.trivet("uninstall", "--service-manager", "none");
    expect(status, stdout + stderr).toBe(0);
    expect([node.usedSocket(), node.isThere("/run/trivet-kubelet-guard.log")]).toEqual([node.runtime, false]);
    // Its socket went with /run/trivet.
    await node.stopProxy();
    await node.startProxy();
  });

  it("a kubelet that is never healthy behind the proxy is taken back, with its last words", async () => {
    node.behave(`sick ${proxySocket}`);
    const log = ["--kubelet-log", "/run/kubelet.log"];
    const { status, stderr } = await node.trivet("install", "kubelet", "--yes", ...shortBounds, ...log);
    expect([status, stderr]).toEqual([1, expect.stringContaining("healthz answers 500")]);
    expect(stderr).toContain(`kubelet: using ${proxySocket}`);
    expect(stderr).toContain("every file is as it was, and the kubelet is well");
  });

  it("a kubelet that is healthy, but still on the old socket, is taken back", async () => {
    node.behave(`stuck ${node.runtime}`);
    const { status, stderr } = await node.trivet("install", "kubelet", "--yes", ...shortBounds);
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining(`is not connected to ${proxySocket}; it is to`),
    ]);
  });

  /** What has happened when the installer is killed; `starts` is the count before. */
  const moments: [string, (starts: number) => boolean][] = [
    ["before a file was changed", () => node.isThere(`${marks}/kubelet-pending`)],
    ["when the file was changed", () => node.read(flagsFile).includes(proxySocket)],
    ["when the kubelet is being restarted", (starts) => node.starts() > starts],
    ["when the kubelet is watched", () => node.usedSocket() === proxySocket],
  ];

  it.each(moments)("an installer that is killed %s: its guard takes everything back", async (_, moment) => {
    const starts = node.starts();
    const installer = node.startTrivet("install", "kubelet", "--yes", "--within", "20", "--settle", "1");
    await node.until(() => moment(starts), "the moment to kill at");
    process.kill(-(installer.pid ?? 0), "SIGKILL");
    await node.until(() => !node.isThere(marks), "the guard's work");
  });

  it("after a power cut that took the guard too, the next run takes back what was left, and goes on", async () => {
    const installer = node.startTrivet("install", "kubelet", "--yes", "--within", "20", "--settle", "2");
    await node.until(() => node.usedSocket() === proxySocket, "the kubelet behind the proxy");
    await node.kill("kubelet-guard", "KILL");
    process.kill(-(installer.pid ?? 0), "SIGKILL");
    const { status, stderr } = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect([status, stderr]).toEqual([0, expect.stringContaining("taking back what it left")]);
    expect(node.usedSocket()).toBe(proxySocket);
    expect((await node.trivet("uninstall", "kubelet")).status).toBe(0);
  });
});

describe("without systemd,", () => {
  let node: KubeletNode;
  beforeAll(() => {
    node = new KubeletNode();
  });
  afterAll(() => node.destroy());

  it("a drop-in directory's kubelet is restarted by the command that was given, and that is asked for", async () => {
    await node.start(
      (runtime) => ({
        "/etc/systemd/system/kubelet.service":
          "[Service]\nExecStart=/usr/bin/kubelet --config=/etc/kubelet.yaml --config-dir=/etc/kubelet.conf.d\n",
        "/etc/kubelet.yaml": `kind: KubeletConfiguration\nhealthzPort: 10260\ncontainerRuntimeEndpoint: unix://${runtime}\n`,
        "/etc/kubelet.conf.d/10-labels.conf": "kind: KubeletConfiguration\n",
      }),
      { systemd: false },
    );
    const before = withoutLock(await node.changes());
    await node.startProxy();
    const asked = await node.trivet("install", "kubelet", "--yes", ...bounds);
    expect([asked.status, asked.stderr]).toEqual([1, expect.stringContaining("--restart-command")]);
    const given = ["--restart-command", "/usr/local/bin/start-kubelet"];
    const { status, stderr } = await node.trivet("install", "kubelet", "--yes", ...bounds, ...given);
    expect(status, stderr).toBe(0);
    expect(node.usedSocket()).toBe(proxySocket);
    expect(node.read("/etc/kubelet.conf.d/99-trivet.conf")).toContain(
      `containerRuntimeEndpoint: unix://${proxySocket}`,
    );
    expect((await node.trivet("uninstall", "kubelet")).status).toBe(0);
    expect(withoutLock(await node.changes())).toEqual(before);
  });
});

/**
 * The lock stays until everything of Trivet is taken away; so do the directories that it is in. Of the logs an empty directory goes, which
 * this machine may have.
 */
function withoutLock(changes: Record<string, string>): Record<string, string> {
  const own = /^var(\/log(\/trivet)?|\/lib(\/trivet(\/install(\/lock)?)?)?)? /;
  return Object.fromEntries(Object.entries(changes).filter(([line]) => !own.test(line)));
}
