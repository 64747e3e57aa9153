/** Names as labels of metrics. Anyone at the socket can make names up, and each label stays for ever. */

// CRI v1 has 41 methods; there is room for those of later versions, which pass as well.
const MAX_METHODS = 128;

export interface LabelOptions {
  readonly max: number;
  readonly pattern: RegExp;
}

/** Gives a name as its label: `other` for what does not look like one, and once there are too many. */
export function createLabels({ max, pattern }: LabelOptions): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.has(name)) return name;
    if (!pattern.test(name) || known.size >= max) return "other";
    known.add(name);
    return name;
  };
}

/** Gives a record's method as its label: `other` for what is no CRI v1 method, and once there are too many names. */
export function createMethodLabels(): (method: string) => string {
  return createLabels({ max: MAX_METHODS, pattern: /^\w{1,64}$/ });
}
