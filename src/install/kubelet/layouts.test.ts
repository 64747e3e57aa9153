/** Every layout of a node: what is found, what would be changed, and that taking it back leaves every byte as it was. */
import { dirname } from "node:path";
import { describe, expect, it, test } from "vitest";
import { createFakeFiles, type FakeFiles } from "../../../test/fakes/files.ts";
import { bundledNodes } from "../../../test/fakes/kubelet-nodes/bundled.ts";
import { type KubeletNode, processesOf } from "../../../test/fakes/kubelet-nodes/node.ts";
import { plainNodes } from "../../../test/fakes/kubelet-nodes/plain.ts";
import type { Exec } from "../../host/exec.ts";
import { createJournal } from "../journal.ts";
import { detectKubelet } from "./detect.ts";
import { unifiedDiff } from "./diff.ts";
import { planEdits } from "./edits.ts";
import type { NodeFacts } from "./facts.ts";
import { gatherFacts } from "./gather.ts";

const proxy = "/run/trivet/cri.sock";

async function diskOf({ files, init = "systemd" }: Pick<KubeletNode, "files" | "init">): Promise<FakeFiles> {
  const run = { systemd: "/run/systemd/system", openrc: "/run/openrc", none: "/run" }[init];
  const disk = createFakeFiles({ directories: [...Object.keys(files).map(dirname), run, "/var/lib"] });
  for (const [path, text] of Object.entries(files)) await disk.create(path, Buffer.from(text), 0o640);
  return disk;
}

function gather(disk: FakeFiles, node: Pick<KubeletNode, "processes" | "version">): Promise<NodeFacts> {
  const stdout = node.version ? `Kubernetes v${node.version.join(".")}.3\n` : "";
  const exec: Exec = async () => ({ exitCode: node.version ? 0 : 1, stdout, stderr: "" });
  return gatherFacts({ files: disk, exec, listProcesses: async () => processesOf(node) });
}

const pictureOf = async (disk: FakeFiles, paths: readonly string[]) =>
  Object.fromEntries(
    await Promise.all(paths.map(async (path) => [path, (await disk.read(path)).toString("base64")])),
  );

describe.each([...plainNodes, ...bundledNodes])("$name:", (node) => {
  it("finds how the kubelet is started, and with which runtime", async () => {
    const facts = await gather(await diskOf(node), node);
    const { distribution, service, runtime, healthUrl } = detectKubelet(facts);
    const { healthUrl: health = "http://127.0.0.1:10248/healthz", ...rest } = node.found;
    expect({ distribution, service, runtime: runtime.path }).toEqual(rest);
    expect(healthUrl).toBe(health);
  });

  it("changes as little as will do", async () => {
    const facts = await gather(await diskOf(node), node);
    const edits = planEdits(facts, detectKubelet(facts), proxy);
    const changed = edits.map(({ path, before, after }) => {
      const lines = unifiedDiff(path, before, after).split("\n").slice(3);
      return [path, lines.filter((line) => /^[-+\\]/.test(line))];
    });
    expect(Object.fromEntries(changed)).toEqual(node.changes);
  });

  it("is the same, byte for byte, after it was taken back", async () => {
    const disk = await diskOf(node);
    const [before, tree] = [await pictureOf(disk, Object.keys(node.files)), disk.paths()];
    const facts = await gather(disk, node);
    const journal = createJournal({ files: disk, stateDir: "/var/lib/trivet" });
    for (const { path, after } of planEdits(facts, detectKubelet(facts), proxy)) {
      await journal.replace({ path, content: Buffer.from(after), mode: 0o640, owner: "kubelet" });
    }
    expect(disk.paths()).not.toEqual(tree);
    const restored = await journal.restore({ owner: "kubelet" });
    expect(restored.map(({ path }) => path).sort()).toEqual(Object.keys(node.changes).sort());
    expect([await pictureOf(disk, Object.keys(node.files)), disk.paths()]).toEqual([before, tree]);
  });

  it("needs no change once it was changed", async () => {
    const disk = await diskOf(node);
    const facts = await gather(disk, node);
    const setup = detectKubelet(facts);
    const files = new Map(facts.files);
    for (const { path, after } of planEdits(facts, setup, proxy)) files.set(path, after);
    expect(planEdits({ ...facts, files }, setup, proxy)).toEqual([]);
  });
});

const endpoint = "--container-runtime-endpoint=unix:///run/containerd/containerd.sock";
const refused: readonly (Pick<KubeletNode, "name" | "files" | "processes"> & { readonly says: RegExp })[] = [
  { name: "no kubelet", files: {}, processes: [{ argv: ["/bin/sh"] }], says: /no kubelet runs here/ },
  {
    name: "k0s",
    files: {},
    processes: [{ argv: ["/usr/local/bin/k0s", "worker"] }, { argv: ["/var/lib/k0s/bin/kubelet", endpoint] }],
    says: /--kubelet-extra-args=--container-runtime-endpoint=unix:\/\/\/run\/trivet\/cri.sock/,
  },
  {
    name: "two kubelets",
    files: {},
    processes: [{ argv: ["/usr/bin/kubelet"] }, { argv: ["/opt/kubelet"] }],
    says: /as processes 700, 701/,
  },
  {
    name: "a kubelet that something unknown starts",
    files: {},
    processes: [{ argv: ["/usr/bin/kubelet", endpoint] }],
    says: /started by something else.*by hand/,
  },
  {
    name: "files that were changed since the kubelet was started",
    files: { "/etc/systemd/system/kubelet.service": `[Service]\nExecStart=/usr/bin/kubelet ${endpoint}2\n` },
    processes: [{ argv: ["/usr/bin/kubelet", endpoint], service: "kubelet.service" }],
    says: /has unix:\S+containerd.sock for .* say unix:\S+containerd.sock2: restart it/,
  },
  {
    name: "an endpoint that is no Unix socket",
    files: {
      "/etc/systemd/system/kubelet.service":
        "[Service]\nExecStart=/k --container-runtime-endpoint=tcp://1:2\n",
    },
    processes: [
      { argv: ["/opt/kubelet", "--container-runtime-endpoint=tcp://1:2"], service: "kubelet.service" },
    ],
    says: /"tcp:\/\/1:2" .* is no Unix socket/,
  },
  {
    name: "a configuration that is no YAML",
    files: {
      "/k.yaml": "a: [",
      "/etc/systemd/system/kubelet.service": "[Service]\nExecStart=/kubelet --config=/k.yaml\n",
    },
    processes: [{ argv: ["/kubelet", "--config=/k.yaml"], service: "kubelet.service" }],
    says: /\/k.yaml is no YAML/,
  },
  {
    name: "k3s without systemd, with its arguments in the start script",
    files: { "/etc/init.d/k3s": 'command_args="server --kubelet-arg=v=2"\n' },
    processes: [{ argv: ["/usr/local/bin/k3s server"] }],
    says: /move those arguments into \/etc\/rancher\/k3s\/config.yaml/,
  },
];

test.each(refused)("$name: refused, with what to do", async (node) => {
  const facts = await gather(await diskOf(node), node);
  expect(() => detectKubelet(facts)).toThrow(node.says);
});
