/** The version of this build, from the package. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface PackageFile {
  readonly version: string;
}

export const version: string = (
  JSON.parse(readFileSync(join(import.meta.dirname, "..", "package.json"), "utf8")) as PackageFile
).version;
