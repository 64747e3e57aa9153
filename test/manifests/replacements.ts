/** Kustomize's replacements: a value of one object, put into fields of others. */
import type { Manifest } from "./kustomize.ts";

export interface Replacement {
  readonly source: { readonly kind: string; readonly name: string; readonly fieldPath: string };
  readonly targets: readonly {
    readonly select: { readonly kind: string; readonly name: string };
    readonly fieldPaths: readonly string[];
  }[];
}

type Fields = Record<string, unknown>;

/** The element or field that one step of a path leads to. */
function child(node: unknown, step: string, path: string): unknown {
  const selector = /^\[(\w+)=(.*)\]$/.exec(step);
  const found = selector
    ? (node as Fields[]).find((each) => each[selector[1] ?? ""] === selector[2])
    : (node as Fields)[step];
  if (found === undefined) throw new Error(`${path}: there is nothing at ${step}`);
  return found;
}

function find(manifests: readonly Manifest[], select: { readonly kind: string; readonly name: string }) {
  return manifests.filter(({ kind, metadata }) => kind === select.kind && metadata.name === select.name);
}

/** Changes the objects in place. A field that is not there is an error; an object that is not there is none. */
export function applyReplacement(manifests: readonly Manifest[], { source, targets }: Replacement): void {
  const [from, ...others] = find(manifests, source);
  if (from === undefined || others.length > 0) throw new Error(`no single ${source.kind} ${source.name}`);
  const value = source.fieldPath
    .split(".")
    .reduce<unknown>((node, step) => child(node, step, source.fieldPath), from);
  for (const { select, fieldPaths } of targets) {
    for (const target of find(manifests, select)) {
      for (const path of fieldPaths) {
        const steps = path.split(".");
        const last = steps.pop() ?? "";
        const holder = steps.reduce<unknown>((node, step) => child(node, step, path), target);
        child(holder, last, path);
        (holder as Fields)[last] = value;
      }
    }
  }
}
