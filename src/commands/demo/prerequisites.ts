/** What the demo needs of the machine: looked for before anything is started. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";

const SYSTEM_PATHS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const loopbackPlugins = ["/opt/cni/bin/loopback", "/usr/lib/cni/loopback"];

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function first(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isExecutable(path)) return path;
  return undefined;
}

function findProgram(name: string): Promise<string | undefined> {
  const directories = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...SYSTEM_PATHS];
  return first(directories.map((directory) => join(directory, name)));
}

/** The `loopback` plugin, which containerd 1.6 and newer starts for every pod. */
export function findLoopbackPlugin(): Promise<string | undefined> {
  return first(loopbackPlugins);
}

/** Each missing thing with the command to type; empty if all is there. */
export async function missingPrerequisites(): Promise<string[]> {
  const missing: string[] = [];
  if (process.getuid?.() !== 0)
    missing.push("root: type 'sudo make demo', or 'make demo SIMULATE=1' to see it without");
  const found: Readonly<Record<string, string | undefined>> = {
    containerd: await findProgram("containerd"),
    runc: await findProgram("runc"),
    "busybox-static": await findProgram("busybox"),
    "containernetworking-plugins": await findLoopbackPlugin(),
  };
  const packages = Object.keys(found).filter((name) => found[name] === undefined);
  if (packages.length > 0) {
    missing.push(
      `${packages.join(", ")}: type 'apt-get install --no-install-recommends ${packages.join(" ")}'`,
    );
  }
  return missing;
}
