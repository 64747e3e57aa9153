/** Checks an object against the types of the Kubernetes API, also for fields that the API does not have. */
import type { Manifest } from "./kustomize.ts";

interface Validated {
  validate(): void;
}

type Constructor = new (data: unknown) => Validated;

/** CRDs are not part of the API's own types: the fields that these may have, and what of them is required. */
const customKinds: Readonly<
  Record<string, { readonly required: readonly string[]; readonly optional: readonly string[] }>
> = {
  "snapshot.storage.k8s.io/v1/VolumeSnapshotClass": {
    required: ["apiVersion", "kind", "metadata", "driver", "deletionPolicy"],
    optional: ["parameters"],
  },
};

/** What is wrong with the object; empty where nothing is. */
export async function problemsOf(manifest: Manifest): Promise<string[]> {
  const type = `${manifest.apiVersion}/${manifest.kind}`;
  const custom = customKinds[type];
  if (custom) {
    const fields = Object.keys(manifest);
    const missing = custom.required.filter((field) => !fields.includes(field));
    const unknown = fields.filter((field) => ![...custom.required, ...custom.optional].includes(field));
    return [
      ...missing.map((field) => `${field} is missing`),
      ...unknown.map((field) => `${field} is unknown`),
    ];
  }
  const module = (await import(/* @vite-ignore */ `kubernetes-models/${type}`)) as Record<
    string,
    Constructor
  >;
  const Model = module[manifest.kind];
  if (!Model) return [`the API has no ${type}`];
  const looked = new Set<string>();
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = manifest;
  const watched = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, watch(value, key, looked)]),
  );
  try {
    // Not through the constructor, which would copy, and so look at everything.
    Object.assign(new Model({}), watched).validate();
  } catch (error) {
    return [(error as Error).message];
  }
  return paths(rest)
    .filter((path) => !looked.has(path))
    .map((path) => `${path} is unknown to the API`);
}

/** The library ignores unknown fields, but it looks at every one that it knows: what it never looks at is unknown. */
function watch(value: unknown, path: string, looked: Set<string>): unknown {
  looked.add(path);
  if (typeof value !== "object" || value === null) return value;
  return new Proxy(value, {
    get(target, key, receiver) {
      const child: unknown = Reflect.get(target, key, receiver);
      return typeof key === "string" && Object.hasOwn(target, key)
        ? watch(child, `${path}.${key}`, looked)
        : child;
    },
  });
}

function paths(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const here = path === "" ? key : `${path}.${key}`;
    return [here, ...paths(child, here)];
  });
}
