/** The version of this build, from the package. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "./host/package-root.ts";

interface PackageFile {
  readonly version: string;
}

export const version: string = (
  JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as PackageFile
).version;
