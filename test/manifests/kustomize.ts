/**
 * Renders a kustomization as `kubectl kustomize` does, for the features that our manifests use: resources, components,
 * patches (strategic and JSON), replacements, images. Anything else is an error, so that nothing is left out in silence.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { applyJsonPatch, applyStrategicPatch, type JsonPatch } from "./patches.ts";
import { applyReplacement, type Replacement } from "./replacements.ts";

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; [key: string]: unknown };
  [key: string]: unknown;
}

interface Selector {
  readonly kind?: string;
  readonly name?: string;
}

interface Kustomization {
  readonly apiVersion: string;
  readonly kind: "Kustomization" | "Component";
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly { readonly patch: string; readonly target?: Selector }[];
  readonly replacements?: readonly Replacement[];
  readonly images?: readonly { readonly name: string; readonly newName?: string; readonly newTag?: string }[];
}

const known = new Set(["apiVersion", "kind", "resources", "components", "patches", "replacements", "images"]);

function documents(text: string): unknown[] {
  return parseAllDocuments(text).map((document) => {
    for (const error of document.errors) throw error;
    return document.toJS();
  });
}

async function readKustomization(directory: string): Promise<Kustomization> {
  const [value] = documents(await readFile(join(directory, "kustomization.yaml"), "utf8"));
  for (const key of Object.keys(value as object)) {
    if (!known.has(key)) throw new Error(`${directory}: this renderer does not know the field ${key}`);
  }
  return value as Kustomization;
}

/** The objects of a directory with a kustomization, in the order that their files name them. */
export async function render(directory: string): Promise<Manifest[]> {
  return build(directory, []);
}

async function build(directory: string, inherited: readonly Manifest[]): Promise<Manifest[]> {
  const kustomization = await readKustomization(directory);
  let manifests = structuredClone([...inherited]);
  for (const resource of kustomization.resources ?? []) {
    const path = join(directory, resource);
    // A base above its overlay would be refused as a cycle.
    if (directory.startsWith(path)) throw new Error(`${directory}: ${resource} contains its own overlay`);
    const found = (await stat(path)).isDirectory()
      ? await build(path, [])
      : (documents(await readFile(path, "utf8")) as Manifest[]);
    manifests.push(...found);
  }
  refuseDoubles(directory, manifests);
  for (const component of kustomization.components ?? []) {
    manifests = await build(join(directory, component), manifests);
  }
  for (const patch of kustomization.patches ?? []) manifests = applyPatch(directory, manifests, patch);
  for (const replacement of kustomization.replacements ?? []) applyReplacement(manifests, replacement);
  for (const image of kustomization.images ?? []) setImage(manifests, image);
  return manifests;
}

function refuseDoubles(directory: string, manifests: readonly Manifest[]): void {
  const seen = new Set<string>();
  for (const { apiVersion, kind, metadata } of manifests) {
    const id = [apiVersion, kind, metadata.namespace, metadata.name].join("/");
    if (seen.has(id)) throw new Error(`${directory}: two objects are ${id}`);
    seen.add(id);
  }
}

function applyPatch(
  directory: string,
  manifests: readonly Manifest[],
  { patch, target }: { readonly patch: string; readonly target?: Selector },
): Manifest[] {
  const [value] = documents(patch);
  const isJson = Array.isArray(value);
  const own = value as Manifest;
  const select: Selector = target ?? { kind: own.kind, name: own.metadata.name };
  const isSelected = ({ kind, metadata }: Manifest) =>
    (select.kind === undefined || kind === select.kind) &&
    (select.name === undefined || metadata.name === select.name);
  if (!manifests.some(isSelected)) {
    throw new Error(`${directory}: a patch is for ${select.kind} ${select.name}, which is not there`);
  }
  return manifests.flatMap((manifest) => {
    if (!isSelected(manifest)) return [manifest];
    if (isJson) return [applyJsonPatch(manifest, value as JsonPatch[])];
    const patched = applyStrategicPatch(manifest, own);
    return patched === undefined ? [] : [patched];
  });
}

/** Every `image` below a list `containers` or `initContainers`, wherever it is. */
function setImage(
  value: unknown,
  image: { readonly name: string; readonly newName?: string; readonly newTag?: string },
): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    if ((key === "containers" || key === "initContainers") && Array.isArray(child)) {
      for (const container of child as { image: string }[]) {
        const [name, tag] = splitImage(container.image);
        if (name !== image.name) continue;
        const newTag = image.newTag ?? tag;
        container.image = `${image.newName ?? name}${newTag === undefined ? "" : `:${newTag}`}`;
      }
    } else setImage(child, image);
  }
}

function splitImage(image: string): [string, string | undefined] {
  const colon = image.lastIndexOf(":");
  return colon > image.lastIndexOf("/")
    ? [image.slice(0, colon), image.slice(colon + 1)]
    : [image, undefined];
}
