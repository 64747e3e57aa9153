/** The manifests as `kubectl apply -k` would send them. `vitest -u` writes the golden files anew. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { defineInstallNode } from "../../src/commands/install/node.ts";
import { driverName } from "../../src/csi/names.ts";
import { parseParameters } from "../../src/csi/parameters.ts";
import { version } from "../../src/version.ts";
import { problemsOf } from "./api-schema.ts";
import { type Manifest, render } from "./kustomize.ts";

const root = new URL("../../daemonset/", import.meta.url).pathname;
const overlays = (await readdir(`${root}overlays`)).sort();
const rendered = new Map<string, Manifest[]>([["default", await render(root.replace(/\/$/, ""))]]);
for (const name of overlays) rendered.set(name, await render(`${root}overlays/${name}`));
// Every component by itself, and what is left without two legs, as an overlay of a user would have it.
const components = (await readdir(`${root}components`)).sort();
const overlayOf = async (...names: string[]) => {
  const directory = await mkdtemp(join(tmpdir(), "trivet-overlay-"));
  const from = (path: string) => relative(directory, join(root, path));
  const kustomization = {
    resources: [from("base"), from("kubelet-root.yaml")],
    components: ["kubelet-root", ...names].map((name) => from(`components/${name}`)),
  };
  await writeFile(join(directory, "kustomization.yaml"), stringify(kustomization));
  return render(directory).finally(() => rm(directory, { recursive: true }));
};
for (const name of components) {
  if (name !== "kubelet-root") rendered.set(`with ${name}`, await overlayOf(name));
}
rendered.set("with only the network", await overlayOf("without-csi", "without-snapshots", "without-cri"));
rendered.set("with only the volumes", await overlayOf("without-cni", "without-cri"));

const all = (name = "default") => rendered.get(name) ?? [];
const toYaml = (manifests: readonly Manifest[]) =>
  manifests.map((manifest) => stringify(manifest, { lineWidth: 120 })).join("---\n");

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly mountPropagation?: string;
  }[];
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly serviceAccountName: string;
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
}

function podSpecs(manifests: readonly Manifest[]): [string, PodSpec][] {
  return manifests.flatMap(({ metadata, spec }) => {
    const template = (spec as { template?: { spec: PodSpec } } | undefined)?.template;
    return template ? [[metadata.name, template.spec] as [string, PodSpec]] : [];
  });
}

describe.each([...rendered.keys()])("the manifests: %s", (name) => {
  test("are what was looked at and found good", async () => {
    await expect(toYaml(all(name))).toMatchFileSnapshot(`golden/${name.replaceAll(" ", "-")}.yaml`);
  });

  test("are objects that the Kubernetes API knows, with no field that it does not", async () => {
    const problems: string[] = [];
    for (const manifest of all(name)) {
      for (const problem of await problemsOf(manifest))
        problems.push(`${manifest.kind} ${manifest.metadata.name}: ${problem}`);
    }
    expect(problems).toEqual([]);
  });

  test("mount nothing that their pod has no volume for, and leave no placeholder", () => {
    for (const [pod, { containers, initContainers = [], volumes }] of podSpecs(all(name))) {
      const known = volumes.map((volume) => volume.name);
      for (const container of [...containers, ...initContainers]) {
        for (const mount of container.volumeMounts)
          expect(known, `${pod}/${container.name}`).toContain(mount.name);
      }
    }
    expect(toYaml(all(name))).not.toMatch(/[pP]ath: KUBELET_ROOT/);
  });

  test("give every pod a service account that is there, and bind only what is there", () => {
    const ids = new Set(all(name).map(({ kind, metadata }) => `${kind}/${metadata.name}`));
    for (const [, { serviceAccountName }] of podSpecs(all(name)))
      expect(ids).toContain(`ServiceAccount/${serviceAccountName}`);
    for (const manifest of all(name)) {
      if (!manifest.kind.endsWith("Binding")) continue;
      const { roleRef, subjects } = manifest as unknown as {
        roleRef: { kind: string; name: string };
        subjects: { kind: string; name: string }[];
      };
      for (const { kind, name: to } of [roleRef, ...subjects]) expect(ids).toContain(`${kind}/${to}`);
    }
  });

  test("install the host's part with flags that the verb takes", () => {
    for (const [, { initContainers = [] }] of podSpecs(all(name))) {
      for (const { args } of initContainers) {
        const command = new Command().exitOverride();
        defineInstallNode(command.action(() => undefined));
        expect(args[0]).toBe("install");
        command.action(() => undefined).parse(args.slice(1), { from: "user" });
        expect(command.args).toEqual([]);
      }
    }
  });

  test("mount the kubelet's directory under its own path, seen from both sides", () => {
    const map = all(name).find(({ metadata }) => metadata.name === "trivet-kubelet") as unknown as {
      data: { root: string };
    };
    for (const [pod, { containers, volumes }] of podSpecs(all(name))) {
      expect(volumes.find((volume) => volume.name === "kubelet")?.hostPath?.path, pod).toBe(map.data.root);
      if (pod !== "trivet-node") continue;
      const mounts = containers.find((container) => container.name === "trivet")?.volumeMounts;
      expect(mounts?.find((mount) => mount.name === "kubelet")).toEqual({
        name: "kubelet",
        mountPath: map.data.root,
        mountPropagation: "Bidirectional",
      });
    }
  });

  test("name images with a tag, Trivet's own with this version", () => {
    for (const [, { containers, initContainers = [] }] of podSpecs(all(name))) {
      for (const { name: container, image } of [...containers, ...initContainers]) {
        expect(image, container).toMatch(/:v?\d+\.\d+\.\d+$/);
        if (image.startsWith("trivet")) expect(image).toBe(`trivet.local/trivet:${version}`);
      }
    }
  });
});

test("the driver's objects have the driver's name, and classes that it takes", () => {
  for (const manifest of all()) {
    if (manifest.kind === "CSIDriver") expect(manifest.metadata.name).toBe(driverName);
    if (manifest.kind === "VolumeSnapshotClass") expect(manifest.driver).toBe(driverName);
    if (manifest.kind !== "StorageClass") continue;
    expect(manifest.provisioner).toBe(driverName);
    parseParameters((manifest.parameters ?? {}) as Record<string, string>);
  }
});

test("an unknown field is found", async () => {
  const [node] = structuredClone(all().filter(({ kind }) => kind === "DaemonSet"));
  if (!node) throw new Error("no DaemonSet");
  const { containers } = (node.spec as { template: { spec: { containers: Record<string, unknown>[] } } })
    .template.spec;
  Object.assign(containers[0] ?? {}, { volumMounts: [] });
  expect(await problemsOf(node)).toEqual([
    "spec.template.spec.containers.0.volumMounts is unknown to the API",
  ]);
});
