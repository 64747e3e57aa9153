/** Where this program's own files lie: `proto/` and `package.json`, in a checkout or beside a bundle. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

function findRoot(directory: string): string {
  if (existsSync(join(directory, "package.json"))) return directory;
  const parent = dirname(directory);
  if (parent === directory) throw new Error("package.json is missing: this installation is incomplete");
  return findRoot(parent);
}

export const packageRoot = findRoot(import.meta.dirname);
