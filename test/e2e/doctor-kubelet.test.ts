/** `trivet doctor` on a node with a kubelet, and from a container of that node: which runtime it uses, whether the proxy is before it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Finding } from "../../src/commands/doctor/finding.ts";
import { KubeletNode, proxySocket } from "./support/kubelet-node.ts";

const flagsFile = "/var/lib/kubelet/kubeadm-flags.env";
const kubeadm = (runtime: string) => ({
  "/etc/systemd/system/kubelet.service": `[Service]\nEnvironmentFile=-${flagsFile}\nExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS\n`,
  "/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\nhealthzPort: 10248\n",
  [flagsFile]: `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${runtime}"\n`,
});

let node: KubeletNode;
beforeAll(async () => {
  expect(process.getuid?.(), "this test makes namespaces: it needs root").toBe(0);
  node = new KubeletNode();
  await node.start(kubeadm);
});
afterAll(() => node?.destroy());

async function findings(...before: string[]): Promise<readonly Finding[]> {
  const trivet = new URL("../../bin/trivet", import.meta.url).pathname;
  const { stdout, stderr } = await node.run(...before, trivet, "doctor", "--output", "json");
  expect(stderr).toBe("");
  return JSON.parse(stdout).findings;
}

const said = (found: readonly Finding[], wanted: string) =>
  found.find(({ area, subject }) => `${area} ${subject}` === wanted);

test("the kubelet's own runtime, version and directory are found without being told", async () => {
  const found = await findings();
  expect(said(found, "kubelet version")?.cause).toBe("Kubernetes 1.30");
  expect(said(found, "kubelet authority")?.level).toBe("ok");
  expect(said(found, "kubelet runtime endpoint")?.cause).toBe(`${node.runtime}, without the proxy`);
  expect(found.some(({ area, subject }) => area === "runtime" && subject === "socket")).toBe(false);
  expect(said(found, "runtime proxy")).toMatchObject({ level: "ok" });
});

test("from a container that sees the node's processes the same is found, though its files are others", async () => {
  const hidden = 'mount -t tmpfs none /var && mount -t tmpfs none /run && exec "$0" "$@"';
  const inside = await findings("unshare", "--mount", "--propagation", "private", "sh", "-c", hidden);
  const short = ({ level, area, subject, cause }: Finding) => `${level} ${area} ${subject}: ${cause}`;
  expect(inside.map(short)).toEqual((await findings()).map(short));
});

test("a kubelet behind a proxy that no boot would start is found, and one whose proxy is dead", async () => {
  await node.startProxy();
  const { status } = await node.trivet(...["install", "kubelet", "--yes", "--within", "20", "--settle", "0"]);
  expect(status).toBe(0);
  const wired = await findings();
  expect(said(wired, "kubelet runtime endpoint")).toMatchObject({
    ...{ level: "ok", cause: expect.stringContaining(`${proxySocket}, the proxy`) },
  });
  expect(said(wired, "install boot")).toMatchObject({
    level: "error",
    remedy: expect.stringContaining("enable"),
  });
  await node.stopProxy();
  const dead = said(await findings(), "kubelet runtime endpoint");
  expect(dead).toMatchObject({ level: "error", commands: ["trivet bypass"] });
});

test("a kubelet whose directory is elsewhere is followed there", async () => {
  await node.trivet("bypass");
  node.write(
    flagsFile,
    `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix://${node.runtime} --root-dir=/data/kubelet"\n`,
  );
  await node.run("/usr/local/bin/start-kubelet");
  const found = await findings();
  expect(said(found, "kubelet registration")?.cause).toContain("/data/kubelet/plugins_registry");
});
