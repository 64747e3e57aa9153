/** Names of methods as labels of metrics. Anyone at the socket can make names up, and each label stays for ever. */

// CRI v1 has 41 methods; there is room for those of later versions, which pass as well.
const MAX_METHODS = 128;

/** Gives a record's method as its label: `other` for what is no CRI v1 method, and once there are too many names. */
export function createMethodLabels(): (method: string) => string {
  const known = new Set<string>();
  return (method) => {
    if (known.has(method)) return method;
    if (!/^\w{1,64}$/.test(method) || known.size >= MAX_METHODS) return "other";
    known.add(method);
    return method;
  };
}
