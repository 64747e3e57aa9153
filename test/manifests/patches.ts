/** The two kinds of patches that a kustomization may hold. */

/** RFC 6902, as far as our patches go. */
export interface JsonPatch {
  readonly op: "add" | "remove" | "replace" | "test";
  readonly path: string;
  readonly value?: unknown;
}

type Node = Record<string, unknown> | unknown[];

function step(node: unknown, key: string, path: string): unknown {
  if (typeof node !== "object" || node === null) throw new Error(`${path}: there is nothing at ${key}`);
  const child = (node as Record<string, unknown>)[key];
  if (child === undefined) throw new Error(`${path}: there is nothing at ${key}`);
  return child;
}

function applyOne(root: unknown, { op, path, value }: JsonPatch): void {
  const keys = path
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop() ?? "";
  const holder = keys.reduce((node, key) => step(node, key, path), root) as Node;
  if (op === "add" && Array.isArray(holder)) {
    if (last === "-") holder.push(value);
    else holder.splice(Number(last), 0, value);
    return;
  }
  if (op === "add") {
    (holder as Record<string, unknown>)[last] = value;
    return;
  }
  const found = step(holder, last, path);
  if (op === "test" && JSON.stringify(found) !== JSON.stringify(value)) {
    throw new Error(`${path}: is ${JSON.stringify(found)}, and the patch expects ${JSON.stringify(value)}`);
  }
  if (op === "replace") (holder as Record<string, unknown>)[last] = value;
  if (op === "remove" && Array.isArray(holder)) holder.splice(Number(last), 1);
  else if (op === "remove") delete (holder as Record<string, unknown>)[last];
}

/** A copy with the patch applied. A step that does not fit is an error. */
export function applyJsonPatch<T>(object: T, patch: readonly JsonPatch[]): T {
  const copy = structuredClone(object);
  for (const each of patch) applyOne(copy, each);
  return copy;
}

/** How lists of the API are merged: by this field of their elements. Others are replaced whole. */
const mergeKeys: Readonly<Record<string, string>> = {
  containers: "name",
  initContainers: "name",
  volumes: "name",
  env: "name",
  volumeMounts: "mountPath",
};

type Fields = Record<string, unknown>;

/** A copy with the patch merged in; undefined where the patch deletes the object. */
export function applyStrategicPatch<T extends object>(object: T, patch: object): T | undefined {
  if ((patch as Fields).$patch === "delete") return undefined;
  return merge(structuredClone(object), patch as Fields) as T;
}

function merge(target: Fields | object, patch: Fields): Fields {
  const result = target as Fields;
  for (const [key, value] of Object.entries(patch)) {
    const before = result[key];
    if (value === null) delete result[key];
    else if (Array.isArray(value) && Array.isArray(before) && mergeKeys[key] !== undefined) {
      result[key] = mergeList(before as Fields[], value as Fields[], mergeKeys[key]);
    } else if (isMapping(value) && isMapping(before)) result[key] = merge(before, value);
    else result[key] = value;
  }
  return result;
}

function isMapping(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the patch names comes first, in the patch's order, also where it was there before (kustomize#3912). */
function mergeList(before: readonly Fields[], patch: readonly Fields[], by: string): Fields[] {
  const left = [...before];
  const named: Fields[] = [];
  for (const element of patch) {
    const index = left.findIndex((each) => each[by] === element[by]);
    const { $patch, ...rest } = element;
    if ($patch === "delete" && index < 0)
      throw new Error(`there is no ${by} ${String(element[by])} to delete`);
    const [found = {}] = index < 0 ? [] : left.splice(index, 1);
    if ($patch !== "delete") named.push(merge(found, rest));
  }
  return [...named, ...left];
}
