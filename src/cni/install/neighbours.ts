/** What containerd would make of the other files in its configuration directory. Decides only. */

/** A file beside ours. */
export interface Neighbour {
  readonly name: string;
  readonly text: string;
}

/** containerd looks at these and at no others (go-cni). */
const extensions = [".conf", ".conflist", ".json"];

/**
 * Warnings. containerd takes the first file by name, and where one that sorts before is not valid, none: the node then has no network.
 */
export function judgeNeighbours(neighbours: readonly Neighbour[], ours: string): string[] {
  return neighbours
    .filter(({ name }) => name !== ours && extensions.some((extension) => name.endsWith(extension)))
    .flatMap(({ name, text }) => {
      const why = defectOf(text, name);
      const first = name < ours;
      if (why && first) return [`${name} ${why}: containerd loads no network at all; remove or mend it`];
      if (why) return [`${name} ${why}: it sorts behind ${ours} and does no harm as long as that is there`];
      if (first)
        return [`${name} sorts before ${ours}: containerd uses it, and not this one; rename or remove it`];
      return [];
    });
}

/** As strict as libcni: a list needs plugins, a single plugin a type. */
function defectOf(text: string, name: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "is no JSON";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "is no object";
  const { name: network, plugins, type } = value as Record<string, unknown>;
  if (name.endsWith(".conflist")) {
    if (typeof network !== "string" || network === "") return "has no name";
    return Array.isArray(plugins) && plugins.length > 0 ? undefined : "has no plugins";
  }
  return typeof type === "string" && type !== "" ? undefined : "has no type";
}
